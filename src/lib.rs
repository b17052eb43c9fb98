//! Builds, verifies and activates the Python environment of the Covalent workflow server.
//!
//! `covalentctl` is what the maintainer scripts of the packages, the unit and an administrator
//! call. Everything that can change the environment ends in [`apply::apply`].

pub mod account;
pub mod api;
pub mod apply;
pub mod backup;
pub mod cli;
pub mod command;
pub mod database;
pub mod doctor;
pub mod drain;
pub mod environment_file;
pub mod failpoint;
pub mod failure;
pub mod file;
pub mod generation;
pub mod host;
pub mod interpreter;
pub mod local;
pub mod places;
pub mod progress;
pub mod requirement;
pub mod rollback;
pub mod server;
pub mod settings;
pub mod source;
pub mod space;
pub mod start;
pub mod state;
pub mod systemd;
pub mod wanted;
