//! Where the server keeps what it keeps, as `covalent.env` says (`covalent_service/settings.py`).

use std::path::PathBuf;

use anyhow::Result;

use crate::service::environment_file::EnvironmentFile;
use crate::service::serve::DATABASE_VARIABLE;
use crate::system::file::resolved;
use crate::system::host::Host;

/// Covalent's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// An SQLite file.
    File(PathBuf),
    /// A database server, by its address. It may hold a password.
    Server(String),
}

impl Database {
    /// How its address begins, such as `postgresql+psycopg2`.
    pub fn kind(&self) -> &str {
        match self {
            Database::File(_) => "sqlite",
            Database::Server(address) => address.split_once("://").map_or("", |(kind, _)| kind),
        }
    }
}

/// What the server keeps.
#[derive(Debug)]
pub struct Places {
    /// The database.
    pub database: Database,
    /// The folder of what goes into tasks and comes out of them.
    pub data: PathBuf,
    /// [`data`](Self::data) as it is set: with the links on the way.
    pub data_as_set: PathBuf,
    /// `covalent.conf`.
    pub configuration: PathBuf,
}

impl Places {
    /// Reads `covalent.env`.
    pub fn read(host: &Host) -> Result<Places> {
        Ok(Places::of(host, &EnvironmentFile::read(host)?))
    }

    /// What a `covalent.env` of this machine says.
    pub fn of(host: &Host, file: &EnvironmentFile) -> Places {
        let value = |name: &str| file.get(name).filter(|value| !value.is_empty());
        let home = value("HOME").map_or_else(|| "/var/lib/covalent".into(), PathBuf::from);
        let path = |name: &str, default: &dyn Fn() -> PathBuf| {
            value(name).map_or_else(default, PathBuf::from)
        };
        let share = path("XDG_DATA_HOME", &|| home.join(".local/share")).join("covalent");
        let config = || path("XDG_CONFIG_DIR", &|| home.join(".config/covalent"));
        let data_as_set = host.path(path("COVALENT_DATA_DIR", &|| {
            home.join(".local/share/covalent/data")
        }));
        Places {
            database: match value(DATABASE_VARIABLE) {
                Some(address) => Database::Server(address.into()),
                None => Database::File(host.path(path("COVALENT_DATABASE", &|| {
                    share.join("dispatcher_db.sqlite")
                }))),
            },
            data: resolved(&data_as_set),
            data_as_set,
            configuration: host.path(path("COVALENT_CONFIG_DIR", &config).join("covalent.conf")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is in `tests/places`, which the launcher's tests compare with its own settings.
    #[test]
    fn the_launcher_has_the_same_places() {
        let mut seen = 0;
        for case in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/places")).unwrap() {
            let case = case.unwrap().path();
            let tree = tempfile::tempdir().unwrap();
            let host = Host::at(tree.path().canonicalize().unwrap());
            fs::create_dir_all(host.etc()).unwrap();
            fs::copy(case.join("covalent.env"), host.environment_file()).unwrap();
            let places = Places::read(&host).unwrap();
            let database = match places.database {
                Database::File(file) => host.absolute(&file).display().to_string(),
                Database::Server(address) => address,
            };
            let found = serde_json::json!({
                "database": database,
                "data": host.absolute(&places.data),
                "configuration": host.absolute(&places.configuration),
            });
            let expected = fs::read(case.join("expected.json")).unwrap();
            let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
            assert_eq!(found, expected, "{}", case.display());
            seen += 1;
        }
        assert!(seen > 5);
    }
}
