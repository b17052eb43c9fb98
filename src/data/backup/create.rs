//! Making backups, and keeping the newest.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::archive::{MANIFEST, compression_of, member_of};
use super::pinned::Pinned;
use super::snapshot::save;
use super::staging::Staging;
use super::{COPY_LIMIT, Manifest, VERSION, version};
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::account::Account;
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// How the name of an archive ends that is not complete.
const PARTIAL: &str = ".partial";

/// Makes a backup at `target`, or in the folder of backups, of which the newest `keep` stay.
/// Returns where it is.
pub fn create(
    host: &Host,
    target: Option<&Path>,
    keep: usize,
    progress: &Progress,
) -> Result<PathBuf> {
    let places = Places::read(host)?;
    let active = Generation::usable(host)?;
    if matches!(&places.database, Database::File(file) if !file.exists()) {
        return Err(Failure::error(
            Kind::Database,
            "there is no database yet, so there is nothing to back up",
            "systemctl start covalent makes one",
        ));
    }
    let staging = Staging::new(host)?;
    remove_partial(host)?;
    let made = Timestamp::now();
    let copy = staging.path.join(member_of(&places.database));
    let (revision, _) = progress.step("copying the database", || {
        save(host, &active, &places.database, &copy)
    })?;
    let account = Account::service(host)?;
    let pinned = Pinned::all(host, &places, account.as_ref())?;
    let settings = Some(host.member(&host.etc())).filter(|_| host.etc().exists());
    let manifest = Manifest {
        version: VERSION,
        made,
        covalent: version(&active),
        database_revision: revision,
        database: match &places.database {
            Database::File(file) => Some(host.absolute(file)),
            Database::Server(_) => None,
        },
        data: host.absolute(&places.data),
        members: pinned
            .iter()
            .map(|part| part.member.clone())
            .chain(settings.clone())
            .collect(),
    };
    let text = serde_json::to_vec_pretty(&manifest).context("writing the backup's manifest")?;
    file::write(&staging.path.join(MANIFEST), &text, 0o600)?;

    let target = match target {
        Some(target) => target.to_path_buf(),
        None => {
            file::make_folder(&host.backups(), 0o700)?;
            let end = if Path::new("/usr/bin/zstd").exists() {
                "tar.zst"
            } else {
                "tar.gz"
            };
            let name = format!("covalent-{}.{end}", stamp(made));
            host.backups().join(name)
        }
    };
    let partial = file::with_end(&target, PARTIAL);
    let archive = Command::new("tar", COPY_LIMIT)
        .args([
            "--create",
            compression_of(&target),
            "--acls",
            "--xattrs",
            "--file=-",
        ])
        .args(pinned.iter().map(Pinned::transform))
        .args(["--directory".as_ref(), staging.path.as_os_str()])
        .args([MANIFEST, member_of(&places.database)])
        .args(["--directory".as_ref(), host.path("/").as_os_str()])
        .args(settings)
        .args(pinned.iter().flat_map(Pinned::arguments));
    let what = "archiving the database, the data and the settings";
    let written = progress.step(what, || write(archive, &partial, &target));
    if let Err(error) = written {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    prune(host, keep, &target)?;
    Ok(target)
}

/// Has tar write the archive, and puts it in its place once it is complete. The folder may be another
/// user's: so the file is a new one, which nobody has linked or can read, and is not opened twice.
fn write(archive: Command, partial: &Path, target: &Path) -> Result<()> {
    let action = || format!("writing {}", target.display());
    file::remove(partial)?;
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(partial)
        .with_context(action)?;
    // 1: a file was replaced meanwhile (tar(1)).
    archive.run_into(file.try_clone().with_context(action)?, |code| code <= 1)?;
    file.sync_all()
        .and_then(|()| fs::rename(partial, target))
        .with_context(action)
}

/// The newest backup in the folder of backups, as far as the caller may look.
pub fn newest(host: &Host) -> Option<PathBuf> {
    all(host).pop()
}

/// The backups in their folder, the newest last: their names begin with the time.
fn all(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.backups()).into_iter().flatten().flatten();
    let is_backup = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("covalent-") && (name.ends_with(".tar.zst") || name.ends_with(".tar.gz"))
    };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(is_backup)
        .collect();
    found.sort();
    found
}

/// Removes what a backup that was killed has left; only one is made at a time.
fn remove_partial(host: &Host) -> Result<()> {
    for entry in fs::read_dir(host.backups()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("covalent-") && name.ends_with(PARTIAL) {
            let path = entry.path();
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Keeps that many, and the one that was just made whatever the others are called: the clock may be
/// behind.
fn prune(host: &Host, keep: usize, made: &Path) -> Result<()> {
    let mut others = all(host);
    let count = others.len();
    others.retain(|path| path != made);
    let is_one_of_them = others.len() < count;
    let keep = keep.saturating_sub(usize::from(is_one_of_them));
    for old in &others[..others.len().saturating_sub(keep)] {
        fs::remove_file(old).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(())
}

fn stamp(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y%m%dT%H%M%SZ")
}
