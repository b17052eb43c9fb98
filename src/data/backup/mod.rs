//! Backups of all that the server keeps, and their return.
//!
//! A backup is an archive of tar(1): `backup.json`, a copy of the database that is consistent in
//! itself, and, by their paths, the files that the database refers to, `covalent.conf` and
//! /etc/covalent. The database is copied first: whatever it refers to is there then, and a file
//! that is replaced later belongs to a workflow that still ran.

mod archive;
mod arrival;
mod configuration;
mod create;
mod pinned;
mod restore;
mod snapshot;
mod staging;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use create::{create, newest};
pub use restore::restore;
pub use snapshot::bring_back;

use crate::environment::generation::Generation;
use crate::unprivileged::Revision;

/// The form of `backup.json`.
const VERSION: u32 = 1;

/// Terabytes, on a slow disk.
const COPY_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What a backup says of itself.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    version: u32,
    made: Timestamp,
    /// The version of Covalent.
    covalent: String,
    /// The database's revision (Alembic).
    database_revision: Revision,
    /// The database's file; none for one on a server.
    database: Option<PathBuf>,
    data: PathBuf,
    /// What else is in the archive, by its path.
    members: Vec<PathBuf>,
}

fn version(generation: &Generation) -> String {
    generation.manifest.covalent().unwrap_or_default().into()
}
