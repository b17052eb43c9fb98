//! Child processes: one way to run them.
//!
//! Quiet on success; on failure the error holds the command line, the exit status and the whole
//! output. Every run has a time limit.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};

use super::reach::require_roots_own;
use super::terminal;

/// How often a child is asked whether it has ended: short beside what any of them takes.
const POLL: Duration = Duration::from_millis(5);

/// How long after a child's end its output may still come.
const GRACE: Duration = Duration::from_secs(1);

/// The same where it goes to a disk.
const GRACE_OF_FILE: Duration = Duration::from_secs(60);

/// Bytes of a child's output that are kept; a lock with all of its hashes has a tenth.
const KEPT: usize = 16 << 20;

/// A child process to be.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    limit: Duration,
    secrets: Vec<String>,
    input: Option<(Vec<u8>, Option<File>)>,
}

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
    line: String,
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

impl Command {
    /// A child with an empty environment but for `PATH` and the locale, in the folder `/`: nothing
    /// that lies where the caller is has an effect.
    pub fn new(program: impl AsRef<OsStr>, limit: Duration) -> Command {
        Command::bare(program, limit).current_dir("/".as_ref())
    }

    /// The same with the caller's own environment and folder, for a program that takes the
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

    /// Runs it to its end; an unsuccessful end is a [`CommandFailed`].
    pub fn run(self) -> Result<Output> {
        let line = self.line();
        self.output()?.successful(line)
    }

    /// Like [`run`](Self::run), but `is_success` decides which exit statuses are a success.
    pub fn run_accepting(self, is_success: impl Fn(i32) -> bool) -> Result<Output> {
        let line = self.line();
        let output = self.output()?;
        let code = output.status.and_then(|status| status.code());
        if code.is_some_and(is_success) {
            Ok(output)
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

    /// The same with all of its standard output in a file.
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

    /// Runs it to its end with the caller's own terminal, which it relays.
    pub fn at_terminal(mut self) -> Result<ExitStatus> {
        let line = self.line();
        self.inner
            .stdin(Stdio::inherit())
            .status()
            .with_context(|| format!("starting `{line}`"))
    }

    /// Runs it to its end with pipes that lead to where the caller's own three streams do. `end` is
    /// called where a signal ends the caller before.
    pub fn relayed(mut self, end: impl FnOnce()) -> Result<ExitStatus> {
        let signals = terminal::Signals::noticed()?;
        self.inner.stdin(Stdio::piped());
        let mut child = self.start()?;
        if let Some(mut pipe) = child.stdin.take() {
            // Its end is the end of the child, not of what the caller could still type.
            thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut pipe));
        }
        let relays = [
            child
                .stdout
                .take()
                .map(|pipe| terminal::relay(pipe, terminal::Stream::Output)),
            child
                .stderr
                .take()
                .map(|pipe| terminal::relay(pipe, terminal::Stream::Error)),
        ];
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if let Some(signal) = signals.heed() {
                terminal::pass_on(signal, &child);
                end();
                break child.wait()?;
            }
            thread::sleep(POLL);
        };
        for relay in relays.into_iter().flatten() {
            let _ = relay.join();
        }
        Ok(status)
    }

    fn start(&mut self) -> Result<Child> {
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

/// What a child has written to a pipe so far, read in a thread so that it never waits for us.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    fn new<R: Read + Send + 'static>(pipe: Option<R>) -> Reader {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut chunk = [0; 8192];
            let Some(mut pipe) = pipe else { return };
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                if let Ok(mut bytes) = sink.lock() {
                    let room = KEPT - bytes.len();
                    bytes.extend_from_slice(&chunk[..count.min(room)]);
                }
            }
        });
        Reader { bytes, thread }
    }

    /// The text, once the pipe is closed or [`GRACE`] is over: a grandchild may hold it open.
    fn text(self) -> String {
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < GRACE {
            thread::sleep(POLL);
        }
        let bytes = self.bytes.lock().map(|bytes| bytes.clone());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
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
