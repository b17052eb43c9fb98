//! The files of /etc/covalent out of an archive.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::extract;
use super::arrival::Arrival;
use super::staging::Staging;
use crate::service::environment_file::EnvironmentFile;
use crate::system::account::Account;
use crate::system::file;
use crate::system::host::Host;

/// What is left of a file's mode: an archive must not bring a program that runs as root.
const MODE: u32 = 0o644;

/// The account of HAProxy, whose group reads its files. No other group gets any: by its number, that may be
/// another one on this machine.
const PROXY: &str = "covalent-https";

/// The settings of a backup, unpacked where only root can read them.
pub(super) struct Configuration {
    /// A tree with nothing but them in it.
    tree: Host,
}

impl Configuration {
    pub(super) fn unpack(host: &Host, archive: &Path, staging: &Staging) -> Result<Configuration> {
        let folder = staging.path.join("settings");
        file::make_folder(&folder, 0o700)?;
        extract(archive, &[&host.member(&host.etc())], &folder, 0, None)?;
        Ok(Configuration {
            tree: Host::at(folder),
        })
    }

    /// The `covalent.env` that counts once they are in their places.
    pub(super) fn environment_file(&self, host: &Host) -> Result<EnvironmentFile> {
        if self.tree.environment_file().exists() {
            EnvironmentFile::read(&self.tree)
        } else {
            EnvironmentFile::read(host)
        }
    }

    /// The files that are missing, or not as they were, with those of the fleet and of https: keys have to
    /// stay closed to others, and open to the group that reads them.
    pub(super) fn arrive<'a>(&self, host: &Host) -> Result<Vec<Arrival<'a>>> {
        let proxy = Account::named(host, PROXY)?.map(|account| account.gid);
        let mut arrivals = Vec::new();
        for file in files(self.tree.etc())? {
            let action = || format!("reading {}", file.display());
            let content = fs::read(&file).with_context(action)?;
            let metadata = file.metadata().with_context(action)?;
            let target = host.path(self.tree.absolute(&file));
            // Made and dropped where nothing changes: that removes what one that was killed left.
            let mode = metadata.mode() & MODE;
            let group = proxy.filter(|group| metadata.gid() == *group);
            let arrival = Arrival::of_root(&target, &content, mode, group)?;
            if !fs::read(&target).is_ok_and(|there| there == content) {
                arrivals.push(arrival);
            }
        }
        Ok(arrivals)
    }
}

/// The files in a folder and below it. No link is followed: it would lead to what is there now.
fn files(folder: PathBuf) -> Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![folder], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let action = || format!("reading {}", folder.display());
            let entry = entry.with_context(action)?;
            let kind = entry.file_type().with_context(action)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}
