//! Child processes: quiet on success, everything they said on failure.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::wait::wait_until;

/// What a process left.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The exit status; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Both outputs, for a test that does not care which one held the words.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The standard output, or an error with everything that was said.
    pub(crate) fn into_stdout(self, what: &str) -> Result<String> {
        if !self.success() {
            bail!("{what}\n{self}");
        }
        Ok(self.stdout)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            writeln!(f, "--- {name}:\n{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// Runs `command` to its end, which is by force after `limit`; that is an error.
///
/// The outputs go to files, not pipes: a daemon that it leaves behind and that
/// holds on to them must not keep anyone waiting.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let mut stdout = tempfile::tempfile().context("a temporary file for standard output")?;
    let mut stderr = tempfile::tempfile().context("a temporary file for standard error")?;
    let mut child = command
        .stdout(Stdio::from(stdout.try_clone()?))
        .stderr(Stdio::from(stderr.try_clone()?))
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let status = wait_until("its end", limit, || match child.try_wait() {
        Ok(Some(status)) => Ok(Ok(status)),
        Ok(None) => Err("still running"),
        Err(error) => Ok(Err(error)),
    });
    if status.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let (stdout, stderr) = (contents(&mut stdout)?, contents(&mut stderr)?);
    match status {
        Ok(status) => Ok(Output {
            status: status?,
            stdout,
            stderr,
        }),
        Err(error) => Err(
            anyhow!("{error:#}\n--- stdout:\n{stdout}\n--- stderr:\n{stderr}")
                .context(format!("{} was killed", command.get_program().display())),
        ),
    }
}

fn contents(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_and_the_status_are_kept() {
        let output = run(&mut shell("echo one; echo two >&2; exit 3"), LIMIT).unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("one\n", "two\n")
        );
        assert_eq!(output.code(), Some(3));
        assert_eq!(
            output
                .into_stdout("the script failed")
                .unwrap_err()
                .to_string(),
            "the script failed\nexit status: 3\n--- stdout:\none\n--- stderr:\ntwo\n"
        );
    }

    #[test]
    fn a_process_over_its_limit_is_killed_and_what_it_said_is_told() {
        let error = run(
            &mut shell("echo begun; exec sleep 60"),
            Duration::from_millis(200),
        );
        assert!(format!("{:#}", error.unwrap_err()).contains("begun"));
    }

    #[test]
    fn a_daemon_left_behind_keeps_nobody_waiting() {
        let output = run(&mut shell("sleep 5 & echo done"), Duration::from_secs(3)).unwrap();
        assert_eq!(output.stdout, "done\n");
    }
}
