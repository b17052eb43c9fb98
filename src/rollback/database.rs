//! Going back to an earlier database.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::data::backup;
use crate::data::database::{QUESTION_LIMIT, answer, revision};
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::unprivileged::Revision;

/// A change of the database from what it is now to an earlier state.
#[derive(Debug)]
pub struct DatabaseRollback {
    database: Database,
    to: Revision,
    target: Generation,
}

impl DatabaseRollback {
    /// Prepares the way back to the revision that `target` works with, or says why there is none;
    /// nothing if the database is of that revision, or not there yet.
    pub fn new(
        host: &Host,
        target: &Generation,
        to: &Revision,
    ) -> Result<Option<DatabaseRollback>> {
        let database = Places::read(host)?.database;
        let is_needed = match &database {
            Database::File(file) => is_needed_for_file(host, target, to, &database, file)?,
            Database::Server(_) => is_needed_for_server(host, target, to, &database)?,
        };
        Ok(is_needed.then(|| DatabaseRollback {
            database,
            to: to.clone(),
            target: target.clone(),
        }))
    }

    /// Puts the earlier database in place; the present one is kept. The server must not run.
    /// Returns where the present one is.
    pub fn go(&self, host: &Host) -> Result<PathBuf> {
        match &self.database {
            Database::File(file) => {
                let words = ["exchange", self.to.as_str()];
                answer(host, &self.target, &self.database, QUESTION_LIMIT, &words)
                    .map(PathBuf::from)
                    .with_context(|| {
                        format!("putting {} in place", beside(file, &self.to).display())
                    })
            }
            server => {
                let copy = host.database_copy(self.to.as_str());
                backup::bring_back(host, &self.target, server, &copy)
            }
        }
    }
}

fn is_needed_for_file(
    host: &Host,
    target: &Generation,
    to: &Revision,
    database: &Database,
    file: &Path,
) -> Result<bool> {
    if !file.exists() {
        return Ok(false);
    }
    let from = revision(host, target, database).with_context(|| file.display().to_string())?;
    if from.as_ref() == Some(to) {
        return Ok(false);
    }
    let words = ["earlier", to.as_str()];
    if answer(host, target, database, QUESTION_LIMIT, &words)? == "yes" {
        return Ok(true);
    }
    Err(Failure::error(
        Kind::Database,
        format!(
            "the database is at revision {}, that environment needs it at {to}, and there is no \
             {}",
            from.as_ref().map_or("none", Revision::as_str),
            beside(file, to).display()
        ),
        "put a backup of that revision there, or start with what is there, if you know that it \
         fits: covalentctl rollback --keep-database",
    ))
}

fn is_needed_for_server(
    host: &Host,
    target: &Generation,
    to: &Revision,
    database: &Database,
) -> Result<bool> {
    let asked = revision(host, target, database).context("the database server")?;
    let active = || Generation::active(host).and_then(|active| active.manifest.database_revision);
    let from = match asked.clone().or_else(active) {
        Some(from) if from != *to => from,
        _ => return Ok(false),
    };
    let copy = host.database_copy(to.as_str());
    if asked.is_none() || !copy.exists() {
        return Err(Failure::error(
            Kind::Database,
            format!(
                "the database server of COVALENT_DATABASE_URL is at revision {from}, that \
                 environment needs it at {to}, and {}",
                match asked {
                    Some(_) => format!("there is no {}", copy.display()),
                    None => "it can't be restored from here".into(),
                }
            ),
            "restore your backup of that time on the database server, then: \
             covalentctl rollback --keep-database",
        ));
    }
    Ok(true)
}

