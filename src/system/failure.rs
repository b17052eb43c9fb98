//! Errors that a caller branches on, and how any error is shown.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;
use clap::ValueEnum;

use super::terminal::printable;

/// What went wrong, as far as a script or an administrator acts on it differently.
///
/// The discriminant is the exit status of the process; 1 is any other error, 2 a wrong command line.
/// The manual has each kind's line here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub enum Kind {
    /// a settings file is unreadable, malformed or holds an unusable value
    Settings = 3,
    /// no Python interpreter that Covalent runs on
    Interpreter = 4,
    /// no wheelhouse, and the package index is unreachable or not allowed
    Source = 5,
    /// too little space on a file system
    Space = 6,
    /// a wheel is damaged, or is not the one that the lock names
    Wheel = 7,
    /// the server cannot be loaded from the new environment
    Verification = 8,
    /// the command needs root
    Permission = 9,
    /// the environment has not been built
    NoEnvironment = 10,
    /// doctor found something wrong
    Unhealthy = 11,
    /// there is no such environment to go back to, no such package of yours, or no such user
    Unknown = 12,
    /// the database does not have the revision that the environment needs
    Database = 13,
    /// workflows or tasks were still running when the time given to drain was up
    Busy = 14,
    /// the worker is not in the fleet: the server can't be reached, or refuses it
    Apart = 15,
}

impl Kind {
    /// The exit status.
    pub fn exit_status(self) -> u8 {
        self as u8
    }

    /// The kind with this [`name`](Kind::name).
    pub fn named(name: &str) -> Option<Kind> {
        Kind::from_str(name, false).ok()
    }

    /// The name in `status --json` and in the state file.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().into())
    }

    /// One line for the manual.
    pub fn meaning(self) -> String {
        let value = self.to_possible_value();
        let help = value.and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }
}

/// An error with a kind, and with what the administrator should do next.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// What happened, to which path, and why.
    pub message: String,
    /// What to type next.
    pub next: String,
}

impl Failure {
    /// An error out of the three parts.
    pub fn error(kind: Kind, message: impl Into<String>, next: impl Into<String>) -> Error {
        Error::new(Failure {
            kind,
            message: message.into(),
            next: next.into(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The error of somebody who is not root.
pub fn needs_root(what: &str) -> anyhow::Error {
    Failure::error(
        Kind::Permission,
        format!("{what} needs root"),
        "type the same command behind sudo",
    )
}

/// The failure with a kind that is somewhere in the chain of `error`.
pub fn find(error: &Error) -> Option<&Failure> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
}

/// The exit status of the process for `error`.
pub fn exit_code(error: &Error) -> ExitCode {
    ExitCode::from(find(error).map_or(1, |failure| failure.kind.exit_status()))
}

/// The whole chain without the next step, one cause a line. Others may have had a say in it.
pub fn describe(error: &Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    printable(&causes.join(":\n  "))
}

/// The text for a terminal or a log: what happened, why, and what to type.
pub fn render(error: &Error) -> String {
    let mut text = format!("covalentctl: {}\n", describe(error));
    if let Some(failure) = find(error) {
        text.push_str(&format!("  Next: {}\n", printable(&failure.next)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    use crate::system::role::Role;

    #[test]
    fn exit_statuses_are_distinct_and_leave_one_and_two_to_others() {
        let kinds = Kind::value_variants().iter();
        let seen: Vec<u8> = kinds.map(|kind| kind.exit_status()).collect();
        assert_eq!(seen, (3..=15).collect::<Vec<u8>>());
    }

    /// Whether the server may start the next time although nobody has done anything.
    fn may_pass_by_itself(kind: Kind) -> bool {
        match kind {
            Kind::Source
            | Kind::Space
            | Kind::Unhealthy
            | Kind::Unknown
            | Kind::Busy
            | Kind::Apart => true,
            Kind::Settings
            | Kind::Interpreter
            | Kind::Wheel
            | Kind::Verification
            | Kind::Permission
            | Kind::NoEnvironment
            | Kind::Database => false,
        }
    }

    #[test]
    fn the_unit_is_not_restarted_where_that_mends_nothing() {
        let kinds = Kind::value_variants().iter();
        let lasting = kinds.filter(|kind| !may_pass_by_itself(**kind));
        let mut statuses: Vec<String> =
            lasting.map(|kind| kind.exit_status().to_string()).collect();
        let launcher = include_str!("../../server/covalent_service/refusal.py").lines();
        let mut launcher = launcher.filter_map(|line| line.strip_prefix("NEEDS_ATTENTION = "));
        statuses.push(launcher.next().unwrap().into());
        // systemd.exec(5), EXIT_NAMESPACE.
        statuses.push("226".into());
        for role in [Role::Server, Role::Worker] {
            let unit = role.unit_file().lines();
            let mut unit = unit.filter_map(|line| line.strip_prefix("RestartPreventExitStatus="));
            assert_eq!(unit.next(), Some(statuses.join(" ").as_str()), "{role:?}");
        }
    }

    #[test]
    fn a_failure_is_found_below_its_context_and_its_next_step_is_shown() {
        let error = Err::<(), _>(Failure::error(Kind::Space, "/opt is full", "make space"))
            .context("building the environment")
            .unwrap_err();
        assert_eq!(find(&error).map(|failure| failure.kind), Some(Kind::Space));
        assert_eq!(
            render(&error),
            "covalentctl: building the environment:\n  /opt is full\n  Next: make space\n"
        );
    }
}
