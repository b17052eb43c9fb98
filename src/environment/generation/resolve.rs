//! Which versions the administrator's packages have.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::layout::LOCK;
use crate::environment::requirement::{self, Pin, Versions};
use crate::environment::requirement_file::RequirementFile;
use crate::environment::wanted::Wanted;
use crate::system::command::Command;
use crate::system::file;

/// The options that say where else to look for packages.
const PLACES: [&str; 6] = [
    "--find-links",
    "-f",
    "--index-url",
    "-i",
    "--extra-index-url",
    "--trusted-host",
];

/// Whether versions that were resolved before stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// As far as what is wanted allows.
    Keep,
    /// The newest that is allowed.
    Upgrade,
}

/// What the requirement files were resolved to.
#[derive(Default)]
pub struct Resolved {
    /// The versions of the packages that no shipped lock has.
    pub own: Versions,
    /// The names of all of them.
    pub names: BTreeSet<String>,
    /// Whether uv can check a hash for everything: an address has none.
    pub hashed: bool,
}

/// Resolves the requirement files into a lock of the environment at `path`.
///
/// `before` is the same lock of the generation whose versions stay; `compile` is the call of
/// `uv pip compile` for the source that is tried.
pub fn resolve(
    path: &Path,
    wanted: &Wanted,
    before: Option<&Path>,
    compile: Command,
) -> Result<Resolved> {
    let lock = path.join(LOCK);
    // uv prefers the versions that it finds in the file that it is to write.
    let known = match before.filter(|before| before.exists()) {
        Some(before) => {
            fs::read(before).with_context(|| format!("reading {}", before.display()))?
        }
        None => Vec::new(),
    };
    // An address in it may hold a password.
    file::write(&lock, &known, 0o600)?;
    let mut command = compile
        .args(["--no-header", "--no-annotate", "--generate-hashes"])
        .args(["--output-file".as_ref(), lock.as_os_str()]);
    for constraints in &wanted.locks {
        command = command.args([OsStr::new("--constraints"), constraints.path.as_os_str()]);
    }
    let requirements = wanted.requirements.iter().map(|file| &file.path);
    command.args(requirements).run()?;
    finish(&lock, wanted)
}

/// Gives each entry that a shipped lock has too the hashes that were shipped: they were checked,
/// those of a package index were not. Adds where else the requirement files say to look.
fn finish(lock: &Path, wanted: &Wanted) -> Result<Resolved> {
    let mut text = String::new();
    for file in &wanted.requirements {
        for (option, place) in requirement::options(&file.text, &PLACES) {
            text.push_str(&format!("{option} {place}\n"));
        }
    }
    let shipped = wanted
        .locks
        .iter()
        .flat_map(|lock| requirement::pins(&lock.text));
    let shipped: Vec<Pin> = shipped.collect();
    let shipped = requirement::versions(&shipped);
    let mut resolved = Resolved {
        hashed: true,
        ..Resolved::default()
    };
    let written = RequirementFile::read(lock)?.text;
    for pin in requirement::pins(&written) {
        let same = shipped
            .get(pin.name.as_str())
            .and_then(|pins| pins.iter().find(|other| other.version == pin.version));
        let entry = same.copied().unwrap_or(&pin);
        text.push_str(&entry.text());
        resolved.hashed &= !entry.hashes.is_empty();
        resolved.names.insert(pin.name.clone());
        if same.is_none() {
            resolved.own.insert(pin.name, pin.version);
        }
    }
    // A file or a folder has no name in front.
    let nameless = written.lines().filter(|line| {
        !line.is_empty() && !line.starts_with(['#', ' ']) && requirement::name(line).is_none()
    });
    for line in nameless {
        text.push_str(&format!("{line}\n"));
        // An option is not a package.
        resolved.hashed &= line.starts_with('-');
    }
    file::write(lock, text.as_bytes(), 0o600)?;
    Ok(resolved)
}

/// `numpy 2.4.6, six 1.17.0`.
pub fn sentence(packages: &Versions) -> String {
    let words: Vec<String> = packages
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    words.join(", ")
}
