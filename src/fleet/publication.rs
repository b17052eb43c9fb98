//! What the launcher needs of the fleet's files, where the account can read it and no task can
//! change it: /run/covalent-fleet, root's. The launcher notices by itself what becomes of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::name::WorkerName;
use super::roster;
use crate::environment::server_lock;
use crate::system::account::Account;
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;
use crate::system::turn::Turn;

const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// The folder with a file for each worker that is let in, which holds the fingerprint of the one
/// certificate that is good.
const WORKERS: &str = "workers";

/// The folder with a file for each worker that is to get no new tasks.
const DRAINING: &str = "draining";

/// The packages that workers have from their server.
const LOCK: &str = "server.lock";

/// What a worker's launcher shows and checks, under the names that the files have.
const OF_A_WORKER: [&str; 3] = ["ca.crt", "worker.key", "worker.crt"];

/// The same of the server. Its list comes after it: with the first name on it, the server listens.
const OF_THE_SERVER: [&str; 3] = ["ca.crt", "server.key", "server.crt"];

/// Publishes what there is, and takes back what there is no more.
pub fn publish(host: &Host, turn: &Turn, progress: &Progress) -> Result<()> {
    let shelf = Shelf::of(host)?;
    match Role::of(host) {
        Role::Worker => shelf.copy(host, &OF_A_WORKER),
        Role::Server => {
            let Some(authority) = roster::authority(host)? else {
                return Ok(());
            };
            roster::renew_server(host, &authority, turn)?;
            shelf.copy(host, &OF_THE_SERVER)?;
            let before = fs::read_to_string(shelf.folder.join(LOCK)).ok();
            let lock = server_lock::compose(host, &authority, before.as_deref(), progress)?;
            shelf.put(LOCK, lock.as_bytes())?;
            let members = roster::members(host)?;
            let wanted = members.iter().map(|member| {
                let fingerprint = member.certificate.fingerprint();
                (member.name.to_string(), fingerprint)
            });
            let wanted: BTreeMap<String, String> = wanted.collect();
            shelf.keep(WORKERS, |name| wanted.contains_key(name))?;
            shelf.keep(DRAINING, |name| wanted.contains_key(name))?;
            wanted.iter().try_for_each(|(name, fingerprint)| {
                shelf.put(&format!("{WORKERS}/{name}"), fingerprint.as_bytes())
            })
        }
    }
}

/// Takes everything back, since this machine is in no fleet any more.
pub fn withdraw(host: &Host, _turn: &Turn) -> Result<()> {
    let folder = host.published_fleet();
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Has the server give a worker no new tasks, or has it give some again. Returns whether that is a
/// change.
pub fn set_draining(host: &Host, name: &WorkerName, draining: bool) -> Result<bool> {
    let mark = host.published_fleet().join(DRAINING).join(name.as_str());
    if draining {
        let is_new = !mark.exists();
        Shelf::of(host)?.put(&format!("{DRAINING}/{name}"), b"")?;
        return Ok(is_new);
    }
    file::remove(&mark)
}

/// The folder, and who may read it.
struct Shelf {
    folder: PathBuf,
    /// None in a tree that is not a machine.
    group: Option<u32>,
}

impl Shelf {
    fn of(host: &Host) -> Result<Shelf> {
        let group = Account::service(host)?.map(|account| account.gid);
        Ok(Shelf {
            folder: host.published_fleet(),
            group,
        })
    }

    /// Copies those that there are of the fleet's files.
    fn copy(&self, host: &Host, names: &[&str]) -> Result<()> {
        for name in names {
            let from = host.fleet().join(name);
            match fs::read(&from) {
                Ok(content) => self.put(name, &content)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {}", from.display()));
                }
            }
        }
        Ok(())
    }

    /// Writes a file, unless it is there as it should be: the launcher takes each for news.
    fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        self.make_folder(&self.folder)?;
        self.make_folder(path.parent().unwrap_or(&path))?;
        file::write_for(&path, content, FILE_MODE, self.group)
    }

    fn make_folder(&self, path: &Path) -> Result<()> {
        file::make_folder(path, FOLDER_MODE)?;
        if self.group.is_some() {
            std::os::unix::fs::chown(path, None, self.group)
                .with_context(|| format!("giving {} to its group", path.display()))?;
        }
        Ok(())
    }

    /// Removes those of a folder that are not wanted.
    fn keep(&self, folder: &str, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let folder = self.folder.join(folder);
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(());
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
            if !entry.file_name().to_str().is_some_and(&is_wanted) {
                file::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}
