//! Letting what runs come to its end before the server, or the worker, is stopped or restarted.
//!
//! While the mark is there, the launcher starts no workflow (`server/covalent_service/drain.py`), or
//! has the server give this worker no task.
//! systemd removes it with the folder it is in when the server stops.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::address::Address;
use super::api;
use super::standing::Standing;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;
use crate::system::signals::Signals;
use crate::system::systemd;

/// How often the server is asked. Between two answers that nothing runs, a workflow that was
/// accepted just before the mark has begun to run.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets nothing start, and waits until nothing runs. At the limit all is as before.
pub fn drain(host: &Host, limit: Option<Duration>, progress: &Progress) -> Result<()> {
    let interruption = Interruption::noticed()?;
    let words = Words::of(host);
    if !begin(host)? {
        progress.say(words.not_running);
        return Ok(());
    }
    progress.say(&format!(
        "{} until a restart or `covalentctl drain --resume`",
        words.refuses
    ));
    // Whatever ends the waiting early must not leave a server that refuses everybody.
    wait(host, limit, &interruption, progress).inspect_err(|_| drop(resume(host)))?;
    progress.say(words.idle);
    Ok(())
}

/// What is said of a server and its workflows, or of a worker and its tasks.
struct Words {
    not_running: &'static str,
    refuses: &'static str,
    takes_again: &'static str,
    cure: &'static str,
    idle: &'static str,
    moment: &'static str,
}

impl Words {
    fn of(host: &Host) -> Words {
        match Role::of(host) {
            Role::Server => Words {
                not_running: "the server is not running, so no workflow is",
                refuses: "the server accepts no new workflows",
                takes_again: "the server accepts new ones again",
                cure: "wait longer (--timeout), or stop the server, which cancels them: \
                       systemctl stop covalent",
                idle: "no workflow runs",
                moment: "waiting until no workflow runs",
            },
            Role::Worker => Words {
                not_running: "the worker is not running, so no task is",
                refuses: "the worker gets no new tasks",
                takes_again: "the worker gets new ones again",
                cure: "wait longer (--timeout), or stop the worker, whose tasks begin again on other \
                       machines: systemctl stop covalent-worker",
                idle: "no task runs here",
                moment: "waiting until no task runs here",
            },
        }
    }
}

fn wait(
    host: &Host,
    limit: Option<Duration>,
    interruption: &Interruption,
    progress: &Progress,
) -> Result<()> {
    let begun = Instant::now();
    let words = Words::of(host);
    let mut said = String::new();
    loop {
        let now = activity(host)?;
        if now.is_idle() && is_draining(host) {
            return Ok(());
        }
        // A server that was started anew meanwhile has lost the mark; one that is gone needs none.
        if !begin(host)? {
            return Ok(());
        }
        let sentence = now.sentence();
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            return Err(Failure::error(
                Kind::Busy,
                format!(
                    "after {} s, {sentence} still; {}",
                    begun.elapsed().as_secs(),
                    words.takes_again
                ),
                words.cure,
            ));
        }
        if sentence != said {
            progress.say(&format!("{sentence}; waiting"));
            said = sentence;
        }
        interruption.sleep(INTERVAL)?;
    }
}

/// Waits for a moment in which nothing runs, and lets nothing start from then on. Meanwhile a server
/// takes workflows as ever; a worker, of which others take the place, gets no task from now on. While
/// what is returned lives, no signal keeps the caller from what the moment is for.
pub fn wait_for_idleness(host: &Host, progress: &Progress) -> Result<Interruption> {
    let interruption = Interruption::noticed()?;
    if Role::of(host) == Role::Worker {
        if begin(host)? {
            wait(host, None, &interruption, progress).inspect_err(|_| drop(resume(host)))?;
        }
        return Ok(interruption);
    }
    let mut said = false;
    loop {
        // Asked without the mark first: nobody is to be refused because of a mere question.
        if asked(host)?.is_idle() {
            // The mark of an administrator's drain is not ours to remove.
            let is_ours = !is_draining(host);
            if !begin(host)? {
                return Ok(interruption);
            }
            let now = activity(host).and_then(|now| interruption.heed().map(|()| now));
            if now.as_ref().is_ok_and(Activity::is_idle) {
                return Ok(interruption);
            }
            if is_ours {
                resume(host)?;
            }
            now?;
        }
        if !said {
            progress.say(Words::of(host).moment);
            said = true;
        }
        interruption.sleep(INTERVAL)?;
    }
}

