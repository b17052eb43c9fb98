//! Generations: complete virtual environments that never change once they are ready.
//!
//! A folder with a manifest is ready; one without is what an interrupted build left.

mod blueprint;
mod build;
mod bytecode;
mod contents;
mod impact;
mod install;
mod integrity;
mod layout;
mod manifest;
mod prune;
mod resolve;
mod share;
mod trial;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result};

pub use self::blueprint::Blueprint;
pub use self::build::build;
pub use self::bytecode::{Modules, complete, is_incomplete};
pub use self::contents::{Changes, asked_for, changes};
pub use self::integrity::{Damage, damage};
pub use self::manifest::{Manifest, Seconds};
pub use self::prune::{is_untidy, prune, sweep};
pub use self::resolve::{Resolution, sentence};

use crate::system::command::Command;
use crate::system::failpoint;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;

/// Starting Python and nothing else.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A ready generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its folder, the real path of the environment.
    pub path: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

fn missing(message: String) -> Error {
    Failure::error(Kind::NoEnvironment, message, "sudo covalentctl apply")
}

impl Generation {
    /// The one that `/opt/virtualenvs/covalent` points to, if that is a generation.
    pub fn active(host: &Host) -> Option<Generation> {
        Generation::at(&active_folder(host)?)
    }

    /// The active one, or an error that says how to make one.
    pub fn required(host: &Host) -> Result<Generation> {
        Generation::active(host).ok_or_else(|| {
            let path = host.environment();
            missing(format!(
                "the environment {} has not been built",
                path.display()
            ))
        })
    }

    /// The active one; fails if there is none, or if its interpreter is gone.
    pub fn usable(host: &Host) -> Result<Generation> {
        let generation = Generation::required(host)?;
        if !generation.has_interpreter() {
            return Err(missing(format!(
                "{} was made for {}, which is gone",
                host.environment().display(),
                generation.manifest.interpreter.path.display()
            )));
        }
        Ok(generation)
    }

    /// The ready generation at `path`, if there is one.
    pub fn at(path: &Path) -> Option<Generation> {
        let manifest = Manifest::read(path)?;
        Some(Generation {
            path: path.to_path_buf(),
            manifest,
        })
    }

    /// The lock of the administrator's packages in it.
    pub fn own_lock(&self) -> PathBuf {
        self.path.join(layout::LOCK)
    }

    /// Its Python.
    pub fn python(&self) -> PathBuf {
        self.path.join("bin/python")
    }

    /// Whether the file of its interpreter is still there. Costs a system call.
    pub fn has_interpreter(&self) -> bool {
        self.python().exists()
    }

    /// Whether its Python still starts and is of the minor version it was made for.
    pub fn runs(&self) -> bool {
        let [major, minor, _] = self.manifest.interpreter.version;
        let check =
            format!("import sys, encodings; assert sys.version_info[:2] == ({major}, {minor})");
        Command::new(self.python(), START_LIMIT)
            .args(["-I", "-S", "-B", "-c", &check])
            .output()
            .is_ok_and(|output| output.succeeded())
    }

    /// Every ready one, the newest first.
    pub fn all(host: &Host) -> Result<Vec<Generation>> {
        let mut all: Vec<Generation> = entries(&host.generations())?
            .iter()
            .filter_map(|path| Generation::at(path))
            .collect();
        // Their names start with the time when they were made.
        all.sort_by(|a, b| b.path.cmp(&a.path));
        Ok(all)
    }

    /// Makes it the active one. Returns where a folder that stood at the link's place went.
    pub fn activate(&self, host: &Host) -> Result<Option<PathBuf>> {
        let link = host.environment();
        let target = Path::new(".covalent").join(&self.manifest.id);
        let aside = link.with_file_name(format!("covalent.before-{}", self.manifest.id));
        file::replace_with_link(&link, &target, &aside)?;
        failpoint::pass("activated");
        Ok(aside.exists().then_some(aside))
    }
}

/// What `/opt/virtualenvs/covalent` points to.
fn active_folder(host: &Host) -> Option<PathBuf> {
    let target = fs::read_link(host.environment()).ok()?;
    Some(host.environment().parent()?.join(target))
}

/// Everything in a folder; nothing if there is no such folder.
fn entries(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", parent.display())),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading {}", parent.display()))
}
