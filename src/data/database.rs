//! Asking Covalent's database, and the names of the files beside it.
//!
//! Before the launcher migrates a database file, it links it to the same name with the revision
//! at its end, and what a database server has is copied to a file in the account's home
//! (`server/covalent_service/database.py`).

use std::time::Duration;

use anyhow::{Result, bail};

use super::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::service::serve::DATABASE_VARIABLE;
use crate::system::account::Account;
use crate::system::command::Command;
use crate::system::file;
use crate::system::host::Host;

/// Reading one row; a server in the middle of a write may hold it up for a minute.
const QUESTION_LIMIT: Duration = Duration::from_secs(90);

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
pub fn sweep(host: &Host) -> Result<()> {
    let Database::File(database) = Places::read(host)?.database else {
        return Ok(());
    };
    let draft = file::with_end(&database, DRAFT);
    for leftover in [file::with_end(&draft, COMPANIONS[0]), draft] {
        file::remove(&leftover)?;
    }
    Ok(())
}

/// A call of the launcher's `snapshot.py` for a database, and the account that it is for: the
/// service's, so that root reads no file of the account's, unless a password is to be kept from it.
pub fn snapshot(
    host: &Host,
    target: &Generation,
    database: &Database,
    limit: Duration,
) -> Result<(Command, Option<Account>)> {
    let is_root = rustix::process::geteuid().is_root();
    let account = Account::service(host)?.filter(|_| is_root && !database.has_password());
    let mut command = Command::new(&target.manifest.interpreter.path, limit)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("snapshot.py")]);
    command = match database {
        Database::File(file) => command.env("COVALENT_DATABASE", file),
        Database::Server(address) => command
            .env(DATABASE_VARIABLE, address)
            .env("PGCONNECT_TIMEOUT", CONNECT_LIMIT)
            .secret(Some(address)),
    };
    if let Some(account) = &account {
        command = command.account(account);
    }
    Ok((command, account))
}

/// Whether PostgreSQL's client programs are missing and would be needed for this database.
pub fn lacks_programs(host: &Host, database: &Database) -> bool {
    database.kind().starts_with("postgresql") && !host.path(PROGRAM).exists()
}

/// The revision of a database; none where it has none yet, or where it can't be asked: it is of
/// another kind than PostgreSQL, or the client programs are not installed.
pub fn revision(host: &Host, target: &Generation, database: &Database) -> Result<Option<String>> {
    if let Database::Server(_) = database
        && !database.kind().starts_with("postgresql")
    {
        return Ok(None);
    }
    let (command, _) = snapshot(host, target, database, QUESTION_LIMIT)?;
    let command = command.args(["revision"]);
    let output = command.output()?;
    let revision = output.stdout.trim();
    match output.status.and_then(|status| status.code()) {
        Some(0) => Ok(Some(revision.to_string()).filter(|revision| !revision.is_empty())),
        Some(PROGRAMS_MISSING) => Ok(None),
        _ => bail!("asking for its revision: {}", output.stderr.trim()),
    }
}
