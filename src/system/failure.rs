//! Errors that a caller branches on, and how any error is shown.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;

/// What went wrong, as far as a script or an administrator acts on it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A settings file is unreadable, malformed, or holds a value that can't be used.
    Settings,
    /// There is no Python interpreter that Covalent runs on.
    Interpreter,
    /// The wheels can't be had: no wheelhouse, and the index is out of reach or not allowed.
    Source,
    /// A file system has too little space.
    Space,
    /// A wheel is not the one that the lock names.
    Wheel,
    /// The new environment was built, and the server can't be loaded from it.
    Verification,
    /// The call needs root.
    Permission,
    /// There is no environment to use.
    NoEnvironment,
    /// `doctor` found something that is wrong.
    Unhealthy,
    /// There is no such generation, or no such package of the administrator's.
    Unknown,
    /// The database is not of the revision that an environment needs.
    Database,
    /// Workflows still run.
    Busy,
}

impl Kind {
    /// Every kind, in the order of the exit statuses.
    pub const ALL: [Kind; 12] = [
        Kind::Settings,
        Kind::Interpreter,
        Kind::Source,
        Kind::Space,
        Kind::Wheel,
        Kind::Verification,
        Kind::Permission,
        Kind::NoEnvironment,
        Kind::Unhealthy,
        Kind::Unknown,
        Kind::Database,
        Kind::Busy,
    ];

    /// The exit status. 1 is any other error, 2 a wrong command line.
    pub fn exit_status(self) -> u8 {
        match self {
            Kind::Settings => 3,
            Kind::Interpreter => 4,
            Kind::Source => 5,
            Kind::Space => 6,
            Kind::Wheel => 7,
            Kind::Verification => 8,
            Kind::Permission => 9,
            Kind::NoEnvironment => 10,
            Kind::Unhealthy => 11,
            Kind::Unknown => 12,
            Kind::Database => 13,
            Kind::Busy => 14,
        }
    }

    /// One line for the manual.
    pub fn meaning(self) -> &'static str {
        match self {
            Kind::Settings => "a settings file is unreadable, malformed or holds an unusable value",
            Kind::Interpreter => "no Python interpreter that Covalent runs on",
            Kind::Source => "no wheelhouse, and the package index is out of reach or not allowed",
            Kind::Space => "too little space on a file system",
            Kind::Wheel => "a wheel is damaged or is not the one that the lock names",
            Kind::Verification => "the server can't be loaded from the new environment",
            Kind::Permission => "the call needs root",
            Kind::NoEnvironment => "there is no environment",
            Kind::Unhealthy => "doctor found something that is wrong",
            Kind::Unknown => {
                "there is no such environment to go back to, or no such package of yours"
            }
            Kind::Database => "the database is not of the revision that the environment needs",
            Kind::Busy => "workflows still run at the end of the time given to drain",
        }
    }

    /// The kind with this [`name`](Kind::name).
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name in `status --json` and in the state file.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Settings => "settings",
            Kind::Interpreter => "interpreter",
            Kind::Source => "source",
            Kind::Space => "space",
            Kind::Wheel => "wheel",
            Kind::Verification => "verification",
            Kind::Permission => "permission",
            Kind::NoEnvironment => "no-environment",
            Kind::Unhealthy => "unhealthy",
            Kind::Unknown => "unknown",
            Kind::Database => "database",
            Kind::Busy => "busy",
        }
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

/// The whole chain without the next step, one cause a line.
pub fn describe(error: &Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(":\n  ")
}

/// The text for a terminal or a log: what happened, why, and what to type.
pub fn render(error: &Error) -> String {
    let mut text = format!("covalentctl: {}\n", describe(error));
    if let Some(failure) = find(error) {
        text.push_str(&format!("  Next: {}\n", failure.next));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn exit_statuses_are_distinct_and_leave_one_and_two_to_others() {
        let mut seen: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_status()).collect();
        seen.dedup();
        assert_eq!(seen, (3..=14).collect::<Vec<u8>>());
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
