//! Backups of all that the server keeps, and their return.
//!
//! A backup is an archive of tar(1): `backup.json`, a copy of the database that is consistent in
//! itself, and, by their paths, the files that the database refers to, `covalent.conf` and
//! /etc/covalent. The database is copied first: whatever it refers to is there then, and a file
//! that is replaced later belongs to a workflow that still ran.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::command::{Command, Output};
use crate::database::COMPANIONS;
use crate::failure::{Failure, Kind};
use crate::file;
use crate::generation::Generation;
use crate::host::Host;
use crate::places::{Database, Places};
use crate::progress::Progress;
use crate::server::DATABASE_VARIABLE;
use crate::state::Lock;
use crate::systemd;

/// The form of `backup.json`.
const VERSION: u32 = 1;

/// Terabytes, on a slow disk.
const COPY_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// A rename, or the start of an archive.
const SHORT_LIMIT: Duration = Duration::from_secs(600);

/// The account's group and root alone.
const SETTINGS_MODE: u32 = 0o640;

/// Members of the archive beside those that are named by their paths.
const MANIFEST: &str = "backup.json";
const DATABASE_FILE: &str = "database.sqlite";
const DATABASE_DUMP: &str = "database.pgdump";

/// `snapshot.py`'s exit code when PostgreSQL's programs are not installed.
const PROGRAMS_MISSING: i32 = 3;

/// What a backup says of itself.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    version: u32,
    made: Timestamp,
    /// The version of Covalent.
    covalent: String,
    /// The database's revision (Alembic).
    database_revision: String,
    /// The database's file; none for one on a server.
    database: Option<PathBuf>,
    data: PathBuf,
    /// What else is in the archive, by its path.
    members: Vec<PathBuf>,
}

/// Makes a backup at `target`, or in the folder of backups, of which the newest `keep` stay.
/// Returns where it is.
pub fn create(
    host: &Host,
    target: Option<&Path>,
    keep: usize,
    progress: &Progress,
) -> Result<PathBuf> {
    let places = Places::read(host)?;
    let active = active(host)?;
    if matches!(&places.database, Database::File(file) if !file.exists()) {
        return Err(Failure::error(
            Kind::Database,
            "there is no database yet, so there is nothing to back up",
            "systemctl start covalent makes one",
        ));
    }
    let staging = Staging::new(host)?;
    let made = Timestamp::now();
    let copy = staging.path.join(member_of(&places.database));
    let (revision, _) = progress.step("copying the database", || {
        snapshot(host, &active, &places.database, "save", &copy)
    })?;
    let manifest = Manifest {
        version: VERSION,
        made,
        covalent: version(&active),
        database_revision: revision.stdout.trim().into(),
        database: match &places.database {
            Database::File(file) => Some(host.absolute(file)),
            Database::Server(_) => None,
        },
        data: host.absolute(&places.data),
        members: [&places.data, &places.configuration, &host.etc()]
            .into_iter()
            .filter(|path| path.exists())
            .map(|path| host.member(path))
            .collect(),
    };
    let text = serde_json::to_vec_pretty(&manifest).context("writing the backup's manifest")?;
    file::write(&staging.path.join(MANIFEST), &text, 0o600)?;

    let target = match target {
        Some(target) => target.to_path_buf(),
        None => {
            file::make_folder(&host.backups(), 0o700)?;
            let end = match Path::new("/usr/bin/zstd").exists() {
                true => "tar.zst",
                false => "tar.gz",
            };
            let name = format!("covalent-{}.{end}", stamp(made));
            host.backups().join(name)
        }
    };
    let partial = file::with_end(&target, ".partial");
    let archive = Command::new("tar", COPY_LIMIT)
        .args([
            "--create",
            compression_of(&target),
            "--acls",
            "--xattrs",
            "--force-local",
            "--file",
        ])
        .args([&partial])
        .args(["--directory".as_ref(), staging.path.as_os_str()])
        .args([MANIFEST, member_of(&places.database)])
        .args(["--directory".as_ref(), host.path("/").as_os_str()])
        .args(&manifest.members);
    let written = progress
        .step("archiving the database, the data and the settings", || {
            // Whoever finds it half-written finds it closed.
            File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&partial)
                .with_context(|| format!("writing {}", partial.display()))?;
            // 1: a file was replaced meanwhile (tar(1)).
            archive.run_accepting(|code| code <= 1)
        })
        .and_then(|_| finish(&partial, &target));
    if let Err(error) = written {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    prune(host, keep)?;
    Ok(target)
}

