//! The packages on booted machines: real package managers, real systemd, real workflows.
//!
//! `scripts/test` builds what these tests install: `dist` holds the packages, `target/upgrade`
//! the same with a higher revision.

mod access;
mod adversary;
mod before;
mod busy;
mod configuration;
mod distribution;
mod fleet;
mod groups;
mod handmade;
mod https;
mod image;
mod install;
mod launcher;
mod matrix;
mod needrestart;
mod network;
mod own_packages;
mod piuparts;
mod plugins;
mod postgresql;
mod removal;
mod repository;
mod restarts;
mod secrets;
mod service;
mod settings;
mod sources;
mod stranger;
mod surroundings;
mod trouble;
mod ui;
mod watchdog;
mod worker;
