//! Asking Covalent's database, and the names of the files beside it.
//!
//! Before the launcher migrates a database file, it links it to the same name with the revision
//! at its end, and what a database server has is copied to a file in the account's home
//! (`server/covalent_service/migration.py`).

use std::fs::File;
use std::time::Duration;

use anyhow::{Result, bail};

use super::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::host::Host;
use crate::unprivileged::{Child, Revision};

/// Reading one row; a server in the middle of a write may hold it up for a minute.
pub const QUESTION_LIMIT: Duration = Duration::from_secs(90);

/// Seconds until a server of PostgreSQL must have answered (libpq, "Environment Variables").
const CONNECT_LIMIT: &str = "10";

/// `snapshot.py`'s exit code when PostgreSQL's programs are not installed.
pub const PROGRAMS_MISSING: i32 = 3;

/// What brings them, for each family.
pub const PROGRAMS_CURE: &str = "install PostgreSQL's client programs: apt install \
                                 postgresql-client, or dnf install postgresql";

/// One of them stands for all: they come in one package.
const PROGRAM: &str = "/usr/bin/pg_dump";

/// How the name of the copy ends that the launcher migrates.
pub const DRAFT: &str = ".upgrading";

/// What SQLite keeps beside a database that was not closed: it belongs to that one alone
/// (sqlite.org, Temporary Files Used By SQLite).
pub const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Removes what a migration that was cut off has left beside the database.
pub fn sweep(host: &Host, target: &Generation) -> Result<()> {
    let database = Places::read(host)?.database;
    if let Database::File(_) = database {
        answer(host, target, &database, QUESTION_LIMIT, &["sweep"])?;
    }
    Ok(())
}

/// A call of the launcher's `snapshot.py` for a database, which reads `rest` after the address.
pub fn snapshot(
    host: &Host,
    target: &Generation,
    database: &Database,
    limit: Duration,
    rest: Option<File>,
) -> Child {
    let child = Child::new(host, &target.manifest.interpreter.path, limit)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("snapshot.py")]);
    match database {
        Database::File(file) => child
            .env("COVALENT_DATABASE", file)
            .input(b"\n".to_vec(), rest),
        Database::Server(address) => child
            .env("PGCONNECT_TIMEOUT", CONNECT_LIMIT)
            .secret(address)
            .input(format!("{address}\n").into_bytes(), rest),
    }
}

/// What `snapshot.py` prints, a line.
pub fn answer(
    host: &Host,
    target: &Generation,
    database: &Database,
    limit: Duration,
    words: &[&str],
) -> Result<String> {
    let output = snapshot(host, target, database, limit, None)
        .args(words)
        .output()?;
    if !output.succeeded() {
        bail!("asking the database: {}", output.stderr.trim());
    }
    Ok(output.stdout.lines().next().unwrap_or_default().into())
}

/// Whether PostgreSQL's client programs are missing and would be needed for this database.
pub fn lacks_programs(host: &Host, database: &Database) -> bool {
    database.kind().starts_with("postgresql") && !host.path(PROGRAM).exists()
}

/// The revision of a database; none where it has none yet, or where it can't be asked: it is of
/// another kind than PostgreSQL, or the client programs are not installed.
pub fn revision(host: &Host, target: &Generation, database: &Database) -> Result<Option<Revision>> {
    if let Database::Server(_) = database
        && !database.kind().starts_with("postgresql")
    {
        return Ok(None);
    }
    let output = snapshot(host, target, database, QUESTION_LIMIT, None)
        .args(["revision"])
        .output()?;
    match output.status.and_then(|status| status.code()) {
        Some(0) => match output.stdout.trim_end_matches('\n') {
            "" => Ok(None),
            revision => Revision::try_from(revision.to_string()).map(Some),
        },
        Some(PROGRAMS_MISSING) => Ok(None),
        _ => bail!("asking for its revision: {}", output.stderr.trim()),
    }
}
