//! Running something inside a machine.

use std::fs::File;
use std::io::{Seek, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{Output, run};
use crate::machine::Machine;

/// Enough to install everything on two busy cores.
const LIMIT: Duration = Duration::from_secs(300);

/// For `timeout` inside to end the script by force, before nsenter is killed
/// from outside, which would leave the script running.
const GRACE: Duration = Duration::from_secs(15);

/// Becomes `$1`, in the environment that a login gives, and executes the rest.
const LOG_IN: &str = include_str!("log_in.sh");

/// `program` as `user` inside the machine whose first process is `leader`.
pub(crate) fn enter(leader: u32, user: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--target={leader}"))
        .args([
            "--all", "--", "/bin/sh", "-euc", LOG_IN, "login", user, program,
        ])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// A shell script for a machine; see [`Machine::script`].
#[derive(Debug)]
#[must_use = "a script is run by `run` or `ok`"]
pub struct Script<'a> {
    machine: &'a Machine,
    text: String,
    user: String,
    arguments: Vec<String>,
    input: Vec<u8>,
    limit: Duration,
}

impl<'a> Script<'a> {
    pub(crate) fn new(machine: &'a Machine, text: &str) -> Script<'a> {
        Script {
            machine,
            text: text.to_owned(),
            user: "root".to_owned(),
            arguments: Vec::new(),
            input: Vec::new(),
            limit: LIMIT,
        }
    }

    /// Runs it as `user`, in the user's home.
    pub fn user(mut self, user: &str) -> Script<'a> {
        user.clone_into(&mut self.user);
        self
    }

    /// Its `$1`, `$2`, ...
    pub fn arguments<S: Into<String>>(
        mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Script<'a> {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Its standard input, else empty.
    pub fn input(mut self, input: impl AsRef<[u8]>) -> Script<'a> {
        self.input = input.as_ref().to_vec();
        self
    }

    /// Its time limit, else five minutes. Going over it is an error, after
    /// the script and its children were killed.
    pub fn limit(mut self, limit: Duration) -> Script<'a> {
        self.limit = limit;
        self
    }

    /// Runs it; it may fail.
    pub fn run(&self) -> Result<Output> {
        let started = Instant::now();
        let output = run(&mut self.command()?, self.limit + GRACE).with_context(|| self.title())?;
        // timeout(1): 124, or 137 if it had to send KILL.
        if started.elapsed() >= self.limit && matches!(output.code(), Some(124 | 137)) {
            bail!(
                "{}\nran for more than {:?}: {output}",
                self.title(),
                self.limit
            );
        }
        Ok(output)
    }

    /// Runs it and returns its standard output; if it fails, the error holds
    /// all that it said.
    pub fn ok(&self) -> Result<String> {
        self.run()?.into_stdout(&self.title())
    }

    fn title(&self) -> String {
        format!(
            "on {} as {}: {}",
            self.machine.name(),
            self.user,
            self.text.trim()
        )
    }

    fn command(&self) -> Result<Command> {
        // A session of its own: with the terminal of the caller, what asks there would wait for ever,
        // stopped since timeout(1) runs it in the background.
        let mut command = self.machine.command(&self.user, "setsid");
        command
            .args(["--wait", "timeout", "--kill-after=5"])
            .arg(self.limit.as_secs_f64().to_string())
            .args(["/bin/sh", "-ec", &self.text, "sh"])
            .args(&self.arguments)
            .stdin(if self.input.is_empty() {
                Stdio::null()
            } else {
                self.input_file()?.into()
            });
        Ok(command)
    }

    /// A file, since a pipe would need someone to feed it.
    fn input_file(&self) -> Result<File> {
        let mut file = tempfile::tempfile().context("a temporary file for standard input")?;
        file.write_all(&self.input)?;
        file.rewind()?;
        Ok(file)
    }
}
