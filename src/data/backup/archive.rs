//! The archive: what is in it, and how it is read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{COPY_LIMIT, Manifest, VERSION};
use crate::data::places::Database;
use crate::system::account::Account;
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::unprivileged::Child;

/// The start of an archive.
const MANIFEST_LIMIT: Duration = Duration::from_secs(600);

/// What to type where an archive is not one.
const NAMES_THE_NEWEST: &str = "covalentctl status names the newest backup";

/// The members that are not named by their paths.
pub(super) const MANIFEST: &str = "backup.json";
pub(super) const DATABASE_FILE: &str = "database.sqlite";
pub(super) const DATABASE_DUMP: &str = "database.pgdump";

/// The name of the copy of the database.
pub(super) fn member_of(database: &Database) -> &'static str {
    match database {
        Database::File(_) => DATABASE_FILE,
        Database::Server(_) => DATABASE_DUMP,
    }
}

/// Unpacks `members` into `folder`, without the first `above` parts of their paths.
pub(super) fn extract(
    archive: &Path,
    members: &[&Path],
    folder: &Path,
    above: usize,
    account: Option<(&Host, &Account)>,
) -> Result<()> {
    let file = open(archive)?;
    let above = format!("--strip-components={above}");
    let words = [
        "--extract",
        compression_of(archive),
        "--acls",
        "--xattrs",
        &above,
    ];
    let words = words
        .into_iter()
        .chain(["--file=-", "--directory"])
        .map(OsStr::new);
    let words = words.chain([folder.as_os_str()]);
    let words: Vec<&OsStr> = words
        .chain(members.iter().map(|path| path.as_os_str()))
        .collect();
    match account {
        Some((host, account)) => Child::new(host, "tar", COPY_LIMIT)
            .account(account)
            .writing(folder)
            .args(words)
            .input(Vec::new(), Some(file))
            .run(),
        None => Command::new("tar", COPY_LIMIT)
            .args(words)
            .input(Vec::new(), Some(file))
            .run(),
    }
    .map(drop)
    .with_context(|| format!("unpacking {}", archive.display()))
}

/// Whoever made the archive has written it, so it is read as the account.
pub(super) fn read_manifest(host: &Host, archive: &Path) -> Result<Manifest> {
    let output = Child::new(host, "tar", MANIFEST_LIMIT)
        .input(Vec::new(), Some(open(archive)?))
        .args([
            "--extract",
            compression_of(archive),
            "--file=-",
            "--to-stdout",
        ])
        .args(["--occurrence=1", MANIFEST])
        .output()?;
    let found: Option<Manifest> = serde_json::from_str(&output.stdout).ok();
    found
        .filter(|manifest| manifest.version == VERSION)
        .ok_or_else(|| {
            Failure::error(
                Kind::Unknown,
                format!(
                    "{} is not a backup that this covalentctl has made: {}",
                    archive.display(),
                    match output.stderr.trim() {
                        "" => "its backup.json is of another version",
                        said => said,
                    }
                ),
                NAMES_THE_NEWEST,
            )
        })
}

/// How it is compressed: tar can't tell from its standard input.
pub(super) fn compression_of(archive: &Path) -> &'static str {
    if archive.extension().is_some_and(|end| end == "gz") {
        "--gzip"
    } else {
        "--zstd"
    }
}

fn open(archive: &Path) -> Result<File> {
    File::open(archive).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::error(
            Kind::Unknown,
            format!("there is no backup at {}", archive.display()),
            NAMES_THE_NEWEST,
        ),
        _ => anyhow::Error::new(error).context(format!("opening {}", archive.display())),
    })
}
