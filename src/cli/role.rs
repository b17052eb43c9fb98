//! Verbs that are of use on one side of a fleet only.

use anyhow::Result;

use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::role::Role;

/// Fails on a worker, for this reason.
pub(super) fn require_server(host: &Host, why: &str) -> Result<()> {
    match Role::of(host) {
        Role::Server => Ok(()),
        Role::Worker => Err(Failure::error(
            Kind::Settings,
            format!("this machine is a worker (package covalent-worker), and {why}"),
            "type it on the server, whose name covalentctl status shows",
        )),
    }
}

/// Fails on a server.
pub(super) fn require_worker(host: &Host) -> Result<()> {
    match Role::of(host) {
        Role::Worker => Ok(()),
        Role::Server => Err(Failure::error(
            Kind::Settings,
            "this machine is no worker: the package covalent-worker is not installed",
            "on the machine that is to compute for a server: sudo apt install covalent-worker, or \
             sudo dnf install covalent-worker",
        )),
    }
}
