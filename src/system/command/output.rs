//! How a child ended, and what it said.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Error, Result};

/// What a child left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended; `None` when it was stopped at its time limit.
    pub status: Option<ExitStatus>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended by itself with status 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The output of the command `line` if it succeeded; else a [`CommandFailed`].
    pub fn successful(self, line: String) -> Result<Output> {
        if self.succeeded() {
            Ok(self)
        } else {
            Err(Error::new(CommandFailed { line, output: self }))
        }
    }
}

/// A child that ended badly.
#[derive(Debug)]
pub struct CommandFailed {
    /// Its command line, without secrets.
    pub(super) line: String,
    /// What it left behind, without secrets.
    pub output: Output,
}

impl std::fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ", self.line)?;
        match self.output.status {
            None => write!(f, "did not end within its time limit and was stopped")?,
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "ended with status {code}")?,
                (None, signal) => write!(f, "was ended by signal {}", signal.unwrap_or(0))?,
            },
        }
        for text in [&self.output.stdout, &self.output.stderr] {
            for line in text.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for CommandFailed {}
