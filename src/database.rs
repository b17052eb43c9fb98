//! Covalent's database beside its earlier states, for a way back to an earlier Covalent.
//!
//! Before the launcher migrates a database file, it links it to the same name with the revision
//! at its end (`server/covalent_service/database.py`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::environment_file::EnvironmentFile;
use crate::failure::{Failure, Kind};
use crate::file;
use crate::host::Host;

/// A change of the database from the revision it is of to an earlier one.
#[derive(Debug)]
pub struct Return {
    database: PathBuf,
    earlier: PathBuf,
    aside: PathBuf,
}

impl Return {
    /// Prepares the way from the revision `from` back to `to`, or says why there is none.
    pub fn new(host: &Host, from: &str, to: &str) -> Result<Return> {
        let file = EnvironmentFile::read(host)?;
        let value = |name: &str| file.get(name).filter(|value| !value.is_empty());
        if value("COVALENT_DATABASE_URL").is_some() {
            return Err(Failure::error(
                Kind::Database,
                format!(
                    "the database server of COVALENT_DATABASE_URL is at revision {from}, and that \
                     environment needs {to}"
                ),
                "bring your backup of that time back into the database server, then: \
                 covalentctl rollback --keep-database",
            ));
        }
        let database = host.path(value("COVALENT_DATABASE").map_or_else(
            || {
                let base = value("XDG_DATA_HOME").unwrap_or("/var/lib/covalent/.local/share");
                Path::new(base).join("covalent/dispatcher_db.sqlite")
            },
            PathBuf::from,
        ));
        let beside = |revision: &str| {
            let mut name = database.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{revision}"));
            database.with_file_name(name)
        };
        let (earlier, aside) = (beside(to), beside(from));
        if !earlier.is_file() {
            return Err(Failure::error(
                Kind::Database,
                format!(
                    "that environment needs the database at revision {to}, and there is no {}",
                    earlier.display()
                ),
                "put a backup of that revision there, or start with what is there, if you know \
                 that it fits: covalentctl rollback --keep-database",
            ));
        }
        Ok(Return {
            database,
            earlier,
            aside,
        })
    }

    /// Puts the earlier database in place; the one of now stays beside it. The server must not
    /// run. Returns where the one of now is.
    pub fn go(&self) -> Result<&Path> {
        let action = || format!("putting {} in place", self.earlier.display());
        let _ = fs::remove_file(&self.aside);
        fs::hard_link(&self.database, &self.aside).with_context(action)?;
        fs::rename(&self.earlier, &self.database).with_context(action)?;
        file::sync_file_system(self.database.parent().unwrap_or(&self.database))?;
        Ok(&self.aside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_database_takes_the_place_of_the_one_of_now_which_stays() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        let data = host.path("/srv/db");
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(host.path("/etc/covalent")).unwrap();
        fs::write(
            host.environment_file(),
            "COVALENT_DATABASE=/srv/db/c.sqlite\n",
        )
        .unwrap();
        fs::write(data.join("c.sqlite"), "new").unwrap();
        let error = Return::new(&host, "bb", "aa").unwrap_err();
        assert!(error.to_string().contains("c.sqlite.aa"), "{error}");

        fs::write(data.join("c.sqlite.aa"), "old").unwrap();
        Return::new(&host, "bb", "aa").unwrap().go().unwrap();
        let read = |name: &str| fs::read_to_string(data.join(name)).unwrap();
        assert_eq!(
            (read("c.sqlite"), read("c.sqlite.bb")),
            ("old".into(), "new".into())
        );
        assert!(!data.join("c.sqlite.aa").exists());
    }

    #[test]
    fn a_database_server_is_its_administrators_to_bring_back() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.path("/etc/covalent")).unwrap();
        fs::write(
            host.environment_file(),
            "COVALENT_DATABASE_URL=postgresql://u:s3cret@h/c\n",
        )
        .unwrap();
        let text = Return::new(&host, "bb", "aa").unwrap_err().to_string();
        assert!(
            text.contains("revision bb") && !text.contains("s3cret"),
            "{text}"
        );
    }
}
