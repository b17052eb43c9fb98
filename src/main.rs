//! The command: parses its arguments, runs the verb, prints an error once.

use std::process::ExitCode;

use clap::Parser;
use covalentctl::cli::Arguments;
use covalentctl::system::failure;

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", failure::render(&error));
            failure::exit_code(&error)
        }
    }
}
