//! Letting a worker's tasks come to their end, from the server.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::name::WorkerName;
use super::publication::set_draining;
use super::report::{Report, State};
use crate::service::drain::Interruption;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::systemd;

/// How often the report is read. The launcher writes it once a second at most.
const INTERVAL: Duration = Duration::from_millis(500);

/// How soon the server has begun at the latest; later, that it has not is said.
const NOTICED: Duration = Duration::from_secs(5);

/// Gives a worker no new tasks, and waits until it runs none. At the limit it gets some again, unless it got
/// none before.
pub fn drain(
    host: &Host,
    name: &WorkerName,
    limit: Option<Duration>,
    progress: &Progress,
) -> Result<()> {
    let interruption = Interruption::noticed()?;
    let is_new = set_draining(host, name, true)?;
    progress.say(&format!(
        "{name} gets no new tasks until `covalentctl worker drain {name} --resume`"
    ));
    if let Err(error) = wait(host, name, limit, is_new, &interruption, progress) {
        if is_new {
            set_draining(host, name, false)?;
        }
        return Err(error);
    }
    progress.say(&format!("{name} runs no task"));
    Ok(())
}

fn wait(
    host: &Host,
    name: &WorkerName,
    limit: Option<Duration>,
    is_new: bool,
    interruption: &Interruption,
    progress: &Progress,
) -> Result<()> {
    let begun = Instant::now();
    let mut said = None;
    loop {
        if systemd::state(host)?.is_some_and(|state| state != "active") {
            progress.say("the server is not running, so no task is");
            return Ok(());
        }
        let busy = Report::read(host).and_then(|report| match report.workers.get(name.as_str()) {
            Some(worker) if worker.state == State::Draining => Some(worker.busy),
            // The server has not noticed it yet.
            Some(worker) if worker.state == State::Running => None,
            // It is not there: it runs nothing for this server.
            _ => Some(0),
        });
        if busy == Some(0) {
            return Ok(());
        }
        let sentence = match busy {
            None => format!("the server has not begun to drain {name}"),
            Some(1) => format!("1 task runs on {name}"),
            Some(count) => format!("{count} tasks run on {name}"),
        };
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            let again = if is_new {
                "it gets new ones again"
            } else {
                "it goes on getting no new ones, as before"
            };
            return Err(Failure::error(
                Kind::Busy,
                format!(
                    "after {} s, {sentence} still; {again}",
                    begun.elapsed().as_secs()
                ),
                "wait longer (--timeout); or stop the worker, whose tasks begin again on other \
                 machines",
            ));
        }
        if Some(&sentence) != said.as_ref() && (busy.is_some() || begun.elapsed() >= NOTICED) {
            progress.say(&format!("{sentence}; waiting"));
            said = Some(sentence);
        }
        interruption.sleep(INTERVAL)?;
    }
}