/// Puts an archive that is complete in its place.
fn finish(partial: &Path, target: &Path) -> Result<()> {
    File::open(partial)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(partial, target))
        .with_context(|| format!("writing {}", target.display()))
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

fn prune(host: &Host, keep: usize) -> Result<()> {
    let all = all(host);
    for old in &all[..all.len().saturating_sub(keep)] {
        fs::remove_file(old).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(())
}

/// Brings back what a backup holds; what is there now stays beside it. The settings only if asked
/// for. Returns where everything is that was there before.
pub fn restore(
    host: &Host,
    archive: &Path,
    with_settings: bool,
    progress: &Progress,
) -> Result<Vec<PathBuf>> {
    let manifest = read_manifest(archive)?;
    let lock = Lock::acquire(host, progress)?;
    let active = active(host)?;
    check_version(&manifest, &active)?;
    let staging = Staging::new(host)?;
    let mut aside = Vec::new();
    // Two of one second would get in each other's way.
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ");
    let end = format!(".before-restore-{now}");
    if with_settings {
        aside.extend(restore_settings(host, archive, &staging, &end)?);
    }
    let places = Places::read(host)?;
    check_places(host, &manifest, &places)?;

    // All that takes long, and all that can fail for want of room, before the server stops.
    let account = Account::service(host)?;
    let mut arrivals = Vec::new();
    progress.step("unpacking the backup", || {
        let mut arrive = |member: &Path, target: &Path| {
            let arrival = Arrival::new(archive, member, target, account.as_ref())?;
            arrivals.push(arrival);
            anyhow::Ok(())
        };
        for target in [&places.data, &places.configuration] {
            let member = host.member(target);
            if manifest.members.contains(&member) {
                arrive(&member, target)?;
            }
        }
        if let Database::File(file) = &places.database {
            arrive(DATABASE_FILE.as_ref(), file)?;
        }
        if let Database::Server(_) = places.database {
            extract(archive, &[DATABASE_DUMP.as_ref()], &staging.path, 0, None)?;
        }
        Ok(())
    })?;

    let was_running = systemd::stop(host).context("stopping the server")?;
    let placed = place(host, &active, &places, &staging, arrivals, &end);
    drop((staging, lock));
    if was_running {
        // Also after a failure: what is there is complete, old or new.
        systemd::start().context("starting the server")?;
    }
    aside.extend(placed?);
    Ok(aside)
}

/// Puts everything in its place. The server does not run.
fn place(
    host: &Host,
    active: &Generation,
    places: &Places,
    staging: &Staging,
    arrivals: Vec<Arrival>,
    end: &str,
) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    if let Database::Server(_) = &places.database {
        // By a name that no backup has, so that it is not removed with old ones.
        let before = host.backups().join(format!("database{end}.pgdump"));
        file::make_folder(&host.backups(), 0o700)?;
        let copy = staging.path.join("before.pgdump");
        snapshot(host, active, &places.database, "save", &copy)?;
        fs::copy(&copy, &before).with_context(|| format!("writing {}", before.display()))?;
        aside.push(before);
        let dump = staging.path.join(DATABASE_DUMP);
        snapshot(host, active, &places.database, "load", &dump)?;
    }
    aside.extend(place_all(&arrivals, end)?);
    Ok(aside)
}

/// All of it, or nothing.
fn place_all(arrivals: &[Arrival], end: &str) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    for (number, arrival) in arrivals.iter().enumerate() {
        match arrival.place(end) {
            Ok(was_there) => aside.extend(was_there),
            Err(error) => {
                for placed in arrivals[..=number].iter().rev() {
                    placed.take_back(end)?;
                }
                return Err(error);
            }
        }
    }
    Ok(aside)
}