fn beside(database: &Path, revision: &Revision) -> PathBuf {
    file::with_end(database, &format!(".{revision}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use crate::system::command::Command;

    /// Makes a database of this revision, with this in it.
    const MAKE: &str = "
import sqlite3, sys
file, revision, text = sys.argv[1:]
with sqlite3.connect(file) as database:
    database.execute('CREATE TABLE alembic_version (version_num TEXT)')
    database.execute('INSERT INTO alembic_version VALUES (?)', [revision])
    database.execute('CREATE TABLE texts (text TEXT)')
    database.execute('INSERT INTO texts VALUES (?)', [text])
";

    /// Prints what is in a database.
    const READ: &str = "
import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute('SELECT text FROM texts').fetchone())
";

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(environment_file: &str) -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            let path = |path: &str| tree.host().path(path);
            for folder in ["/srv/db", "/etc/covalent", "/usr/libexec/covalent"] {
                fs::create_dir_all(path(folder)).unwrap();
            }
            fs::write(tree.host().environment_file(), environment_file).unwrap();
            let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("server");
            symlink(launcher, tree.host().launcher()).unwrap();
            tree
        }

        fn host(&self) -> Host {
            Host::at(self.0.path())
        }

        fn file(&self, name: &str) -> PathBuf {
            self.host().path("/srv/db").join(name)
        }

        fn python(&self, program: &str, words: &[&str]) -> String {
            let command = Command::new("python3", Duration::from_secs(60));
            let output = command.args(["-c", program]).args(words).run().unwrap();
            output.stdout.trim().into()
        }

        fn make(&self, name: &str, revision: &str, text: &str) {
            let path = self.file(name);
            self.python(MAKE, &[path.to_str().unwrap(), revision, text]);
        }

        fn read(&self, name: &str) -> String {
            self.python(READ, &[self.file(name).to_str().unwrap()])
        }

        fn target(&self) -> Generation {
            let manifest = serde_json::json!({
                "id": "1", "fingerprint": "", "made": "2026-01-01T00:00:00Z", "source": "",
                "interpreter": {"path": "/usr/bin/python3", "version": [3, 11, 2], "abi": ""},
                "packages": {}, "executors": [], "seconds": {"create": 0.0, "install": 0.0, "verify": 0.0},
            });
            Generation {
                path: self.host().generations(),
                manifest: serde_json::from_value(manifest).unwrap(),
            }
        }

        fn go_back(&self, to: &str) -> Result<Option<DatabaseRollback>> {
            let to = Revision::try_from(to.to_string()).unwrap();
            DatabaseRollback::new(&self.host(), &self.target(), &to)
        }
    }

    #[test]
    fn the_earlier_database_takes_the_place_of_the_present_one_which_stays() {
        let tree = Tree::new("COVALENT_DATABASE=/srv/db/c.sqlite\n");
        assert!(
            tree.go_back("aa").unwrap().is_none(),
            "there is no database yet"
        );
        tree.make("c.sqlite", "bb", "new");
        assert!(
            tree.go_back("bb").unwrap().is_none(),
            "it is of that revision"
        );
        let error = tree.go_back("aa").unwrap_err();
        assert!(error.to_string().contains("c.sqlite.aa"), "{error}");

        tree.make("c.sqlite.aa", "aa", "old");
        let way = tree.go_back("aa").unwrap().unwrap();
        fs::write(tree.file("c.sqlite-shm"), "of new").unwrap();
        assert_eq!(way.go(&tree.host()).unwrap(), tree.file("c.sqlite.bb"));
        let both = (tree.read("c.sqlite"), tree.read("c.sqlite.bb"));
        assert_eq!(both, ("old".into(), "new".into()));
        assert!(tree.file("c.sqlite.bb-shm").exists());
        assert!(!tree.file("c.sqlite-shm").exists() && !tree.file("c.sqlite.aa").exists());

        // A second time, what the first one put aside stays.
        fs::remove_file(tree.file("c.sqlite.bb-shm")).unwrap();
        fs::rename(tree.file("c.sqlite"), tree.file("c.sqlite.aa")).unwrap();
        tree.make("c.sqlite", "bb", "newer");
        tree.go_back("aa")
            .unwrap()
            .unwrap()
            .go(&tree.host())
            .unwrap();
        let kept = (tree.read("c.sqlite.bb"), tree.read("c.sqlite.bb.2"));
        assert_eq!(kept, ("new".into(), "newer".into()));
    }

    #[test]
    fn what_is_not_a_revision_leads_nowhere() {
        let tree = Tree::new("COVALENT_DATABASE=/srv/db/c.sqlite\n");
        tree.make("c.sqlite", "x/../../../ld.so.preload", "new");
        tree.make("c.sqlite.aa", "aa", "old");
        let error = format!("{:#}", tree.go_back("aa").unwrap_err());
        assert!(
            error.contains("is not the revision of a database"),
            "{error}"
        );
        assert_eq!(fs::read_dir(tree.file("")).unwrap().count(), 2);
    }
}
