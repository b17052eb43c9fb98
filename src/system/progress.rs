//! What long work says of itself: one line a step, on standard error.
//!
//! A log gets plain lines. A terminal gets the running step's seconds as well.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::system::print;

/// How often the seconds on a terminal are renewed.
const TICK: Duration = Duration::from_millis(500);

/// Where the lines go.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// Lines, and the seconds where standard error is a terminal.
    pub fn interactive() -> Progress {
        Progress {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Nothing but lines: apt gives its children a terminal also when its own output is a log.
    pub fn plain() -> Progress {
        Progress { terminal: false }
    }

    /// Says one thing.
    pub fn say(&self, text: &str) {
        print::words(format_args!("covalentctl: {text}\n"));
    }

    /// Says one thing that is wrong, though nothing fails.
    pub fn warn(&self, text: &str) {
        print::words(format_args!("covalentctl: warning: {text}\n"));
    }

    /// Does `work`, says what it is and how long it took, and returns both.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        let start = Instant::now();
        let result = if self.terminal {
            let (done, wait) = mpsc::channel::<()>();
            thread::scope(|scope| {
                scope.spawn(move || tick(what, start, &wait));
                let result = work();
                drop(done);
                result
            })
        } else {
            work()
        };
        let taken = start.elapsed();
        match result {
            Ok(value) => {
                self.say(&format!("{what}: {:.1} s", taken.as_secs_f64()));
                Ok((value, taken))
            }
            Err(error) => Err(error),
        }
    }
}

/// Shows the seconds until the other end of `done` is gone, then clears the line.
fn tick(what: &str, start: Instant, done: &mpsc::Receiver<()>) {
    while done.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let seconds = start.elapsed().as_secs();
        print::over_the_line(&format!("covalentctl: {what} … {seconds} s"));
    }
    print::over_the_line("");
}
