//! Going back to an earlier generation.

use std::io::Read;

use anyhow::{Context, Result};

use crate::apply::carry;
use crate::database;
use crate::failpoint;
use crate::failure::{self, Failure, Kind};
use crate::file;
use crate::generation::Generation;
use crate::host::Host;
use crate::local;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::state::{FailedAttempt, Held, Lock, State, refuse_next_start};
use crate::systemd;
use crate::wanted::Wanted;

/// The launcher's exit status (`server/covalent_service/refusal.py`).
const MIGRATION_FAILED: &str = "79";

/// Ways in which the server ends without a word of its own. A stop that was asked for is none.
const ENDED_BY_FORCE: [&str; 5] = ["core-dump", "oom-kill", "signal", "timeout", "watchdog"];

/// Bytes of a path (limits.h, `PATH_MAX`).
const PATH_LIMIT: u64 = 4096;

/// Makes the generation whose name starts with `id` the active one, or without `id` the one
/// before the active one, and restarts the server if it was running. Returns the generation.
///
/// It stays the active one until something else is wanted than was wanted now.
pub fn rollback(
    host: &Host,
    id: Option<&str>,
    keep_database: bool,
    progress: &Progress,
) -> Result<Generation> {
    let (target, server) = go_back(host, id, keep_database, progress)?;
    // The starting unit may need the lock, which is free by now.
    match server {
        Server::Restart => {
            systemd::restart_if_running(host, progress).context("restarting the server")?
        }
        Server::Start => systemd::start().context("starting the server")?,
        Server::Leave => {}
    }
    Ok(target)
}

/// What the server needs afterwards.
enum Server {
    Restart,
    Start,
    Leave,
}

fn go_back(
    host: &Host,
    id: Option<&str>,
    keep_database: bool,
    progress: &Progress,
) -> Result<(Generation, Server)> {
    let lock = Lock::acquire(host, progress)?;
    local::recover(host, &lock)?;
    let active = Generation::required(host)?;
    let target = choose(host, &active, id)?;
    if !target.has_interpreter() || !target.runs() {
        return Err(unknown(format!(
            "{} was made for Python {} ({}), which is gone or is another version now",
            target.manifest.id,
            target.manifest.interpreter.version_text(),
            target.manifest.interpreter.path.display()
        )));
    }
    let way_back = match &target.manifest.database_revision {
        Some(revision) if !keep_database => database::Return::new(host, &target, revision)?,
        _ => None,
    };

    let mut state = State::read(host);
    // What somebody installed by hand into the environment of now belongs to every later one.
    carry(host, &active, &mut state, &[], progress)?;
    state.held = instead_of(host, &mut state, &target);
    state.previous = None;
    state.write(host)?;
    failpoint::pass("held");
    let Some(way_back) = way_back else {
        target.activate(host)?;
        return Ok((target, Server::Restart));
    };
    let running = systemd::stop(host).context("stopping the server")?;
    // In this order: cut off in between, the server migrates the earlier database again.
    let gone = way_back.go(host).and_then(|aside| {
        target.activate(host)?;
        Ok(aside)
    });
    let server = if running {
        Server::Start
    } else {
        Server::Leave
    };
    match gone {
        Ok(aside) => {
            progress.say(&format!(
                "the database is as it was before its migration; that of now is {}",
                aside.display()
            ));
            Ok((target, server))
        }
        Err(error) => {
            state.held = None;
            state.write(host)?;
            if running {
                systemd::start().context("starting the server again")?;
            }
            Err(error)
        }
    }
}

/// What the generation stands in for; nothing if it is what is wanted anyway.
fn instead_of(host: &Host, state: &mut State, target: &Generation) -> Option<Held> {
    let wanted = Settings::read(host).and_then(|settings| Wanted::read(host, &settings, state));
    let instead_of = wanted.ok().map(|wanted| wanted.fingerprint);
    (instead_of.as_ref() != Some(&target.manifest.fingerprint)).then(|| Held {
        generation: target.manifest.id.clone(),
        instead_of,
        because: None,
    })
}

/// How the server ended, as systemd tells the unit's last command (systemd.exec(5), "Environment
/// Variables Set or Propagated by the Service Manager").
#[derive(Debug)]
pub struct End {
    /// `SERVICE_RESULT`, such as `exit-code` or `oom-kill`.
    pub result: String,
    /// `EXIT_STATUS`: the exit status, or the name of the signal.
    pub status: String,
    /// What the server said last of what it was doing.
    pub said: String,
}

