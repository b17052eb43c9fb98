//! What is printed: answers on standard output, words about the work on standard error.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::{Error, Result};

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
        write!(output, "{text}").and_then(|()| output.flush())
    })
}

/// The same for what prints itself.
pub fn written(print: impl FnOnce() -> io::Result<()>) -> Result<()> {
    print().map_err(|error| Error::new(Unwritten(error)))
}

/// Prints words on standard error. Where they reach nobody, the work goes on all the same.
pub fn words(text: impl fmt::Display) {
    let mut output = io::stderr().lock();
    let _ = write!(output, "{text}").and_then(|()| output.flush());
}

/// Whether an answer has lost its reader, as in `covalentctl status | head -1`.
pub fn has_lost_its_reader(error: &Error) -> bool {
    let unwritten = error.downcast_ref::<Unwritten>();
    unwritten.is_some_and(|Unwritten(error)| error.kind() == ErrorKind::BrokenPipe)
}