/// Something out of an archive, beside the place that it is for.
struct Arrival<'a> {
    /// Who may change the folder: never root where the account could put links in the way.
    owner: Option<&'a Account>,
    folder: PathBuf,
    arrived: PathBuf,
    target: PathBuf,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let _ = self.run(
            "rm",
            &["--recursive".as_ref(), "--force".as_ref(), &self.folder],
        );
    }
}

impl<'a> Arrival<'a> {
    fn new(
        archive: &Path,
        member: &Path,
        target: &Path,
        account: Option<&'a Account>,
    ) -> Result<Arrival<'a>> {
        let parent = target.parent().unwrap_or(target);
        let metadata =
            fs::metadata(parent).with_context(|| format!("looking at {}", parent.display()))?;
        let name = member.file_name().unwrap_or_default();
        let folder = file::with_end(target, ".restoring");
        let arrival = Arrival {
            owner: account.filter(|account| metadata.uid() == account.uid),
            arrived: folder.join(name),
            folder,
            target: target.into(),
        };
        arrival.run(
            "rm",
            &["--recursive".as_ref(), "--force".as_ref(), &arrival.folder],
        )?;
        arrival.run("mkdir", &["--mode=0700".as_ref(), &arrival.folder])?;
        let above = member.components().count() - 1;
        extract(archive, &[member], &arrival.folder, above, arrival.owner)?;
        ensure!(
            arrival.arrived.exists(),
            "{} is not in the backup",
            member.display()
        );
        Ok(arrival)
    }

    /// Puts it in its place, and aside what was there. Returns where that is.
    fn place(&self, end: &str) -> Result<Option<PathBuf>> {
        for companion in [""].iter().chain(&COMPANIONS) {
            let (there, aside) = self.beside(end, companion);
            if there.exists() {
                self.rename(&there, &aside)?;
            }
        }
        self.rename(&self.arrived, &self.target)?;
        let (_, aside) = self.beside(end, "");
        Ok(aside.exists().then_some(aside))
    }

    /// Makes it as it was, however far it came.
    fn take_back(&self, end: &str) -> Result<()> {
        if self.target.exists() && !self.arrived.exists() {
            self.rename(&self.target, &self.arrived)?;
        }
        for companion in [""].iter().chain(&COMPANIONS) {
            let (there, aside) = self.beside(end, companion);
            if aside.exists() {
                self.rename(&aside, &there)?;
            }
        }
        Ok(())
    }

    fn beside(&self, end: &str, companion: &str) -> (PathBuf, PathBuf) {
        let aside = file::with_end(&self.target, end);
        (
            file::with_end(&self.target, companion),
            file::with_end(&aside, companion),
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.run("mv", &["--no-target-directory".as_ref(), from, to])
            .map(drop)
    }

    fn run(&self, program: &str, arguments: &[&Path]) -> Result<Output> {
        let mut command = Command::new(program, SHORT_LIMIT).args(arguments);
        if let Some(owner) = self.owner {
            command = command.account(owner);
        }
        command.run()
    }
}

/// Brings back the files of /etc/covalent. Returns where those are that were there before.
fn restore_settings(
    host: &Host,
    archive: &Path,
    staging: &Staging,
    end: &str,
) -> Result<Vec<PathBuf>> {
    let member = host.member(&host.etc());
    let above = member.components().count();
    extract(archive, &[&member], &staging.path, above, None)?;
    let mut aside = Vec::new();
    for (from, to) in [
        (staging.path.clone(), host.etc()),
        (
            staging.path.join("requirements.d"),
            host.etc().join("requirements.d"),
        ),
    ] {
        for entry in fs::read_dir(&from).into_iter().flatten() {
            let entry = entry.with_context(|| format!("reading {}", from.display()))?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            let target = to.join(entry.file_name());
            let content = fs::read(entry.path())
                .with_context(|| format!("reading {}", entry.path().display()))?;
            if fs::read(&target).is_ok_and(|there| there == content) {
                continue;
            }
            if target.exists() {
                let old = file::with_end(&target, end);
                fs::rename(&target, &old)
                    .with_context(|| format!("moving {} aside", target.display()))?;
                aside.push(old);
            }
            file::make_folder(&to, 0o755)?;
            file::write(&target, &content, SETTINGS_MODE)?;
        }
    }
    staging.clear()?;
    Ok(aside)
}

