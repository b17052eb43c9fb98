//! Builds, verifies and activates the Python environment of the Covalent workflow server.
//!
//! `covalentctl` is what the maintainer scripts of the packages, the unit and an administrator
//! call. Everything that can change the environment ends in [`environment::apply::apply`].

// What the modules offer one another is documented too; clippy.toml leaves out the rest.
#![deny(clippy::missing_docs_in_private_items)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod adoption;
mod certificates;
pub mod cli;
mod data;
mod doctor;
mod environment;
mod fleet;
mod https;
mod rollback;
mod service;
mod settings;
pub mod system;
mod unprivileged;

pub use environment::requirement::pins;

/// The files of settings as they are shipped, with the tables that check them: for their manual
/// pages.
pub mod settings_files {
    pub use crate::service::environment_file::{FILES as VARIABLES, Form, Value};
    pub use crate::settings::{Rule, SETTINGS, SHIPPED as COVALENTCTL_TOML};
}
