//! The unit's starts: which environment each is of, whether it has ever served, and why one failed.
//!
//! What the server itself says of its end is the account's word, which tasks share. So root notes
//! which environment has served: only one that never has is rolled back from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::environment::generation::Generation;
use crate::environment::state::FailedAttempt;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::terminal::one_line;
use crate::unprivileged;

/// The launcher's exit status (`server/covalent_service/refusal.py`).
const MIGRATION_FAILED: &str = "79";

/// Ways in which the server ends without a word of its own. A stop that was asked for is none.
const ENDED_BY_FORCE: [&str; 5] = ["core-dump", "oom-kill", "signal", "timeout", "watchdog"];

/// Bytes of a path (limits.h, `PATH_MAX`).
const PATH_LIMIT: u64 = 4096;

/// Characters of what the server said last that are kept.
const SAID: usize = 2000;

/// How the server ended, as systemd tells it.
#[derive(Debug)]
pub struct End {
    /// `SERVICE_RESULT`, such as `exit-code` or `oom-kill`.
    pub result: String,
    /// `EXIT_STATUS`: the exit status, or the name of the signal.
    pub status: String,
    /// What the server said last of what it was doing.
    pub said: String,
    /// Whether it had become ready.
    pub served: bool,
}

/// A start that failed because of a migration.
#[derive(Debug, Deserialize, Serialize)]
pub struct FailedStart {
    /// The environment's name.
    pub generation: String,
    /// What the server said last.
    pub reason: String,
    /// Whether it had begun to change the database.
    pub touched: bool,
}

/// Notes which environment a start is of.
pub fn note_begin(host: &Host) -> Result<()> {
    let active = Generation::active(host).map(|active| active.manifest.id);
    write(&host.started(), active.unwrap_or_default().as_bytes())
}

/// Notes how a start ended: that the environment has served, or that the next start is to go back
/// from it.
pub fn note_end(host: &Host, end: &End) -> Result<()> {
    let generation = fs::read_to_string(host.started()).unwrap_or_default();
    if end.served && has_served(host, &generation) {
        return Ok(());
    }
    if end.served {
        return write(&host.served(), generation.as_bytes());
    }
    let touched = is_unproven(host, &generation);
    // The account's word, which root keeps.
    let said: String = one_line(&end.said).chars().take(SAID).collect();
    let by_force = ENDED_BY_FORCE.contains(&end.result.as_str());
    let reason = match end.status.as_str() {
        MIGRATION_FAILED => said,
        // It ended before it could say so itself.
        status if touched && by_force => {
            format!("it was ended ({}, {status}) at: {said}", end.result)
        }
        _ => return Ok(()),
    };
    let failed = FailedStart {
        generation,
        reason,
        touched,
    };
    let text = serde_json::to_vec(&failed).context("writing a failure as JSON")?;
    write(&host.failed_start(), &text)
}

/// The start before this one, if it failed because of a migration, with the environment that is
/// still the active one.
pub fn failed(host: &Host, active: Option<&Generation>) -> Option<FailedStart> {
    let text = fs::read(host.failed_start()).ok()?;
    let failed: FailedStart = serde_json::from_slice(&text).ok()?;
    let active = active.map_or("", |active| &active.manifest.id);
    (failed.generation == active).then_some(failed)
}

/// Forgets the failed start: it was rolled back from, or can't be.
pub fn forget_failed(host: &Host) -> Result<()> {
    file::remove(&host.failed_start()).map(drop)
}

/// Whether the environment is the one that served last.
pub fn has_served(host: &Host, generation: &str) -> bool {
    fs::read_to_string(host.served()).is_ok_and(|served| served == generation)
}

/// Whether the environment has begun to migrate the database and not answered from it since, as
/// the launcher says.
fn is_unproven(host: &Host, generation: &str) -> bool {
    unprivileged::read(&host.unproven(), PATH_LIMIT)
        .is_ok_and(|environment| host.path(environment) == host.generations().join(generation))
}

/// Notes why the unit's start is refused, or that it is not.
///
/// systemd starts a failed unit again whatever the status of its `ExecStartPre=` says; only its
/// main process, which is told here, can end with a status that prevents it.
pub fn note_refusal<T>(host: &Host, result: &Result<T>) -> Result<()> {
    match result {
        Ok(_) => file::remove(&host.refusal()).map(drop),
        Err(error) => {
            let text = serde_json::to_vec(&FailedAttempt::new(error, None));
            write(&host.refusal(), &text.context("writing a failure as JSON")?)
        }
    }
}

/// Fails if the unit's start was refused, as that failed.
pub fn heed_refusal(host: &Host) -> Result<()> {
    let Ok(text) = fs::read(host.refusal()) else {
        return Ok(());
    };
    let noted: FailedAttempt =
        serde_json::from_slice(&text).with_context(|| host.refusal().display().to_string())?;
    let error = match Kind::named(&noted.kind) {
        Some(kind) => Failure::error(kind, noted.message, noted.next),
        None => anyhow!(noted.message),
    };
    Err(error.context("the server is not started"))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    file::make_folder(path.parent().unwrap_or(path), 0o755)?;
    file::write(path, content, 0o644)
}
