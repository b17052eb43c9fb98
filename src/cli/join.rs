//! `covalentctl join`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use super::change::require_root_for;
use super::role::require_worker;
use crate::fleet::{Token, membership, publication};
use crate::service::lifecycle;
use crate::service::standing::Standing;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::print;
use crate::system::progress::Progress;
use crate::system::prompt::secret_line;
use crate::system::systemd;
use crate::system::turn::Turn;

/// What is asked for at a terminal.
const PROMPT: &str = "The line that `covalentctl worker add` has printed on the server (it is not shown \
                      here): ";

/// Bytes that are read: a token has 1600.
const LONGEST: u64 = 64 << 10;

/// How long a worker that runs may wait for its server, for the same reason, before that is an
/// answer. It tries again every 15 seconds at the latest.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the worker is asked where it stands.
const INTERVAL: Duration = Duration::from_millis(500);

/// Make this machine a worker of a server
///
/// Reads the line that `covalentctl worker add NAME` has printed on the server, from standard input or
/// at a prompt; it is a secret, and never an argument. Then the worker is started, and its first
/// words are waited for: how many tasks it runs at a time, or why it can't. In that case the exit
/// status is 15, and the worker goes on trying. With the line of another server, or with a new one of
/// the same, this machine is that worker from then on.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  covalentctl join\n  ssh server sudo covalentctl worker add gpu1 | sudo covalentctl join\n"
)]
pub struct Join {}

impl Join {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_worker(host)?;
        require_root_for(host, "joining a fleet")?;
        let progress = Progress::interactive();
        let line = secret_line(PROMPT, LONGEST)?;
        let token = Token::read(&line, Timestamp::now())?;
        let turn = Turn::acquire(host, &progress)?;
        membership::join(host, &token, &turn)?;
        publication::publish(host, &turn, &progress)?;
        drop(turn);
        progress.say(&format!(
            "this machine is {} of {}",
            token.name, token.server
        ));
        if !systemd::is_running(host) {
            progress.say("systemd is not running; to run the worker: covalentctl serve");
            return Ok(());
        }
        lifecycle::enable_and_restart(host)?;
        print::answer(format_args!("{}\n", wait(host, &progress)?))
    }
}

/// Waits until the worker is in the fleet, and returns its words; fails with those that say why not.
fn wait(host: &Host, progress: &Progress) -> Result<String> {
    let mut reason = (String::new(), Instant::now());
    loop {
        let is_active = systemd::is_active(host)?;
        let words = match Standing::now(host) {
            Standing::In(words) if is_active => return Ok(words),
            Standing::Waiting(words) if is_active => words,
            // Its environment may be under way, which takes its time.
            _ if systemd::state(host)?.as_deref() == Some("activating") => {
                reason.1 = Instant::now();
                reason.0.clone()
            }
            _ if is_active => "the worker has not said yet how it is".into(),
            _ => "the worker does not run".into(),
        };
        if words != reason.0 {
            progress.say(&words);
            reason = (words, Instant::now());
        } else if reason.1.elapsed() > PATIENCE {
            return Err(Failure::error(
                Kind::Apart,
                reason.0,
                "sudo covalentctl doctor says what helps; the worker goes on trying, and \
                 covalentctl status says where it stands",
            ));
        }
        thread::sleep(INTERVAL);
    }
}
