//! Running a child in the foreground, with the caller's own streams.

use std::io::{self, IsTerminal, Read, Write};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{Command, POLL};
use crate::system::signals::Signals;

impl Command {
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
        let signals = Signals::noticed()?;
        self.inner.stdin(Stdio::piped());
        let mut child = self.start()?;
        if let Some(mut pipe) = child.stdin.take() {
            // Its end is the end of the child, not of what the caller could still type.
            thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut pipe));
        }
        let relays = [
            child.stdout.take().map(|pipe| relay(pipe, Stream::Output)),
            child.stderr.take().map(|pipe| relay(pipe, Stream::Error)),
        ];
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if let Some(signal) = signals.heed() {
                pass_on(signal, &child);
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
}

/// Sends a signal on to a child.
fn pass_on(signal: Signal, child: &Child) {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(process) = process {
        // One that has ended needs none.
        let _ = kill_process(process, signal);
    }
}

/// One of this process's own streams.
#[derive(Clone, Copy, Debug)]
enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Copies a pipe to a stream until its end. A terminal gets no control character.
fn relay(mut pipe: impl Read + Send + 'static, stream: Stream) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            let bytes = &mut chunk[..count];
            let written = match stream {
                Stream::Output => pass(bytes, &mut io::stdout()),
                Stream::Error => pass(bytes, &mut io::stderr()),
            };
            // The child is told by its own pipe.
            if written.is_err() {
                return;
            }
        }
    })
}

fn pass(bytes: &mut [u8], to: &mut (impl Write + IsTerminal)) -> io::Result<()> {
    if to.is_terminal() {
        let control = |byte: &&mut u8| byte.is_ascii_control() && !b"\n\t\r".contains(byte);
        bytes
            .iter_mut()
            .filter(control)
            .for_each(|byte| *byte = b'?');
    }
    to.write_all(bytes)?;
    to.flush()
}
