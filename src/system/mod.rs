//! The machine, and what everything else is done with: files, child processes, errors.

pub(crate) mod account;
pub mod command;
pub(crate) mod connection;
pub(crate) mod digest;
pub mod failpoint;
pub mod failure;
pub mod file;
pub(crate) mod host;
pub(crate) mod login;
pub(crate) mod mount;
pub mod print;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod reach;
pub(crate) mod role;
pub(crate) mod sandbox;
pub(crate) mod signals;
pub(crate) mod space;
pub(crate) mod systemd;
pub(crate) mod terminal;
pub(crate) mod thread;
pub(crate) mod turn;
pub(crate) mod unit_exit;
