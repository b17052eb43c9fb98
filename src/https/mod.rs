//! The package covalent-https: its settings, its users, its certificate, and the proxy that they are for.
//!
//! HAProxy reads what is written here; it runs as an account of its own, which can read its files and
//! change none.

pub(crate) mod certificate;
mod names;
mod password;
pub(crate) mod proxy;
pub(crate) mod settings;
pub(crate) mod users;

pub(crate) use self::password::Password;

use anyhow::Result;

use crate::system::account::Account;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;

/// The account that HAProxy runs as; the package makes it.
const ACCOUNT: &str = "covalent-https";

/// For root to change and for HAProxy to read: certificates' keys, and passwords' hashes.
const MODE: u32 = 0o640;

/// Whether the package is installed.
pub(crate) fn is_installed(host: &Host) -> bool {
    host.https_configuration().exists()
}

/// Fails where the package is not installed.
pub(crate) fn require_installed(host: &Host) -> Result<()> {
    if is_installed(host) {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Settings,
        "the package covalent-https is not installed",
        "sudo apt install covalent-https, or: sudo dnf install covalent-https",
    ))
}

/// Writes a file of /etc/covalent/https that HAProxy can read and nobody else.
fn write(host: &Host, name: &str, text: &str) -> Result<()> {
    let account = Account::named(host, ACCOUNT)?;
    file::make_folder(&host.https(), 0o755)?;
    let group = account.map(|account| account.gid);
    file::write_for(&host.https().join(name), text.as_bytes(), MODE, group)
}
