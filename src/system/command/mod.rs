//! Child processes: one way to run them.
//!
//! Quiet on success; on failure the error holds the command line, the exit status and the whole
//! output. Every run has a time limit.

mod output;
mod reading;
mod relaying;
mod running;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Error;

pub use self::output::{CommandFailed, Output};

/// How often a child is asked whether it has ended: short beside what any of them takes.
const POLL: Duration = Duration::from_millis(5);

/// A child process to be.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    limit: Duration,
    secrets: Vec<String>,
    input: Option<(Vec<u8>, Option<File>)>,
}

impl Command {
    /// A child with an empty environment but for `PATH` and the locale, in the folder `/`: nothing
    /// that lies where the caller is has an effect.
    pub fn new(program: impl AsRef<OsStr>, limit: Duration) -> Command {
        Command::bare(program, limit).current_dir("/".as_ref())
    }

    /// A child with the caller's own environment and folder, for a program that takes the
    /// caller's place.
    pub fn in_place(program: impl AsRef<OsStr>) -> Command {
        let command = Command::bare(program, Duration::MAX);
        std::env::vars_os().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn bare(program: impl AsRef<OsStr>, limit: Duration) -> Command {
        let mut inner = std::process::Command::new(program);
        inner
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        Command {
            inner,
            limit,
            secrets: Vec::new(),
            input: None,
        }
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Command {
        self.inner.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Command {
        self.inner.env(name, value);
        self
    }

    /// Takes a variable out of its environment.
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Command {
        self.inner.env_remove(name);
        self
    }

    /// A variable of its environment.
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let mut variables = self.inner.get_envs();
        variables
            .find(|(found, _)| *found == name.as_ref())
            .and_then(|(_, value)| value.map(OsString::from))
    }

    /// Sets its working directory.
    pub fn current_dir(mut self, folder: &Path) -> Command {
        self.inner.current_dir(folder);
        self
    }

    /// Takes `text` out of everything that is kept of the output.
    pub fn secret(mut self, text: Option<&str>) -> Command {
        self.secrets
            .extend(text.filter(|text| !text.is_empty()).map(String::from));
        self
    }

    /// Gives it this to read, and then the rest of a file, through a pipe.
    pub fn input(mut self, start: Vec<u8>, rest: Option<File>) -> Command {
        if !start.is_empty() || rest.is_some() {
            self.input = Some((start, rest));
            self.inner.stdin(Stdio::piped());
        }
        self
    }

    /// Becomes the program; returns only if that failed.
    pub fn exec(mut self) -> Error {
        let line = self.line();
        Error::new(self.inner.stdin(Stdio::inherit()).exec()).context(format!("starting `{line}`"))
    }

    fn line(&self) -> String {
        let words: Vec<&OsStr> = std::iter::once(self.inner.get_program())
            .chain(self.inner.get_args())
            .collect();
        let line: OsString = words.join(OsStr::new(" "));
        self.without_secrets(line.to_string_lossy().into_owned())
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets
            .iter()
            .fold(text, |text, secret| text.replace(secret, "****"))
    }
}
