//! The server's list of workers, and the authority that has signed their certificates.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::name::WorkerName;
use super::place::Place;
use super::token::Token;
use super::{RENEWAL, authority};
use crate::certificates::{Authority, Certificate, Key};
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::turn::Turn;

/// Who is in the fleet is no secret.
const FOLDER_MODE: u32 = 0o755;

/// A key is root's alone.
const KEY_MODE: u32 = 0o600;

/// A certificate is shown to whoever connects.
const CERTIFICATE_MODE: u32 = 0o644;

/// A worker on the list.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: WorkerName,
    /// Its certificate: no other one of that name is accepted.
    pub certificate: Certificate,
}

/// What became of the list.
#[derive(Debug)]
pub struct Added {
    /// The worker's identity, of which nothing but the certificate stays here.
    pub token: Token,
    /// Whether the name was on the list. Its previous identity is then no longer accepted.
    pub renewed: bool,
    /// Whether the list was empty: the server begins to listen for the fleet.
    pub first: bool,
}

/// Puts a worker on the list, with a new identity.
pub fn add(host: &Host, name: &WorkerName, server: &Place, turn: &Turn) -> Result<Added> {
    let folder = host.fleet();
    file::make_folder(&folder, FOLDER_MODE)?;
    let authority = match authority(host)? {
        Some(authority) => authority,
        None => create(&folder, &server.to_string())?,
    };
    renew_server(host, &authority, turn)?;
    let first = members(host)?.is_empty();
    let identity = authority::worker(&authority, name)?;
    let path = entry(host, name);
    let renewed = path.exists();
    file::make_folder(path.parent().unwrap_or(&path), FOLDER_MODE)?;
    write(&path, &identity.certificate.pem(), CERTIFICATE_MODE)?;
    Ok(Added {
        token: Token {
            name: name.clone(),
            server: server.clone(),
            authority: authority.certificate().clone(),
            identity,
        },
        renewed,
        first,
    })
}

/// Takes a worker off the list. Fails if it is not on it.
pub fn remove(host: &Host, name: &WorkerName, _turn: &Turn) -> Result<()> {
    require(host, name)?;
    file::remove(&entry(host, name)).map(drop)
}

/// Fails if the worker is not on the list.
pub fn require(host: &Host, name: &WorkerName) -> Result<()> {
    if entry(host, name).exists() {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Unknown,
        format!("there is no worker {name}"),
        "sudo covalentctl worker list names them",
    ))
}

/// The workers on the list, by their names.
pub fn members(host: &Host) -> Result<Vec<Member>> {
    let folder = list(host);
    let action = || format!("reading {}", folder.display());
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(action)?,
    };
    let mut members = Vec::new();
    for entry in entries {
        let path = entry.with_context(action)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".crt")?.parse().ok());
        // Skip anything not named after a worker, such as a file that was still being written.
        if let Some(name) = name {
            let certificate = read(&path, Certificate::from_pem)?;
            members.push(Member { name, certificate });
        }
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

/// The authority, once there is one.
pub fn authority(host: &Host) -> Result<Option<Authority>> {
    let [certificate, key] = ["ca.crt", "ca.key"].map(|name| host.fleet().join(name));
    if !certificate.exists() {
        // A key alone is what a run left that was cut off: nothing was signed with it.
        return Ok(None);
    }
    let found = read(&certificate, Certificate::from_pem)?;
    let key = read(&key, Key::from_pem)?;
    let authority = Authority::new(found, key);
    let authority = authority.map_err(|error| broken(&certificate, &error))?;
    Ok(Some(authority))
}

/// The server's own certificate, once there is one.
pub fn server(host: &Host) -> Result<Option<Certificate>> {
    let path = host.fleet().join("server.crt");
    if !path.exists() {
        return Ok(None);
    }
    read(&path, Certificate::from_pem).map(Some)
}

/// Gives the server a new certificate if it has none that is good for long. Its name stays, so no
/// worker notices.
pub fn renew_server(host: &Host, authority: &Authority, _turn: &Turn) -> Result<()> {
    let [certificate, key] = ["server.crt", "server.key"].map(|name| host.fleet().join(name));
    let is_good = || -> Result<bool> {
        let found = read(&certificate, Certificate::from_pem)?;
        let fits = found.belongs_to(&read(&key, Key::from_pem)?);
        let checked = found.check(authority.certificate(), Timestamp::now() + RENEWAL);
        Ok(fits && checked.is_ok())
    };
    if is_good().unwrap_or(false) {
        return Ok(());
    }
    let made = authority::server(authority)?;
    write(&key, &made.key.pem(), KEY_MODE)?;
    write(&certificate, &made.certificate.pem(), CERTIFICATE_MODE)
}

