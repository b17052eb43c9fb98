//! Running a child to its end.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};

use super::output::{CommandFailed, Output};
use super::reading::Reader;
use super::{Command, POLL};
use crate::system::reach::require_roots_own;

/// How long after a child's end the rest of its output may still go to a disk.
const GRACE_OF_FILE: Duration = Duration::from_secs(60);

impl Command {
    /// Runs it to its end; an unsuccessful end is a [`CommandFailed`].
    pub fn run(self) -> Result<Output> {
        let line = self.line();
        self.output()?.successful(line)
    }

    /// Runs it to its end, with all of its standard output in a file; `is_success` decides which exit
    /// statuses are a success.
    pub fn run_into(self, file: File, is_success: impl Fn(i32) -> bool) -> Result<()> {
        let line = self.line();
        let output = self.output_into(file)?;
        let code = output.status.and_then(|status| status.code());
        if code.is_some_and(is_success) {
            Ok(())
        } else {
            Err(Error::new(CommandFailed { line, output }))
        }
    }

    /// Runs it to its end, whatever that is.
    pub fn output(mut self) -> Result<Output> {
        let mut child = self.start()?;
        let stdout = Reader::new(child.stdout.take());
        let (status, stderr) = self.finish(&mut child)?;
        Ok(Output {
            status,
            stdout: self.without_secrets(stdout.text()),
            stderr,
        })
    }

    /// Runs it to its end, with all of its standard output in a file.
    pub fn output_into(mut self, mut file: File) -> Result<Output> {
        let line = self.line();
        let mut child = self.start()?;
        let pipe = child.stdout.take();
        let copy = thread::spawn(move || pipe.map(|mut pipe| io::copy(&mut pipe, &mut file)));
        let (status, stderr) = self.finish(&mut child)?;
        let end = Instant::now();
        while !copy.is_finished() && end.elapsed() < GRACE_OF_FILE {
            thread::sleep(POLL);
        }
        ensure!(copy.is_finished(), "`{line}` ended, and its output did not");
        if let Ok(Some(copied)) = copy.join() {
            copied.with_context(|| format!("writing what `{line}` said"))?;
        }
        Ok(Output {
            status,
            stdout: String::new(),
            stderr,
        })
    }

    /// Starts it with its output in pipes.
    pub(super) fn start(&mut self) -> Result<Child> {
        let line = self.line();
        let program = Path::new(self.inner.get_program());
        if rustix::process::geteuid().is_root() && program.is_absolute() {
            require_roots_own(program)?;
        }
        let mut child = self
            .inner
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        if let (Some((start, rest)), Some(mut pipe)) = (self.input.take(), child.stdin.take()) {
            // One that ends without reading all has its reason, which it says itself.
            thread::spawn(move || {
                pipe.write_all(&start)?;
                rest.map_or(Ok(0), |mut rest| io::copy(&mut rest, &mut pipe))
            });
        }
        Ok(child)
    }

    fn finish(&self, child: &mut Child) -> Result<(Option<ExitStatus>, String)> {
        let stderr = Reader::new(child.stderr.take());
        let line = self.line();
        let status = wait(child, self.limit).with_context(|| format!("running `{line}`"))?;
        Ok((status, self.without_secrets(stderr.text())))
    }
}

/// Waits for the end; `None` when the child had to be stopped at the limit.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Command {
        Command::new("/bin/sh", limit).args(["-c", script])
    }

    #[test]
    fn a_failure_shows_the_command_its_status_and_its_output() {
        let error = shell("echo told; echo why >&2; exit 7", Duration::from_secs(5))
            .run()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`/bin/sh -c echo told; echo why >&2; exit 7` ended with status 7\n    told\n    why"
        );
    }

    #[test]
    fn a_child_is_stopped_at_its_limit() {
        let output = shell("exec sleep 60", Duration::from_millis(50))
            .output()
            .unwrap();
        assert!(output.status.is_none());
        assert!(!output.succeeded());
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_open_delays_nobody() {
        let output = shell("echo early; sleep 30 & exit 0", Duration::from_secs(20))
            .run()
            .unwrap();
        assert_eq!(output.stdout, "early\n");
    }

    #[test]
    fn a_secret_is_in_no_output_and_in_no_error() {
        let error = shell("echo pass=s3cret; exit 1", Duration::from_secs(5))
            .secret(Some("s3cret"))
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pass=****") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn the_environment_of_the_caller_does_not_reach_a_child() {
        let output = shell("echo ${CARGO_MANIFEST_DIR-none}", Duration::from_secs(5))
            .run()
            .unwrap();
        assert_eq!(output.stdout, "none\n");
    }
}
