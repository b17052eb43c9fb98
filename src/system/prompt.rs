//! What a person types, or pastes, that nobody else is to see.

use std::io::{self, BufRead, IsTerminal, Read};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use signal_hook::low_level::emulate_default_handler;

use super::print;
use super::signals::Signals;

/// How long a signal waits at most to be noticed.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// A line of standard input that is a secret: at a terminal it is asked for with `prompt`, and not
/// shown. Empty at the end of the input. What is longer than `limit` bytes is cut off.
pub fn secret_line(prompt: &str, limit: u64) -> Result<String> {
    let input = io::stdin();
    let _hidden = if input.is_terminal() {
        Some(Hidden::at(prompt)?)
    } else {
        None
    };
    let mut line = String::new();
    let read = io::BufReader::new(input.lock().take(limit)).read_line(&mut line);
    read.context("reading standard input")?;
    Ok(line)
}

/// While this lives, the terminal does not show what is typed. Whatever ends the process leaves a
/// terminal that does.
struct Hidden(Termios);

impl Hidden {
    fn at(prompt: &str) -> Result<Hidden> {
        let action = "hiding what is typed";
        let signals = Signals::noticed()?;
        let before = termios::tcgetattr(io::stdin()).context(action)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).context(action)?;
        let hidden = Hidden(before);
        print::words(prompt);
        while !is_readable()? {
            if let Some(signal) = signals.heed() {
                drop(hidden);
                print::words("\n");
                // As it would have ended otherwise.
                let _ = emulate_default_handler(signal.as_raw());
                bail!("interrupted");
            }
        }
        Ok(hidden)
    }
}

/// Whether a line has come; asked often enough for a signal not to wait for long.
fn is_readable() -> Result<bool> {
    let input = io::stdin();
    let mut descriptors = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut descriptors, Some(&POLL)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error).context("waiting for standard input"),
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
