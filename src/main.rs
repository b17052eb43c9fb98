//! The command: parses its arguments, runs the verb, prints an error once.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;
use covalentctl::cli::Arguments;
use covalentctl::system::{failure, print};
use signal_hook::{consts::SIGPIPE, low_level::emulate_default_handler};

fn main() -> ExitCode {
    let result = match Arguments::try_parse() {
        Ok(arguments) => arguments.run(),
        Err(error) if error.use_stderr() => {
            let _ = error.print();
            return ExitCode::from(2);
        }
        // The help, or the version.
        Err(text) => print::written(|| text.print()).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        if print::has_lost_its_reader(&error) {
            // As quietly as any program whose reader has had enough.
            let _ = emulate_default_handler(SIGPIPE);
        }
        print::words(failure::render(&error));
        failure::exit_code(&error)
    })
}
