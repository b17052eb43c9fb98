//! Publishes packages in an apt and a dnf repository. For scripts/publish.

mod apt;
mod arguments;
mod check;
mod dnf;
mod front;
mod index;
mod keyring;
mod keys;
mod package;
mod page;
mod publication;
mod publish;
mod tool;
mod version;

use std::process::ExitCode;

use clap::Parser;
use covalentctl::failure;

fn main() -> ExitCode {
    match arguments::Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("publish: {}", failure::describe(&error));
            ExitCode::FAILURE
        }
    }
}