/// A folder of root's that the account can open files in whose names it is told.
struct Staging {
    path: PathBuf,
    _lock: File,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next run.
        let _ = self.clear();
    }
}

impl Staging {
    fn new(host: &Host) -> Result<Staging> {
        let path = host.state().join("backup");
        file::make_folder(&path, 0o711)?;
        let action = || format!("locking {}", path.display());
        let lock = File::open(&path).with_context(action)?;
        if lock.try_lock().is_err() {
            return Err(Failure::error(
                Kind::Busy,
                "another covalentctl backup or restore is at work",
                "wait for it to end",
            ));
        }
        let staging = Staging { path, _lock: lock };
        staging.clear()?;
        Ok(staging)
    }

    fn clear(&self) -> Result<()> {
        let action = || format!("emptying {}", self.path.display());
        for entry in fs::read_dir(&self.path).with_context(action)? {
            let entry = entry.with_context(action)?;
            match entry.file_type().with_context(action)?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            }
            .with_context(action)?;
        }
        Ok(())
    }
}

/// Copies the database to `copy` ("save"), or the other way ("load").
fn snapshot(
    host: &Host,
    active: &Generation,
    database: &Database,
    verb: &str,
    copy: &Path,
) -> Result<Output> {
    let mut command = Command::new(&active.manifest.interpreter.path, COPY_LIMIT)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("snapshot.py")])
        .args([verb.as_ref(), copy.as_os_str()]);
    let mut account = Account::service(host)?;
    command = match database {
        Database::File(file) => command.env("COVALENT_DATABASE", file),
        Database::Server(address) => {
            if has_password(address) {
                // The account's processes could read it from /proc/PID/environ.
                account = None;
            }
            command
                .env(DATABASE_VARIABLE, address)
                .secret(Some(address))
        }
    };
    if verb == "save" {
        let action = || format!("writing {}", copy.display());
        let file = File::create_new(copy).with_context(action)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(action)?;
    }
    if let Some(account) = &account {
        chown(copy, Some(account.uid), Some(account.gid))
            .with_context(|| format!("handing {} over", copy.display()))?;
        command = command.account(account);
    }
    let output = command.output()?;
    if output.succeeded() {
        return Ok(output);
    }
    let missing = output.status.and_then(|status| status.code()) == Some(PROGRAMS_MISSING);
    let what = match verb {
        "save" => "copying the database",
        _ => "bringing the database back",
    };
    Err(Failure::error(
        Kind::Database,
        format!("{what}: {}", output.stderr.trim()),
        match missing {
            true => {
                "install PostgreSQL's client programs: apt install postgresql-client, or \
                     dnf install postgresql"
            }
            false => "covalentctl doctor looks at what may be wrong",
        },
    ))
}

fn has_password(address: &str) -> bool {
    let place = address.split_once("://").map_or("", |(_, rest)| rest);
    let place = place.split(['/', '?']).next().unwrap_or_default();
    let account = place.rsplit_once('@').map(|(account, _)| account);
    account.is_some_and(|account| account.contains(':')) || address.contains("password=")
}

/// Unpacks `members` into `folder`, without the first `above` parts of their paths.
fn extract(
    archive: &Path,
    members: &[&Path],
    folder: &Path,
    above: usize,
    account: Option<&Account>,
) -> Result<()> {
    let mut command = Command::new("tar", COPY_LIMIT)
        .stdin(open(archive)?)
        .args(["--extract", compression_of(archive), "--acls", "--xattrs"])
        .args([format!("--strip-components={above}")])
        .args(["--file=-", "--directory"])
        .args([folder])
        .args(members);
    if let Some(account) = account {
        command = command.account(account);
    }
    command
        .run()
        .map(drop)
        .with_context(|| format!("unpacking {}", archive.display()))
}

