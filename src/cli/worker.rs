//! `covalentctl worker`.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::change::require_root_for;
use super::role::require_server;
use super::terminal::column;
use crate::fleet::report::{Report, State};
use crate::fleet::{Place, WorkerName, drain, publication, roster};
use crate::system::host::Host;
use crate::system::print;
use crate::system::progress::Progress;
use crate::system::systemd;
use crate::system::turn::Turn;

/// Let other machines compute for this server
///
/// A worker is another machine with the package covalent-worker. `worker add` makes an identity for
/// it, which `covalentctl join` takes there. All workers and the server are one trust domain: whoever
/// may run tasks runs them on each of these machines.
#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    after_long_help = "Examples:\n  covalentctl worker add gpu1\n  ssh server sudo covalentctl worker add gpu1 | sudo covalentctl join\n  covalentctl worker drain gpu1 --timeout 3600\n"
)]
pub struct Worker {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    List(List),
    Remove(Remove),
    Drain(Drain),
}

/// Make an identity for a worker, and print it as one line
///
/// The line is a secret: whoever has it is that worker, until it is removed or added again. It is
/// printed once and kept nowhere. A name that was on the list gets a new identity, and the one of
/// before is not accepted any more. With the first worker, the server begins to listen for the
/// fleet (COVALENT_FLEET_LISTEN, port 48009 of all addresses).
#[derive(Args, Debug)]
struct Add {
    /// The worker's name: small letters, digits, '-' and '.'
    name: WorkerName,

    /// Where the worker reaches this machine; by default, its full name and the port of
    /// COVALENT_FLEET_LISTEN
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
}

/// Show the workers, and what they do
///
/// Also shows which tasks wait for something that no worker has.
#[derive(Args, Debug)]
struct List {
    /// Print a JSON list instead; its fields keep their meaning, and new ones may be added
    #[arg(long)]
    json: bool,
}

/// Take a worker off the list
///
/// Its connections end within seconds, and what it ran begins again on another machine. To let its
/// tasks end first, drain it.
#[derive(Args, Debug)]
struct Remove {
    /// The worker's name, as `covalentctl worker list` shows it
    name: WorkerName,
}

/// Give a worker no new tasks, and wait until it runs none
///
/// It gets new ones after `covalentctl worker drain NAME --resume`. If tasks still run when the time
/// given by --timeout is up, it gets new ones again, and the exit status is 14.
#[derive(Args, Debug)]
struct Drain {
    /// The worker's name, as `covalentctl worker list` shows it
    name: WorkerName,

    /// The longest time to wait; by default, as long as it takes
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Give it new tasks again
    #[arg(long, conflicts_with = "timeout")]
    resume: bool,
}

impl Worker {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "the list of workers is on the server")?;
        require_root_for(host, "looking after the fleet")?;
        match self.verb {
            Verb::Add(verb) => verb.run(host),
            Verb::List(verb) => verb.run(host),
            Verb::Remove(verb) => verb.run(host),
            Verb::Drain(verb) => verb.run(host),
        }
    }
}

impl Add {
    fn run(&self, host: &Host) -> Result<()> {
        // Its output is the token alone.
        let progress = Progress::plain();
        let server = Place::of_this_machine(host, self.address.as_deref())?;
        let name = &self.name;
        let turn = Turn::acquire(host, &progress)?;
        let added = roster::add(host, name, &server, &turn)?;
        publication::publish(host, &turn, &progress)?;
        if added.renewed {
            progress.say(&format!(
                "{name} was on the list: the identity that it had is not accepted any more"
            ));
        }
        if added.first {
            progress.say(
                "the server listens for the fleet from now on; a firewall has to let workers in at \
                 that port (docs/fleet.md)",
            );
        }
        if !systemd::is_active(host).unwrap_or(true) {
            progress.warn("the server is not running: sudo systemctl start covalent");
        }
        progress.say(&format!(
            "the line below makes a machine {name}, which will look for this one at {server}. It is \
             a secret. On that machine: sudo covalentctl join, and paste it"
        ));
        print::answer(format_args!("{}\n", added.token.line()))
    }
}

/// A worker in the list.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    /// As in the report; `unseen` where it has none of it.
    state: String,
    busy: u64,
    slots: u64,
    /// In words.
    sentence: String,
    /// When its certificate ends.
    certificate_end: Timestamp,
}

/// The workers on the list, and how they are.
pub(super) fn rows(host: &Host, report: Option<&Report>) -> Result<Vec<Row>> {
    let now = Timestamp::now();
    let members = roster::members(host)?;
    let rows = members.iter().map(|member| {
        let name = member.name.as_str();
        let worker = report.and_then(|report| report.workers.get(name));
        let (state, sentence) = match (report, worker) {
            (None, _) => ("unseen", "unknown: the server is not running".into()),
            (_, None) => ("unseen", "not seen since the server started".into()),
            (_, Some(worker)) => (word(worker.state), worker.sentence(now)),
        };
        Row {
            name: name.into(),
            state: state.into(),
            busy: worker.map_or(0, |worker| worker.busy),
            slots: worker.map_or(0, |worker| worker.slots),
            sentence,
            certificate_end: member.certificate.end,
        }
    });
    Ok(rows.collect())
}

fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Draining => "draining",
        State::Refused => "refused",
        State::Gone => "gone",
        State::Unknown => "unknown",
    }
}

/// `gpu1  running  3 of 8 busy  GPU=1`, a worker a line.
pub(super) fn lines(rows: &[Row]) -> Vec<String> {
    let width = column(rows.iter().map(|row| row.name.as_str()));
    let line = |row: &Row| format!("{:width$}  {}", row.name, row.sentence);
    rows.iter().map(line).collect()
}

impl List {
    fn run(&self, host: &Host) -> Result<()> {
        let report = Report::read(host);
        let rows = rows(host, report.as_ref())?;
        if self.json {
            let json = serde_json::to_string_pretty(&rows).context("writing the list as JSON")?;
            return print::answer(format_args!("{json}\n"));
        }
        if rows.is_empty() {
            return print::answer(
                "There are no workers. To add one: covalentctl worker add NAME\n",
            );
        }
        let mut lines = lines(&rows);
        lines.extend(report.iter().flat_map(Report::shortages));
        lines.iter().try_for_each(|line| {
            // What others have a say in is a part of a line.
            let line = crate::system::terminal::one_line(line);
            print::answer(format_args!("{line}\n"))
        })
    }
}

impl Remove {
    fn run(&self, host: &Host) -> Result<()> {
        let progress = Progress::plain();
        let name = &self.name;
        let turn = Turn::acquire(host, &progress)?;
        roster::remove(host, name, &turn)?;
        publication::publish(host, &turn, &progress)?;
        progress.say(&format!(
            "{name} is a stranger from now on; what it ran begins again elsewhere. On {name}: sudo \
             covalentctl leave"
        ));
        Ok(())
    }
}

impl Drain {
    fn run(&self, host: &Host) -> Result<()> {
        let progress = Progress::interactive();
        let name = &self.name;
        roster::require(host, name)?;
        if !self.resume {
            let limit = self.timeout.map(Duration::from_secs);
            return drain::drain(host, name, limit, &progress);
        }
        progress.say(&if publication::set_draining(host, name, false)? {
            format!("{name} gets new tasks again")
        } else {
            format!("{name} gets new tasks; nothing to do")
        });
        Ok(())
    }
}
