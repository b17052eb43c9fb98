//! The command line. The manual and the shells' completions are made from these definitions.

mod add;
mod adopt;
mod apply;
mod backup;
mod change;
mod doctor;
mod drain;
mod history;
mod https;
mod join;
mod leave;
mod list;
mod logs;
mod remove;
mod restart;
mod restore;
mod role;
mod rollback;
mod run;
mod serve;
mod status;
mod terminal;
mod upgrade;
mod user;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::system::failure::Kind;
use crate::system::host::Host;
use crate::system::reach::require_trusted;
use crate::system::space;

/// Builds, verifies and activates the environment of the Covalent workflow server
///
/// The packages and the unit call covalentctl automatically. Use it to see the state of the server
/// (status, doctor, logs), to manage your own Python packages in its environment (add, remove,
/// list, upgrade), to return to an earlier environment (history, rollback), to rebuild the
/// environment after an edit (apply), to run commands in it (run), to back up and restore the
/// server's data (backup, restore), to take over a server that was set up by hand (adopt), to stop or
/// restart the server without interrupting running workflows (drain, restart), to let people in from
/// other machines (user, https), and to let other machines compute for it (worker; there: join,
/// leave).
#[derive(Debug, Parser)]
#[command(name = "covalentctl", version, after_long_help = exit_statuses())]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Apply(apply::Apply),
    Add(add::Add),
    Remove(remove::Remove),
    List(list::List),
    Upgrade(upgrade::Upgrade),
    History(history::History),
    Rollback(rollback::Rollback),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Logs(logs::Logs),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Adopt(adopt::Adopt),
    Drain(drain::Drain),
    Restart(restart::Restart),
    Worker(worker::Worker),
    Join(join::Join),
    Leave(leave::Leave),
    User(user::User),
    Https(https::Https),
    Run(run::Run),
    Serve(serve::Serve),
}

impl Arguments {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        let host = Host::current();
        // These two say it themselves, and run nothing of what somebody else could change.
        if !matches!(self.verb, Verb::Doctor(_) | Verb::Status(_)) {
            require_trusted(&host)?;
        }
        let done = |()| ExitCode::SUCCESS;
        let result = match self.verb {
            Verb::Apply(verb) => verb.run(&host).map(done),
            Verb::Add(verb) => verb.run(&host).map(done),
            Verb::Remove(verb) => verb.run(&host).map(done),
            Verb::List(verb) => verb.run(&host).map(done),
            Verb::Upgrade(verb) => verb.run(&host).map(done),
            Verb::History(verb) => verb.run(&host).map(done),
            Verb::Rollback(verb) => verb.run(&host).map(done),
            Verb::Status(verb) => verb.run(&host),
            Verb::Doctor(verb) => verb.run(&host),
            Verb::Logs(verb) => verb.run(&host).map(done),
            Verb::Backup(verb) => verb.run(&host).map(done),
            Verb::Restore(verb) => verb.run(&host).map(done),
            Verb::Adopt(verb) => verb.run(&host).map(done),
            Verb::Drain(verb) => verb.run(&host).map(done),
            Verb::Restart(verb) => verb.run(&host).map(done),
            Verb::Worker(verb) => verb.run(&host).map(done),
            Verb::Join(verb) => verb.run(&host).map(done),
            Verb::Leave(verb) => verb.run(&host).map(done),
            Verb::User(verb) => verb.run(&host).map(done),
            Verb::Https(verb) => verb.run(&host).map(done),
            Verb::Run(verb) => verb.run(&host),
            Verb::Serve(verb) => verb.run(&host),
        };
        // What is written beside a build may find no room either.
        result.map_err(space::diagnose)
    }
}

/// The table of exit statuses, for `--help` and for the manual.
pub fn exit_statuses() -> String {
    let kinds = Kind::value_variants().iter();
    let kinds = kinds.map(|kind| (kind.exit_status(), kind.meaning()));
    let lines = [
        (0, "success"),
        (1, "any error not listed below"),
        (2, "the command line is wrong"),
    ]
    .map(|(status, meaning)| (status, meaning.to_string()));
    let rows = lines.into_iter().chain(kinds);
    rows.fold("Exit statuses:\n".to_string(), |text, (status, meaning)| {
        text + &format!("{status:>4}  {meaning}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_has_every_exit_status() {
        let help = Arguments::command().render_long_help().to_string();
        for kind in Kind::value_variants() {
            assert!(help.contains(&kind.meaning()), "{kind:?}");
        }
    }
}
