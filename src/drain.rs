//! Letting what runs come to its end before the server is stopped or restarted.
//!
//! While the mark is there, the launcher starts no workflow (`server/covalent_service/drain.py`).
//! systemd removes it with the folder it is in when the server stops.

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::api::{self, Running};
use crate::failure::{Failure, Kind};
use crate::file;
use crate::host::Host;
use crate::progress::Progress;
use crate::server::Address;
use crate::systemd;

/// How often the server is asked. Between two answers that nothing runs, a workflow that was
/// accepted just before the mark has begun to run.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets no workflow start, and waits until none runs. At the limit the server takes them again.
pub fn drain(host: &Host, limit: Option<Duration>, progress: &Progress) -> Result<()> {
    if !begin(host)? {
        progress.say("the server does not run, and no workflow either");
        return Ok(());
    }
    progress
        .say("the server takes no new workflows until its restart or `covalentctl drain --resume`");
    let begun = Instant::now();
    let mut said = 0;
    while let Some(running) = runs(host)? {
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            resume(host)?;
            return Err(Failure::error(
                Kind::Busy,
                format!(
                    "after {} s, {} still; the server takes new ones again",
                    begun.elapsed().as_secs(),
                    sentence(running.count),
                ),
                "wait longer (--timeout), or stop the server, which cancels them: \
                 systemctl stop covalent",
            ));
        }
        if running.count != said {
            said = running.count;
            progress.say(&format!("{}; waiting", sentence(said)));
        }
        thread::sleep(INTERVAL);
    }
    progress.say("no workflow runs");
    Ok(())
}

/// Waits for a moment in which no workflow runs, and lets none start from then on. Meanwhile the
/// server takes them as ever.
pub fn wait_for_idleness(host: &Host, progress: &Progress) -> Result<()> {
    let mut said = false;
    loop {
        // Asked without the mark first: nobody is to be refused because of a mere question.
        if asked(host)?.is_none_or(|running| running.count == 0)
            && (!begin(host)? || runs(host)?.is_none())
        {
            return Ok(());
        }
        resume(host)?;
        if !said {
            progress.say("waiting for a moment in which no workflow runs");
            said = true;
        }
        thread::sleep(INTERVAL);
    }
}

/// Lets workflows start again. Returns whether that had been forbidden.
pub fn resume(host: &Host) -> Result<bool> {
    match fs::remove_file(host.drain_mark()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("removing {}", host.drain_mark().display()))
        }
    }
}

/// Whether no workflow may start now, as far as the caller may know.
pub fn is_draining(host: &Host) -> bool {
    host.drain_mark().exists()
}

/// Lets no workflow start from now on. Returns whether there is a server to tell.
fn begin(host: &Host) -> Result<bool> {
    let mark = host.drain_mark();
    if !mark.parent().is_some_and(|folder| folder.is_dir()) {
        return Ok(false);
    }
    file::write(&mark, b"", 0o644)?;
    Ok(true)
}

/// What runs, if anything does at two moments one after the other.
fn runs(host: &Host) -> Result<Option<Running>> {
    for last in [false, true] {
        match asked(host)? {
            None => break,
            Some(running) if running.count > 0 => return Ok(Some(running)),
            Some(_) if !last => thread::sleep(INTERVAL),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// What the server says that runs; nothing if systemd knows that there is no server.
fn asked(host: &Host) -> Result<Option<Running>> {
    if systemd::is_running(host) && !systemd::is_active(host) {
        return Ok(None);
    }
    api::running(&Address::now(host), 1).map(Some)
}

/// How many workflows run, as a sentence.
pub fn sentence(count: u64) -> String {
    match count {
        1 => "1 workflow runs".into(),
        _ => format!("{count} workflows run"),
    }
}
