//! A root with the packages of `dist` installed: where tests begin that do not test installing.
//!
//! `target/roots/SUITE-installed` is what an installation on a booted machine has written, as a layer
//! above the base root; `SUITE-installed.recipe` says what it was made from. The first test
//! that wants it makes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::run;
use crate::packages::{DIST, Family, boot, in_project, let_in, wait_for_answer};
use crate::root::Root;

/// To read the packages, a hundred megabytes.
const READING_LIMIT: Duration = Duration::from_secs(60);

/// What each machine has of its own and gets anew when it boots.
const OF_A_MACHINE: [&str; 3] = [
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "var/log/journal",
];

/// The root of a suite with the packages of `dist` installed, made if need be.
pub(crate) fn installed(suite: &str) -> Result<Root> {
    let base = Root::of(suite)?;
    let layer = in_project("target/roots").canonicalize()?;
    let layer = layer.join(format!("{suite}-installed"));
    let recipe = recipe(suite, &base)?;
    let is_current =
        || fs::read_to_string(layer.with_extension("recipe")).is_ok_and(|text| text == recipe);
    // Held by each machine on it, so that it is not replaced under them.
    let lock = File::create(layer.with_extension("lock"))?;
    lock.lock_shared()?;
    while !is_current() {
        lock.unlock()?;
        lock.lock()?;
        if !is_current() {
            make(suite, &layer).with_context(|| format!("cannot make {}", layer.display()))?;
            fs::write(layer.with_extension("recipe"), &recipe)?;
        }
        lock.unlock()?;
        lock.lock_shared()?;
    }
    Ok(base.under(&layer, lock))
}

/// The base root's recipe, and the checksums of the packages.
fn recipe(suite: &str, base: &Root) -> Result<String> {
    let mut read = Command::new("sh");
    read
        // Each machine asks: what notices a change is enough, and a seventh of the time of a SHA-256.
        .args([
            "-ec",
            "cd \"$1\"; cksum covalent*; echo \"$2\"; [ ! -e \"$3\" ] || cat \"$3\"",
        ])
        .arg("sh")
        .arg(in_project("dist"))
        .arg(&base.path)
        .arg(in_project(&format!("target/roots/{suite}.recipe")));
    run(&mut read, READING_LIMIT)?.into_stdout("cannot read what an installed root is made from")
}

/// Installs the packages on a machine, and keeps what it has written.
fn make(suite: &str, layer: &Path) -> Result<()> {
    let _ = fs::remove_file(layer.with_extension("recipe"));
    if layer.exists() {
        fs::remove_dir_all(layer)?;
    }
    let machine = boot(suite)?;
    let family = Family::of(suite);
    family.install(&machine, DIST)?;
    if family == Family::Rpm {
        machine.ok("systemctl enable --now covalent")?;
    }
    wait_for_answer(&machine, 48008)?;
    let_in(&machine, "alice")?;
    machine.power_off_into(layer)?;
    // Empty, as in the base root.
    fs::write(layer.join("etc/machine-id"), "")?;
    for path in OF_A_MACHINE.map(|path| layer.join(path)) {
        remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn remove(path: &PathBuf) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
