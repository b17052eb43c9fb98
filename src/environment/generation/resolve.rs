//! Which versions the administrator's packages have.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::layout::LOCK;
use crate::environment::requirement::{self, Versions};
use crate::environment::wanted::Wanted;
use crate::system::command::Command;
use crate::system::failure::{self, Failure, Kind};
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
        command = command.args([OsStr::new("--constraints"), constraints.as_os_str()]);
    }
    command.args(&wanted.requirements).run()?;
    finish(&lock, wanted)
}

/// Gives each entry that a shipped lock has too the hashes that were shipped: they were checked,
/// those of a package index were not. Adds where else the requirement files say to look. Returns
/// the entries that no shipped lock has.
fn finish(lock: &Path, wanted: &Wanted) -> Result<Versions> {
    let read = |path: &Path| {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut text = String::new();
    for path in &wanted.requirements {
        for (option, place) in requirement::options(&read(path)?, &PLACES) {
            text.push_str(&format!("{option} {place}\n"));
        }
    }
    let mut shipped = Vec::new();
    for path in &wanted.locks {
        shipped.extend(requirement::pins(&read(path)?));
    }
    let shipped = requirement::versions(&shipped);
    let mut packages = Versions::new();
    let resolved = read(lock)?;
    for pin in requirement::pins(&resolved) {
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
    // A file or a folder has no name in front.
    let nameless = resolved.lines().filter(|line| {
        !line.is_empty() && !line.starts_with(['#', ' ']) && requirement::name(line).is_none()
    });
    nameless.for_each(|line| text.push_str(&format!("{line}\n")));
    file::write(lock, text.as_bytes(), 0o600)?;
    Ok(packages)
}

/// The packages of the lock at `path`, and whether uv can check a hash for everything in it: an
/// address has none.
pub fn read(path: &Path) -> Result<(Versions, bool)> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let pins = requirement::pins(&text);
    let entries = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ' ', '-']));
    let hashed = pins.iter().filter(|pin| !pin.hashes.is_empty()).count();
    let all = hashed == entries.count();
    let versions = pins.into_iter().map(|pin| (pin.name, pin.version));
    Ok((versions.collect(), all))
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
                let wish = requirement::shown(text);
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

/// Says of a package of the administrator's that no source has what can be done about it.
pub fn explain_lack(error: anyhow::Error, wanted: &Wanted) -> anyhow::Error {
    let Some(failure) = failure::find(&error) else {
        return error;
    };
    let Some((_, reasons)) = failure.message.split_once("No solution found") else {
        return error;
    };
    let own = wanted.requirements.iter().any(|path| {
        let text = fs::read(path).unwrap_or_default();
        requirement::in_file(&String::from_utf8_lossy(&text))
            .any(|(_, _, name)| mentions(reasons, &name))
    });
    match own && failure.kind == Kind::Source {
        true => Failure::error(
            Kind::Source,
            failure.message.clone(),
            "put its wheel into a folder that wheels = [...] names below [index] in \
             /etc/covalent/covalentctl.toml, or let a package index be asked there, \
             then: covalentctl apply",
        ),
        false => error,
    }
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
