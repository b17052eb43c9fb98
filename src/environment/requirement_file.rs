//! The files that say what is wanted: locks and requirement files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::requirement;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::role::Role;

/// The files that say what is wanted.
#[derive(Clone, Debug)]
pub struct Files {
    /// The locks that packages have shipped: Covalent's own, then those of plugins; and on a worker
    /// the one of its server. What they name is installed as it stands there.
    pub locks: Vec<PathBuf>,
    /// The requirement files beside the locks, in the order in which they are read.
    pub requirements: Vec<PathBuf>,
    /// Whether nothing may be built from its source, since what to install is another machine's
    /// choice: a build runs as root.
    pub wheels_only: bool,
}

impl Files {
    /// Finds them.
    pub fn find(host: &Host) -> Result<Files> {
        let mut locks = vec![host.shipped_lock()];
        let mut requirements = Vec::new();
        for folder in host.requirement_folders() {
            locks.extend(files(&folder, "lock")?);
            requirements.extend(files(&folder, "txt")?);
        }
        let servers = Some(host.server_lock()).filter(|_| Role::of(host) == Role::Worker);
        let servers = servers.filter(|lock| lock.exists());
        let wheels_only = servers.is_some();
        locks.extend(servers);
        Ok(Files {
            locks,
            requirements,
            wheels_only,
        })
    }
}

/// A lock or a requirement file, read.
#[derive(Clone, Debug)]
pub struct RequirementFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its text; what is not UTF-8 in it is replaced.
    pub text: String,
}

impl RequirementFile {
    /// Reads it.
    pub fn read(path: &Path) -> Result<RequirementFile> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::error(
                Kind::Source,
                format!("{} is missing", path.display()),
                "install the package again: apt-get install --reinstall covalent-common, \
                 or dnf reinstall covalent-common",
            ),
            _ => anyhow::Error::new(error).context(format!("reading {}", path.display())),
        })?;
        Ok(RequirementFile {
            path: path.into(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}

/// A requirement in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The package's normalized name.
    pub name: String,
    /// The requirement, without an address.
    pub text: String,
    /// The file.
    pub path: PathBuf,
    /// Its line there, counted from 1.
    pub line: usize,
}

/// Every requirement that starts with a name, in the order in which the files are read.
pub fn named(files: &[PathBuf]) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    for path in files {
        let file = RequirementFile::read(path)?;
        all.extend(
            requirement::in_file(&file.text).map(|(line, text, name)| Named {
                name,
                text: requirement::shown(text).to_string(),
                path: path.clone(),
                line,
            }),
        );
    }
    Ok(all)
}

/// The files of a folder with this extension, sorted; none if there is no such folder.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", folder.display()));
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        // An editor's own files start with a dot.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