impl End {
    /// Why the server could not start, if it could not because of a migration.
    fn failed_migration(&self, host: &Host) -> Option<String> {
        if self.status == MIGRATION_FAILED {
            return Some(self.said.clone());
        }
        // It ended before it could say so itself.
        let mut unproven = String::new();
        let file = file::open_plain(&host.unproven()).ok()?;
        file.take(PATH_LIMIT).read_to_string(&mut unproven).ok()?;
        let is_active = host.path(unproven) == Generation::active(host)?.path;
        (is_active && ENDED_BY_FORCE.contains(&self.result.as_str())).then(|| {
            format!(
                "it was ended ({}, {}) at: {}",
                self.result, self.status, self.said
            )
        })
    }
}

/// For the end of the unit's processes: if the server could not migrate the database, or could not
/// start with the migrated one, makes the environment and the database of before the active ones,
/// which the unit starts next. Where there is no way back, the next start is refused.
pub fn after_failed_migration(host: &Host, end: &End, progress: &Progress) -> Result<()> {
    let Some(reason) = end.failed_migration(host) else {
        return Ok(());
    };
    let lock = Lock::acquire(host, progress)?;
    local::recover(host, &lock)?;
    let active = Generation::active(host);
    database::sweep(host)?;
    let tried = active.as_ref().map_or("", |active| &active.manifest.id);
    let error = Failure::error(
        Kind::Database,
        format!("the server could not start with {tried} and the database: {reason}"),
        format!(
            "covalentctl logs -n 50 says more; to try again: covalentctl rollback \
             --keep-database {tried}"
        ),
    );
    match &active {
        Some(active) => match way_back(host, active) {
            Ok((target, way_back)) => {
                let mut state = State::read(host);
                carry(host, active, &mut state, &[], progress)?;
                if let Some(way_back) = way_back {
                    way_back.go(host)?;
                }
                let id = active.manifest.id.clone();
                let because = Some(FailedAttempt::new(&error, None));
                state.held =
                    instead_of(host, &mut state, &target).map(|held| Held { because, ..held });
                state.previous = Some(id);
                state.write(host)?;
                target.activate(host)?;
                progress.warn(&format!(
                    "{}\nso {} is the environment again, with the database of before",
                    failure::describe(&error),
                    target.manifest.id
                ));
                Ok(())
            }
            Err(none) => refuse_next_start(host, &error.context(failure::describe(&none))),
        },
        None => refuse_next_start(host, &error),
    }
}

/// The environment to go back to by itself, and the way back of the database.
fn way_back(host: &Host, active: &Generation) -> Result<(Generation, Option<database::Return>)> {
    if State::read(host)
        .held
        .is_some_and(|held| held.because.is_some())
    {
        return Err(unknown(format!(
            "{} was gone back to already",
            active.manifest.id
        )));
    }
    let target = choose(host, active, None)?;
    let revision = target.manifest.database_revision.as_deref();
    let revision = revision.filter(|_| target.runs()).ok_or_else(|| {
        unknown(format!(
            "{} can't be gone back to by itself",
            target.manifest.id
        ))
    })?;
    let way_back = database::Return::new(host, &target, revision)?;
    Ok((target, way_back))
}

fn choose(host: &Host, active: &Generation, id: Option<&str>) -> Result<Generation> {
    let all = Generation::all(host)?;
    let Some(id) = id else {
        let previous = State::read(host).previous;
        let is_previous =
            |generation: &Generation| Some(&generation.manifest.id) == previous.as_ref();
        let before = all
            .iter()
            .find(|generation| is_previous(generation))
            .or_else(|| all.iter().find(|generation| generation.path < active.path));
        return before
            .cloned()
            .ok_or_else(|| unknown("there is no environment before the active one".into()));
    };
    let exact = all.iter().any(|generation| generation.manifest.id == id);
    let mut matching = all.into_iter().filter(|generation| match exact {
        true => generation.manifest.id == id,
        false => generation.manifest.id.starts_with(id),
    });
    match (matching.next(), matching.next()) {
        (Some(only), None) if only.path == active.path => Err(unknown(format!(
            "{} is the active one already",
            only.manifest.id
        ))),
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(unknown(format!("{id} is the start of several names"))),
        (None, _) => Err(unknown(format!("there is no environment {id}"))),
    }
}

fn unknown(message: String) -> anyhow::Error {
    Failure::error(
        Kind::Unknown,
        message,
        "covalentctl history shows what there is to go back to",
    )
}
