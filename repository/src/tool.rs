//! The programs that do the work.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use covalentctl::system::command::Command;

/// A package has some hundred megabytes at most; a disk may be slow.
const LIMIT: Duration = Duration::from_secs(600);

/// A program that is to run for minutes at most, with a home of its own: no settings of the caller's.
pub fn tool(program: &str, home: &Path) -> Command {
    Command::new(program, LIMIT).env("HOME", home)
}

/// Runs it, and returns its standard output.
pub fn output(command: Command, what: impl FnOnce() -> String) -> Result<String> {
    Ok(command.run().with_context(what)?.stdout)
}
