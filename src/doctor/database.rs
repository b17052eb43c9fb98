//! The database: what it needs, and of which revision it is.

use super::verdict::{Verdict, bad, doubtful, from_error, good, skipped};
use crate::data::database::{self, DRAFT, PROGRAMS_CURE};
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::file;
use crate::system::host::Host;
use crate::system::reach::quoted;
use crate::system::systemd;

/// How addresses of databases begin, and the packages of which SQLAlchemy 1.4 needs one for them,
/// the one to advise first (docs.sqlalchemy.org, "Engine Configuration").
const DRIVERS: [(&[&str], &[&str]); 2] = [
    (
        &["postgresql", "postgresql+psycopg2"],
        &["psycopg2-binary", "psycopg2"],
    ),
    (&["mysql", "mysql+mysqldb"], &["mysqlclient"]),
];

/// Whether the server can use its database.
pub(super) fn database(host: &Host) -> Verdict {
    let database = match Places::read(host) {
        Ok(places) => places.database,
        Err(error) => return from_error(&error),
    };
    let active = Generation::active(host);
    // The address itself is not shown: it may hold a password.
    let name = match &database {
        Database::File(file) => file.display().to_string(),
        Database::Server(_) => database.kind().to_string(),
    };
    if let Some(lack) = driver(database.kind(), active.as_ref()) {
        return lack;
    }
    if database::lacks_programs(host, &database) {
        return doubtful(
            format!(
                "{name}: without PostgreSQL's client programs there is no backup, and no \
                 migration by a newer Covalent"
            ),
            PROGRAMS_CURE,
        );
    }
    let Some(active) = active else {
        return skipped("the environment, which queries it, has not been built");
    };
    if let Database::File(file) = &database {
        if !file.exists() {
            return good(format!("{name} will be created at the first start"));
        }
        let draft = file::with_end(file, DRAFT);
        let state = systemd::state(host).ok().flatten();
        if draft.exists() && state.as_deref() != Some("activating") {
            return doubtful(
                format!(
                    "{} is left over from an interrupted migration; the database is unchanged",
                    draft.display()
                ),
                // As the account: root follows no name in its folders.
                format!("sudo covalentctl run -- rm {}", quoted(&draft)),
            );
        }
    }
    let wanted = active.manifest.database_revision.clone();
    match (database::revision(host, &active, &database), wanted) {
        (Err(error), _) => bad(
            format!("{name} does not answer properly: {error:#}"),
            match database {
                Database::File(_) => {
                    "sudo covalentctl restore BACKUP; `covalentctl status` names the last one"
                }
                Database::Server(_) => {
                    "correct COVALENT_DATABASE_URL in covalent.env, or start the database server"
                }
            },
        ),
        (Ok(Some(there)), Some(wanted)) if there != wanted => doubtful(
            format!("{name} is at revision {there}, and this Covalent works with {wanted}"),
            "sudo systemctl restart covalent, which migrates an older one; for one of a newer \
             Covalent: sudo covalentctl rollback",
        ),
        (Ok(Some(there)), _) => good(format!("{name}, revision {there}")),
        (Ok(None), _) => good(name),
    }
}

/// What is wrong where the environment lacks what SQLAlchemy needs for this kind of database.
fn driver(kind: &str, active: Option<&Generation>) -> Option<Verdict> {
    let (_, packages) = DRIVERS.iter().find(|(kinds, _)| kinds.contains(&kind))?;
    let there = &active?.manifest.packages;
    let lacks = !packages.iter().any(|name| there.contains_key(*name));
    lacks.then(|| {
        bad(
            format!("{kind} needs the Python package {}", packages[0]),
            format!("sudo covalentctl add {}", packages[0]),
        )
    })
}
