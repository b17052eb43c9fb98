//! What the authority of a fleet signs: one certificate for the server, and one for each worker.

use anyhow::Result;

use super::name::{SERVER, WorkerName};
use crate::certificates::{Authority, Identity, Leaf, Name, Purpose};

/// Twenty years: it can't be replaced without every worker's joining again.
const AUTHORITY_DAYS: u32 = 7300;

/// Ten years. A certificate is revoked by taking its name off the list, not by its end.
const DAYS: u32 = 3650;

/// A new authority for the fleet of this server.
pub fn create(server: &str) -> Result<Authority> {
    // The longest that fits into a common name.
    let server: String = server.chars().take(40).collect();
    Authority::create(&format!("Covalent fleet of {server}"), AUTHORITY_DAYS, None)
}

/// The server's identity.
pub fn server(authority: &Authority) -> Result<Identity> {
    issue(authority, SERVER)
}

/// A worker's identity.
pub fn worker(authority: &Authority, name: &WorkerName) -> Result<Identity> {
    issue(authority, name.as_str())
}

/// Each is a server and a client to the other: the server connects to its workers, too.
fn issue(authority: &Authority, name: &str) -> Result<Identity> {
    authority.issue(&Leaf {
        common_name: name,
        names: &[Name::Dns(name.into())],
        purposes: &[Purpose::Server, Purpose::Client],
        days: DAYS,
    })
}
