//! What reaches a terminal or a log, and what comes from one.

use std::io::{self, IsTerminal, Read, Write};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What somebody else has said, a task's name or an index's answer: it must not steer the terminal.
pub fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "?")
}

/// The code of a colour (ECMA-48, SGR).
#[derive(Clone, Copy, Debug)]
pub struct Colour(pub u8);

impl Colour {
    /// How the text is shown in it.
    pub fn of(self, text: &str) -> String {
        format!("\x1b[{}m{text}\x1b[0m", self.0)
    }
}

/// [`printable`] but for colours.
pub fn painted(text: &str) -> String {
    let mut rest = text.split('\x1b');
    let mut shown = printable(rest.next().unwrap_or_default());
    for part in rest {
        let end = part.strip_prefix('[').and_then(|code| code.split_once('m'));
        match end {
            Some((code, text)) if code.parse::<u8>().is_ok() => {
                shown.push_str(&format!("\x1b[{code}m{}", printable(text)));
            }
            _ => shown.push_str(&format!("?{}", printable(part))),
        }
    }
    shown
}

/// The same as a part of a line: nothing in it can look like another line.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Whether the process has a terminal, whether or not its streams lead there.
pub fn is_at_one() -> bool {
    // tty(4)
    std::fs::File::open("/dev/tty").is_ok()
        || io::stdout().is_terminal()
        || io::stderr().is_terminal()
}

/// Whether somebody types and sees what is said.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Signals that ask the process to end: while this lives, they are noticed and do nothing else.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on.
    pub fn noticed() -> Result<Signals> {
        let flag = Arc::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&flag), number)
                .context("catching signals")?;
        }
        Ok(Signals(flag))
    }

    /// The one that came, once.
    pub fn heed(&self) -> Option<Signal> {
        let number = i32::try_from(self.0.swap(0, Ordering::Relaxed)).ok()?;
        Signal::from_named_raw(number)
    }
}

/// Sends a signal on to a child.
pub fn pass_on(signal: Signal, child: &Child) {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(process) = process {
        // One that has ended needs none.
        let _ = kill_process(process, signal);
    }
}

/// One of this process's own streams.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Copies a pipe to a stream until its end. A terminal gets no control character.
pub fn relay(mut pipe: impl Read + Send + 'static, stream: Stream) -> JoinHandle<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_shown() {
        let hostile = "a\u{1b}]0;x\u{7}b\u{9b}31mc\rd\u{7f}";
        assert_eq!(
            printable(&format!("{hostile}\ne\tf")),
            "a?]0;x?b?31mc?d?\ne\tf"
        );
        assert_eq!(one_line("a\nb"), "a?b");
        let text = Colour(31).of("bad") + "\x1b]0;x\x07\x1b[2J\x1b";
        assert_eq!(painted(&text), "\x1b[31mbad\x1b[0m?]0;x??[2J?");
    }
}
