//! Which versions the administrator's packages have.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::installed::Versions;
use crate::command::Command;
use crate::failure::{self, Failure, Kind};
use crate::file;
use crate::requirement;
use crate::wanted::Wanted;

/// The resolved versions of a generation, beside its packages: a lock as those that are shipped.
pub const LOCK: &str = "own.lock";

/// Whether versions that were resolved before stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// As far as what is wanted allows.
    Keep,
    /// The newest that is allowed.
    Upgrade,
}

/// Resolves the requirement files into a lock of the environment at `path`, and returns the
/// packages that no shipped lock has.
///
/// `before` is the same lock of the generation whose versions stay; `compile` is the call of
/// `uv pip compile` for the source that is tried.
pub fn resolve(
    path: &Path,
    wanted: &Wanted,
    before: Option<&Path>,
    compile: Command,
) -> Result<Versions> {
    let lock = path.join(LOCK);
    if wanted.requirements.is_empty() {
        return Ok(Versions::new());
    }
    // uv prefers the versions that it finds in the file that it is to write.
    let known = match before.filter(|before| before.exists()) {
        Some(before) => {
            fs::read(before).with_context(|| format!("reading {}", before.display()))?
        }
        None => Vec::new(),
    };
    file::write(&lock, &known, 0o644)?;
    let mut command = compile
        .args(["--no-header", "--no-annotate", "--generate-hashes"])
        .args(["--output-file".as_ref(), lock.as_os_str()]);
    for constraints in &wanted.locks {
        command = command.args([OsStr::new("--constraints"), constraints.as_os_str()]);
    }
    command.args(&wanted.requirements).run()?;
    finish(&lock, wanted)
}

/// Gives each entry that a shipped lock has too the hashes that were shipped: they were checked,
/// those of a package index were not. Returns the entries that no shipped lock has.
fn finish(lock: &Path, wanted: &Wanted) -> Result<Versions> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let mut shipped = Vec::new();
    for path in &wanted.locks {
        shipped.extend(requirement::pins(&read(path)?));
    }
    let shipped = requirement::versions(&shipped);
    let mut packages = Versions::new();
    let mut text = String::new();
    for pin in requirement::pins(&read(&lock.to_path_buf())?) {
        let same = shipped
            .get(pin.name.as_str())
            .and_then(|pins| pins.iter().find(|other| other.version == pin.version));
        match same {
            Some(shipped) => text.push_str(&shipped.text()),
            None => {
                text.push_str(&pin.text());
                packages.insert(pin.name, pin.version);
            }
        }
    }
    file::write(lock, text.as_bytes(), 0o644)?;
    Ok(packages)
}

/// Whether uv can check a hash for every entry of the lock at `path`; an address has none.
pub fn is_hashed(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    requirement::pins(&text)
        .iter()
        .all(|pin| !pin.hashes.is_empty())
}

/// Adds to a contradiction between requirements who wants what.
pub fn explain(error: anyhow::Error, wanted: &Wanted) -> anyhow::Error {
    let Some(failure) = failure::find(&error).filter(|failure| failure.kind == Kind::Settings)
    else {
        return error;
    };
    // uv's own words, not the command line before them.
    let Some((_, reasons)) = failure.message.split_once("No solution found") else {
        return error;
    };
    let mut parties = Vec::new();
    for path in wanted.requirements.iter().chain(&wanted.locks) {
        let text = fs::read_to_string(path).unwrap_or_default();
        let entries = text.replace(" \\\n", "\n");
        for (line, text, name) in requirement::in_file(&entries) {
            if mentions(reasons, &name) {
                // An address may hold a password.
                let wish = text.split(" @ ").next().unwrap_or_default();
                parties.push(format!("{}:{line} wants {wish}", path.display()));
            }
        }
    }
    if parties.is_empty() {
        return error;
    }
    Failure::error(
        Kind::Settings,
        format!("{}\n  {}", failure.message, parties.join("\n  ")),
        failure.next.clone(),
    )
}

/// Whether uv's words are about this package.
fn mentions(words: &str, name: &str) -> bool {
    words
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .any(|word| requirement::normalize(word) == name)
}

/// `numpy 2.4.6, six 1.17.0`.
pub fn sentence(packages: &Versions) -> String {
    let words: Vec<String> = packages
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    words.join(", ")
}
