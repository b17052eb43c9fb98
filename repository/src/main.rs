//! Publishes packages in an apt and a dnf repository. For scripts/publish.

mod apt;
mod arguments;
mod check;
mod checksums;
mod dnf;
mod front;
mod index;
mod key;
mod keyring;
mod keys;
mod latest;
mod options;
mod package;
mod page;
mod placement;
mod publication;
mod publish;
mod signature;
mod tool;
mod tree;
mod version;

use std::process::ExitCode;

use clap::Parser;
use covalentctl::system::failure;
use rustix::fs::Mode;
use rustix::process::umask;

fn main() -> ExitCode {
    // What is published is for everybody, and dpkg-deb insists.
    umask(Mode::from_raw_mode(0o022));
    match arguments::Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("publish: {}", failure::describe(&error));
            ExitCode::FAILURE
        }
    }
}
