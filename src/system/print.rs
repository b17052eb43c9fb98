//! What is printed: answers on standard output, words about the work on standard error.
//!
//! Others have a say in most of it: a workflow's name, a server's last words. So no control character
//! of theirs gets through.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::{Error, Result};

use super::terminal::{one_line, painted, printable};

/// An answer that could not be written.
#[derive(Debug)]
struct Unwritten(io::Error);

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "writing to standard output: {}", self.0)
    }
}

impl std::error::Error for Unwritten {}

/// Prints an answer; all of it has been written when this returns.
pub fn answer(text: impl fmt::Display) -> Result<()> {
    written(|| {
        let mut output = io::stdout().lock();
        let text = painted(&text.to_string());
        output.write_all(text.as_bytes())?;
        output.flush()
    })
}

/// Runs what prints by itself; that it can't is an error like any other answer's.
pub fn written(print: impl FnOnce() -> io::Result<()>) -> Result<()> {
    print().map_err(|error| Error::new(Unwritten(error)))
}

/// Prints words on standard error. Where they reach nobody, the work goes on all the same.
pub fn words(text: impl fmt::Display) {
    raw(&printable(&text.to_string()));
}

/// Writes over the line of the terminal that standard error is.
pub fn over_the_line(text: &str) {
    raw(&format!("\r\x1b[K{}", one_line(text)));
}

fn raw(text: &str) {
    let mut output = io::stderr().lock();
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}

/// Whether an answer has lost its reader, as in `covalentctl status | head -1`.
pub fn has_lost_its_reader(error: &Error) -> bool {
    let unwritten = error.downcast_ref::<Unwritten>();
    unwritten.is_some_and(|Unwritten(error)| error.kind() == ErrorKind::BrokenPipe)
}
