//! What a worker knows of the fleet that it is in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::token::Token;
use crate::certificates::{Certificate, Key};
use crate::service::environment_file::EnvironmentFile;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::turn::Turn;

/// The variables of the unit: what it is told of its server.
const SERVER_VARIABLE: &str = "COVALENT_SERVER";
const NAME_VARIABLE: &str = "COVALENT_WORKER_NAME";

/// The unit starts only where it is there.
const CERTIFICATE: &str = "worker.crt";

const KEY: &str = "worker.key";
const AUTHORITY: &str = "ca.crt";

/// A worker's place in a fleet, as its files have it.
#[derive(Debug)]
pub struct Membership {
    /// This machine's name there.
    pub name: String,
    /// The server that it was told.
    pub server: String,
    /// Who has signed the certificates.
    pub authority: Certificate,
    /// This machine's.
    pub certificate: Certificate,
    /// Whether its key is there and is its own.
    pub has_key: bool,
}

/// Whether this machine was joined to a server. Anybody can see that.
pub fn is_joined(host: &Host) -> bool {
    host.fleet().join(CERTIFICATE).exists()
}

/// What the files say; nothing where this machine was joined to no server.
pub fn read(host: &Host) -> Result<Option<Membership>> {
    let path = |name| host.fleet().join(name);
    if !is_joined(host) {
        return Ok(None);
    }
    let variables = EnvironmentFile::of_membership(host);
    let value = |name: &str| {
        let found = variables.iter().find(|variable| variable.name == name);
        found.map_or_else(String::new, |variable| variable.value.clone())
    };
    let certificate = certificate(&path(CERTIFICATE))?;
    let key = fs::read_to_string(path(KEY)).ok();
    let key = key.and_then(|text| Key::from_pem(&text).ok());
    Ok(Some(Membership {
        name: value(NAME_VARIABLE),
        server: value(SERVER_VARIABLE),
        authority: self::certificate(&path(AUTHORITY))?,
        has_key: key.is_some_and(|key| certificate.belongs_to(&key)),
        certificate,
    }))
}

fn certificate(path: &Path) -> Result<Certificate> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    Certificate::from_pem(&text).map_err(|why| {
        Failure::error(
            Kind::Settings,
            format!("{}: {why:#}", path.display()),
            "on the server: sudo covalentctl worker add NAME; here: sudo covalentctl join",
        )
    })
}

/// Makes this machine what the token says. It takes any list of this server's packages at first:
/// another server's are no older or newer than these, and a clock may have been put right.
pub fn join(host: &Host, token: &Token, _turn: &Turn) -> Result<()> {
    let folder = host.fleet();
    file::make_folder(&folder, 0o755)?;
    // While it is not there, this machine is joined to no server: nobody sees parts of two.
    file::remove(&folder.join(CERTIFICATE))?;
    file::remove(&host.server_lock_made())?;
    let variables = format!(
        "# By covalentctl join.\n{SERVER_VARIABLE}={}\n{NAME_VARIABLE}={}\n",
        token.server, token.name
    );
    for (path, text, mode) in [
        (folder.join(AUTHORITY), token.authority.pem(), 0o644),
        (folder.join(KEY), token.identity.key.pem(), 0o600),
        (host.membership(), variables, 0o644),
    ] {
        file::write(&path, text.as_bytes(), mode)?;
    }
    let certificate = token.identity.certificate.pem();
    file::write(&folder.join(CERTIFICATE), certificate.as_bytes(), 0o644)
}

/// Forgets the server, with its packages and this machine's identity there.
pub fn leave(host: &Host, _turn: &Turn) -> Result<()> {
    let names = [CERTIFICATE, KEY, AUTHORITY];
    let mut paths: Vec<PathBuf> = names.iter().map(|name| host.fleet().join(name)).collect();
    paths.extend([
        host.membership(),
        host.server_lock(),
        host.server_lock_made(),
    ]);
    paths
        .iter()
        .try_for_each(|path| file::remove(path).map(drop))
}
