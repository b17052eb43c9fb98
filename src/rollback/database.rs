//! Going back to an earlier database.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::data::backup;
use crate::data::database::{COMPANIONS, revision};
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;

/// A change of the database from what it is now to an earlier state.
#[derive(Debug)]
pub struct DatabaseRollback(Plan);

#[derive(Debug)]
enum Plan {
    /// The file, the earlier one, and the name that the one of now is given.
    File {
        database: PathBuf,
        earlier: PathBuf,
        aside: PathBuf,
    },
    /// What a server has, and the copy that the launcher made before the migration.
    Server {
        database: Database,
        copy: PathBuf,
        target: Box<Generation>,
    },
}

impl DatabaseRollback {
    /// Prepares the way back to the revision `to`, which `target` works with, or says why there is
    /// none; nothing if the database is of that revision, or not there yet.
    pub fn new(host: &Host, target: &Generation, to: &str) -> Result<Option<DatabaseRollback>> {
        match Places::read(host)?.database {
            Database::File(file) => of_file(host, target, to, file),
            server => of_server(host, target, to, server),
        }
    }

    /// Puts the earlier database in place; the one of now is kept. The server must not run.
    /// Returns where the one of now is.
    pub fn go(&self, host: &Host) -> Result<PathBuf> {
        match &self.0 {
            Plan::File {
                database,
                earlier,
                aside,
            } => exchange(database, earlier, aside).map(|()| aside.clone()),
            Plan::Server {
                database,
                copy,
                target,
            } => backup::bring_back(host, target, database, copy),
        }
    }
}

fn of_file(
    host: &Host,
    target: &Generation,
    to: &str,
    database: PathBuf,
) -> Result<Option<DatabaseRollback>> {
    if !database.exists() {
        return Ok(None);
    }
    let file = Database::File(database.clone());
    let from = revision(host, target, &file)
        .with_context(|| database.display().to_string())?
        .unwrap_or_default();
    if from == to {
        return Ok(None);
    }
    let earlier = beside(&database, to);
    if !earlier.is_file() {
        return Err(Failure::error(
            Kind::Database,
            format!(
                "the database is at revision {from}, that environment needs it at {to}, and \
                 there is no {}",
                earlier.display()
            ),
            "put a backup of that revision there, or start with what is there, if you know \
             that it fits: covalentctl rollback --keep-database",
        ));
    }
    Ok(Some(DatabaseRollback(Plan::File {
        // An earlier return may have left one there, with data that is nowhere else.
        aside: unused(beside(&database, &from)),
        database,
        earlier,
    })))
}

fn of_server(
    host: &Host,
    target: &Generation,
    to: &str,
    database: Database,
) -> Result<Option<DatabaseRollback>> {
    let asked = revision(host, target, &database).context("the database server")?;
    let active = || Generation::active(host).and_then(|active| active.manifest.database_revision);
    let from = match asked.clone().or_else(active) {
        Some(from) if from != to => from,
        _ => return Ok(None),
    };
    let copy = host.database_copy(to);
    if asked.is_none() || !copy.exists() {
        return Err(Failure::error(
            Kind::Database,
            format!(
                "the database server of COVALENT_DATABASE_URL is at revision {from}, that \
                 environment needs it at {to}, and {}",
                match asked {
                    Some(_) => format!("there is no {}", copy.display()),
                    None => "it can't be brought back from here".into(),
                }
            ),
            "bring your backup of that time back into the database server, then: \
             covalentctl rollback --keep-database",
        ));
    }
    Ok(Some(DatabaseRollback(Plan::Server {
        database,
        copy,
        target: Box::new(target.clone()),
    })))
}

/// Puts a database file in the place of another one, which stays beside it.
fn exchange(database: &Path, earlier: &Path, aside: &Path) -> Result<()> {
    let action = || format!("putting {} in place", earlier.display());
    let owner = fs::metadata(database).with_context(action)?;
    // The account could have made it a link to any file.
    lchown(earlier, Some(owner.uid()), Some(owner.gid())).with_context(action)?;
    fs::hard_link(database, aside).with_context(action)?;
    for companion in COMPANIONS {
        let from = file::with_end(database, companion);
        if from.exists() {
            fs::rename(from, file::with_end(aside, companion)).with_context(action)?;
        }
    }
    fs::rename(earlier, database).with_context(action)?;
    file::sync_file_system(database.parent().unwrap_or(database))
}

fn beside(database: &Path, revision: &str) -> PathBuf {
    file::with_end(database, &format!(".{revision}"))
}

/// The path, or the first one with a number behind it that is not taken.
fn unused(path: PathBuf) -> PathBuf {
    let numbered = (2u32..).map(|number| file::with_end(&path, &format!(".{number}")));
    std::iter::once(path.clone())
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(environment_file: &str) -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            fs::create_dir_all(tree.host().path("/srv/db")).unwrap();
            fs::create_dir_all(tree.host().path("/etc/covalent")).unwrap();
            fs::write(tree.host().environment_file(), environment_file).unwrap();
            tree
        }

        fn host(&self) -> Host {
            Host::at(self.0.path())
        }

        /// A generation whose Python answers that every database is at revision `bb`.
        fn target(&self) -> Generation {
            let python = self.host().path("/python");
            file::write(&python, b"#!/bin/sh\necho bb\n", 0o755).unwrap();
            let manifest = serde_json::json!({
                "id": "1", "fingerprint": "", "made": "2026-01-01T00:00:00Z", "source": "",
                "interpreter": {"path": python, "version": [3, 11, 2], "abi": ""},
                "packages": {}, "executors": [], "seconds": {"create": 0.0, "install": 0.0, "verify": 0.0},
            });
            Generation {
                path: self.host().generations(),
                manifest: serde_json::from_value(manifest).unwrap(),
            }
        }
    }

    #[test]
    fn the_earlier_database_takes_the_place_of_the_one_of_now_which_stays() {
        let tree = Tree::new("COVALENT_DATABASE=/srv/db/c.sqlite\n");
        let data = tree.host().path("/srv/db");
        let go_back = |to: &str| DatabaseRollback::new(&tree.host(), &tree.target(), to);
        assert!(go_back("aa").unwrap().is_none(), "there is no database yet");
        fs::write(data.join("c.sqlite"), "new").unwrap();
        fs::write(data.join("c.sqlite-journal"), "of new").unwrap();
        assert!(go_back("bb").unwrap().is_none(), "it is of that revision");
        let error = go_back("aa").unwrap_err();
        assert!(error.to_string().contains("c.sqlite.aa"), "{error}");

        let read = |name: &str| fs::read_to_string(data.join(name)).unwrap();
        fs::write(data.join("c.sqlite.aa"), "old").unwrap();
        go_back("aa").unwrap().unwrap().go(&tree.host()).unwrap();
        assert_eq!(
            (read("c.sqlite"), read("c.sqlite.bb")),
            ("old".into(), "new".into())
        );
        assert_eq!(read("c.sqlite.bb-journal"), "of new");
        assert!(!data.join("c.sqlite-journal").exists() && !data.join("c.sqlite.aa").exists());

        // A second time, what the first one put aside stays.
        fs::write(data.join("c.sqlite.aa"), "older").unwrap();
        go_back("aa").unwrap().unwrap().go(&tree.host()).unwrap();
        assert_eq!(
            (read("c.sqlite.bb"), read("c.sqlite.bb.2")),
            ("new".into(), "old".into())
        );
    }
}
