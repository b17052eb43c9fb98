//! The files of /etc/covalent out of an archive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::extract;
use super::arrival::Arrival;
use super::staging::Staging;
use crate::service::environment_file::EnvironmentFile;
use crate::system::file;
use crate::system::host::Host;

/// For root, and for whoever root gives them to.
const MODE: u32 = 0o640;

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

    /// The files that are missing, or not as they were.
    pub(super) fn arrive<'a>(&self, host: &Host) -> Result<Vec<Arrival<'a>>> {
        let mut arrivals = Vec::new();
        for part in ["", "requirements.d"] {
            for file in files(&self.tree.etc().join(part))? {
                let content =
                    fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
                let target = host.path(self.tree.absolute(&file));
                // Made and dropped where nothing changes: that removes what one that was killed left.
                let arrival = Arrival::of_root(&target, &content, MODE)?;
                if !fs::read(&target).is_ok_and(|there| there == content) {
                    arrivals.push(arrival);
                }
            }
        }
        Ok(arrivals)
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let action = || format!("reading {}", folder.display());
        let entry = entry.with_context(action)?;
        if entry.file_type().with_context(action)?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