fn read_manifest(archive: &Path) -> Result<Manifest> {
    let output = Command::new("tar", SHORT_LIMIT)
        .stdin(open(archive)?)
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
                    "{} is no backup that this covalentctl has made: {}",
                    archive.display(),
                    match output.stderr.trim() {
                        "" => "its backup.json is of another version",
                        said => said,
                    }
                ),
                format!("ls -l {}", archive.parent().unwrap_or(archive).display()),
            )
        })
}

/// How it is compressed: tar can't tell from its standard input.
fn compression_of(archive: &Path) -> &'static str {
    match archive.extension().is_some_and(|end| end == "gz") {
        true => "--gzip",
        false => "--zstd",
    }
}

fn open(archive: &Path) -> Result<File> {
    File::open(archive).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::error(
            Kind::Unknown,
            format!("there is no {}", archive.display()),
            "covalentctl status names the newest backup",
        ),
        _ => anyhow::Error::new(error).context(format!("opening {}", archive.display())),
    })
}

/// A database can be brought forward, and never back.
fn check_version(manifest: &Manifest, active: &Generation) -> Result<()> {
    let same = active.manifest.database_revision.as_ref() == Some(&manifest.database_revision);
    let here = version(active);
    if same || numbers(&manifest.covalent) <= numbers(&here) {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Database,
        format!(
            "the backup is of Covalent {}, and this is {here}, which can't read its database",
            manifest.covalent
        ),
        format!("install covalent {} first", manifest.covalent),
    ))
}

/// The database names the files by their paths: they have to come back to where they were.
fn check_places(host: &Host, manifest: &Manifest, places: &Places) -> Result<()> {
    let database = match &places.database {
        Database::File(_) => "a file",
        Database::Server(_) => "on a server",
    };
    let then = match manifest.database {
        Some(_) => "a file",
        None => "on a server",
    };
    let data = host.absolute(&places.data);
    let reason = if manifest.data != data {
        format!(
            "its data was in {}, and is in {} now",
            manifest.data.display(),
            data.display()
        )
    } else if database != then {
        format!("its database was {then}, and is {database} now")
    } else {
        return Ok(());
    };
    Err(Failure::error(
        Kind::Settings,
        format!("the backup does not fit /etc/covalent/covalent.env: {reason}"),
        "set it as it was, or bring back the settings of the backup too: covalentctl restore \
         --settings",
    ))
}

fn active(host: &Host) -> Result<Generation> {
    Generation::active(host)
        .filter(Generation::has_interpreter)
        .ok_or_else(|| {
            Failure::error(
                Kind::NoEnvironment,
                format!("{} is no environment", host.environment().display()),
                "sudo covalentctl apply",
            )
        })
}

fn version(generation: &Generation) -> String {
    let packages = &generation.manifest.packages;
    packages.get("covalent").cloned().unwrap_or_default()
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

fn member_of(database: &Database) -> &'static str {
    match database {
        Database::File(_) => DATABASE_FILE,
        Database::Server(_) => DATABASE_DUMP,
    }
}

fn stamp(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y%m%dT%H%M%SZ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_placed_as_a_whole_is_taken_back() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        let arrival = |name: &str| {
            let folder = path(&format!("{name}.restoring"));
            fs::create_dir(&folder).unwrap();
            fs::write(path(name), "old").unwrap();
            fs::write(folder.join(name), "new").unwrap();
            Arrival {
                owner: None,
                arrived: folder.join(name),
                target: path(name),
                folder,
            }
        };
        let arrivals = [arrival("a"), arrival("b")];
        fs::write(path("a-journal"), "of old").unwrap();
        fs::remove_file(&arrivals[1].arrived).unwrap();
        place_all(&arrivals, ".end").unwrap_err();
        assert_eq!((read("a"), read("b")), ("old".into(), "old".into()));
        assert_eq!(read("a-journal"), "of old");

        fs::write(&arrivals[1].arrived, "new").unwrap();
        place_all(&arrivals, ".end").unwrap();
        assert_eq!((read("a"), read("b")), ("new".into(), "new".into()));
        assert_eq!(
            (read("a.end"), read("a.end-journal")),
            ("old".into(), "of old".into())
        );
    }
}