/// Lets workflows start again. Returns whether that had been forbidden.
pub fn resume(host: &Host) -> Result<bool> {
    file::remove(&host.drain_mark())
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

/// What a stop of the server would interrupt.
#[derive(Debug, PartialEq, Eq)]
enum Activity {
    None,
    /// On its way up or down, the server can't be asked.
    Change,
    Workflows(u64),
    Tasks(u64),
}

impl Activity {
    fn is_idle(&self) -> bool {
        *self == Activity::None
    }

    fn sentence(&self) -> String {
        match self {
            Activity::None => "no workflow runs".into(),
            Activity::Change => "the service is on its way up or down, or to a drain".into(),
            Activity::Workflows(count) => sentence(*count),
            Activity::Tasks(1) => "1 task runs here".into(),
            Activity::Tasks(count) => format!("{count} tasks run here"),
        }
    }
}

/// What is at work; nothing only if that is so at two moments one after the other.
fn activity(host: &Host) -> Result<Activity> {
    let first = asked(host)?;
    if !first.is_idle() {
        return Ok(first);
    }
    thread::sleep(INTERVAL);
    asked(host)
}

/// What runs, according to the server; nothing if systemd knows that there is no server.
fn asked(host: &Host) -> Result<Activity> {
    match systemd::state(host)?.as_deref() {
        Some("inactive" | "failed") => Ok(Activity::None),
        Some("activating" | "deactivating") => Ok(Activity::Change),
        _ if Role::of(host) == Role::Worker => Ok(match Standing::now(host) {
            Standing::Draining { busy: 0 } => Activity::None,
            Standing::Draining { busy } => Activity::Tasks(busy),
            // Whoever is in no fleet has no tasks.
            Standing::Waiting(_) => Activity::None,
            Standing::In(_) | Standing::Unknown => Activity::Change,
        }),
        _ => Ok(match api::running(&Address::now(host), 0)?.count {
            0 => Activity::None,
            count => Activity::Workflows(count),
        }),
    }
}

/// Signals: whatever ends the waiting must not leave a server that refuses everybody.
pub struct Interruption(Signals);

impl Interruption {
    /// From now on they are noticed, and do nothing else.
    pub fn noticed() -> Result<Interruption> {
        Signals::noticed().map(Interruption)
    }

    /// Waits, unless one has come.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        thread::sleep(time);
        self.heed()
    }

    fn heed(&self) -> Result<()> {
        if self.0.heed().is_none() {
            return Ok(());
        }
        Err(Failure::error(
            Kind::Busy,
            "interrupted; new work is accepted as before",
            "run the command again to wait",
        ))
    }
}

/// How many workflows run, as a sentence.
pub fn sentence(count: u64) -> String {
    match count {
        1 => "1 workflow runs".into(),
        _ => format!("{count} workflows run"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;

    /// A server that says of each question how many workflows run, or fails where it says nothing.
    /// Returns what became of the waiting, and whether the mark was there at each question.
    fn ask(host: &Host, counts: &'static [Option<usize>]) -> (Result<Interruption>, Vec<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        fs::write(
            host.environment_file(),
            format!("COVALENT_SVC_PORT={port}\n"),
        )
        .unwrap();
        let mark = host.drain_mark();
        let (seen, marks) = mpsc::channel();
        // Not waited for: where the waiting ends early, it would wait for questions for ever.
        thread::spawn(move || {
            for count in counts {
                let (stream, _) = listener.accept().unwrap();
                seen.send(mark.exists()).unwrap();
                let workflows = vec![r#"{"dispatch_id":"a"}"#; count.unwrap_or(0)].join(",");
                let status = count.map_or("500 Error", |_| "200 OK");
                let text = format!("HTTP/1.1 {status}\r\n\r\n{{\"dispatches\":[{workflows}]}}");
                api::answer(stream, &text);
            }
        });
        let result = wait_for_idleness(host, &Progress::plain());
        (result, marks.try_iter().collect())
    }

    fn tree() -> (tempfile::TempDir, Host) {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.path("/run/covalent")).unwrap();
        fs::create_dir_all(host.path("/etc/covalent")).unwrap();
        (tree, host)
    }

    #[test]
    fn new_workflows_are_refused_only_in_the_moment_before_the_restart() {
        let (_tree, host) = tree();
        let counts = &[Some(1), Some(0), Some(1), Some(0), Some(0), Some(0)];
        let (result, marks) = ask(&host, counts);
        result.unwrap();
        assert_eq!(marks, [false, false, true, false, true, true]);
        assert!(is_draining(&host));
    }

    #[test]
    fn the_mark_of_a_drain_stays() {
        let (_tree, host) = tree();
        begin(&host).unwrap();
        let (result, marks) = ask(&host, &[Some(0), Some(1), Some(0), Some(0), Some(0)]);
        result.unwrap();
        assert_eq!(marks, [true; 5]);
    }

    #[test]
    fn what_the_account_has_put_in_the_place_of_the_mark_is_not_followed() {
        let (tree, host) = tree();
        let victim = tree.path().join("victim");
        fs::write(&victim, "as it was").unwrap();
        let plant = || symlink(&victim, host.drain_mark()).unwrap();
        let read = || fs::read_to_string(&victim).unwrap();
        plant();
        assert!(begin(&host).unwrap());
        assert!(!host.drain_mark().is_symlink());
        resume(&host).unwrap();
        plant();
        assert!(resume(&host).unwrap());
        assert_eq!(read(), "as it was");
        // An ordinary write follows it.
        plant();
        fs::write(host.drain_mark(), "").unwrap();
        assert_eq!(read(), "");
    }

    #[test]
    fn a_server_that_fails_to_answer_is_not_left_refusing() {
        let (_tree, host) = tree();
        let (result, marks) = ask(&host, &[Some(0), None]);
        assert!(result.is_err());
        assert_eq!(marks, [false, true]);
        assert!(!is_draining(&host));
    }
}