fn create(folder: &Path, server: &str) -> Result<Authority> {
    let authority = authority::create(server)?;
    write(&folder.join("ca.key"), &authority.key().pem(), KEY_MODE)?;
    let certificate = authority.certificate().pem();
    write(&folder.join("ca.crt"), &certificate, CERTIFICATE_MODE)?;
    Ok(authority)
}

fn list(host: &Host) -> PathBuf {
    host.fleet().join("workers")
}

fn entry(host: &Host, name: &WorkerName) -> PathBuf {
    list(host).join(format!("{name}.crt"))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    file::write(path, text.as_bytes(), mode)
}

fn read<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, why: &anyhow::Error) -> anyhow::Error {
    Failure::error(
        Kind::Settings,
        format!("{}: {why:#}", path.display()),
        "bring it back from a backup of /etc/covalent/fleet; or begin anew, so that every worker has \
         to join again: sudo rm -r /etc/covalent/fleet",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use crate::system::progress::Progress;

    struct Server {
        _tree: tempfile::TempDir,
        host: Host,
        turn: Turn,
    }

    impl Server {
        fn new() -> Server {
            let tree = tempfile::tempdir().unwrap();
            let host = Host::at(tree.path());
            let turn = Turn::acquire(&host, &Progress::plain()).unwrap();
            Server {
                _tree: tree,
                host,
                turn,
            }
        }

        fn add(&self, name: &str) -> Added {
            let server = "server.example.org".parse().unwrap();
            add(&self.host, &name.parse().unwrap(), &server, &self.turn).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let members = members(&self.host).unwrap();
            members
                .iter()
                .map(|member| member.name.to_string())
                .collect()
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.host.fleet().join(name)).unwrap()
        }
    }

    #[test]
    fn a_worker_is_added_renewed_and_removed() {
        let server = Server::new();
        let first = server.add("w2");
        assert!(first.first && !first.renewed);
        let second = server.add("gpu1");
        assert!(!second.first && !second.renewed);
        assert_eq!(server.names(), ["gpu1", "w2"]);
        let renewed = server.add("w2");
        assert!(renewed.renewed);
        let [before, after] =
            [&first, &renewed].map(|added| added.token.identity.certificate.fingerprint());
        assert_ne!(before, after);
        let members = members(&server.host).unwrap();
        assert_eq!(members[1].certificate.fingerprint(), after);
        // The authority stays, and no key of a worker's.
        assert_eq!(first.token.authority.der(), renewed.token.authority.der());
        let mut files: Vec<_> = fs::read_dir(server.host.fleet())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(
            files,
            ["ca.crt", "ca.key", "server.crt", "server.key", "workers"]
        );

        let name = "w2".parse().unwrap();
        remove(&server.host, &name, &server.turn).unwrap();
        assert_eq!(server.names(), ["gpu1"]);
        let error = remove(&server.host, &name, &server.turn).unwrap_err();
        assert!(error.to_string().contains("no worker w2"), "{error}");
    }

    #[test]
    fn keys_are_for_root_alone() {
        let server = Server::new();
        server.add("w1");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        for name in ["ca.key", "server.key"] {
            assert_eq!(mode(&server.host.fleet().join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn the_servers_certificate_is_made_anew_where_it_is_not_good() {
        let server = Server::new();
        server.add("w1");
        let certificate = server.text("server.crt");
        server.add("w2");
        assert_eq!(server.text("server.crt"), certificate);
        fs::write(
            server.host.fleet().join("server.key"),
            server.text("ca.key"),
        )
        .unwrap();
        server.add("w3");
        assert_ne!(server.text("server.crt"), certificate);
        let own = super::server(&server.host).unwrap().unwrap();
        assert_eq!(own.common_name, "server");
        let authority = authority(&server.host).unwrap().unwrap();
        own.check(authority.certificate(), Timestamp::now())
            .unwrap();
    }

    #[test]
    fn an_authority_that_is_damaged_is_not_replaced() {
        let server = Server::new();
        server.add("w1");
        fs::write(
            server.host.fleet().join("ca.key"),
            server.text("server.key"),
        )
        .unwrap();
        let error = authority(&server.host).unwrap_err();
        assert!(
            error.to_string().contains("do not belong together"),
            "{error}"
        );
        fs::remove_file(server.host.fleet().join("ca.key")).unwrap();
        authority(&server.host).unwrap_err();
    }
}
