//! Going back to an earlier generation.

mod database;

use self::database::DatabaseRollback;

use anyhow::{Context, Result};

use crate::data::database::sweep;
use crate::environment::carried::carry;
use crate::environment::generation::Generation;
use crate::environment::own_requirements;
use crate::environment::state::{FailedAttempt, Held, State};
use crate::service::lifecycle;
use crate::service::starts;
use crate::settings::Settings;
use crate::system::failpoint;
use crate::system::failure::{self, Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

use crate::environment::wanted::Wanted;

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
    let mut server = Server::Leave;
    let target = go_back(host, id, keep_database, progress, &mut server);
    // The starting unit may need the lock, which is free by now.
    let started = match server {
        Server::Restart => lifecycle::restart_if_running(host, false, progress)
            .map(drop)
            .context("restarting the server"),
        Server::Start => lifecycle::start(host).context("starting the server"),
        Server::Leave => Ok(()),
    };
    let target = target?;
    started.map(|()| target)
}

/// What the server needs afterwards, even where nothing was rolled back.
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
    server: &mut Server,
) -> Result<Generation> {
    let turn = Turn::acquire(host, progress)?;
    own_requirements::recover(host, &turn)?;
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
        Some(revision) if !keep_database => DatabaseRollback::new(host, &target, revision)?,
        _ => None,
    };

    let mut state = State::read(host)?;
    // What somebody installed by hand into the current environment belongs to every later one.
    carry(host, &active, &mut state, &[], progress)?;
    let before = state.clone();
    state.held = instead_of(host, &mut state, &target);
    state.previous = None;
    state.write(host)?;
    failpoint::pass("held");
    let Some(way_back) = way_back else {
        target.activate(host)?;
        *server = Server::Restart;
        return Ok(target);
    };
    let mut go = || {
        if lifecycle::stop(host).context("stopping the server")? {
            *server = Server::Start;
        }
        // In this order: cut off in between, the server migrates the earlier database again.
        let aside = way_back.go(host)?;
        target.activate(host)?;
        anyhow::Ok(aside)
    };
    match go() {
        Ok(aside) => {
            progress.say(&format!(
                "the database is as it was before its migration; the newer one is kept at {}",
                aside.display()
            ));
            Ok(target)
        }
        Err(error) => {
            before.write(host)?;
            Err(error)
        }
    }
}

/// What is wanted instead of the generation; nothing if the generation is what is wanted.
fn instead_of(host: &Host, state: &mut State, target: &Generation) -> Option<Held> {
    let wanted = Settings::read(host).and_then(|settings| Wanted::read(host, &settings, state));
    let instead_of = wanted.ok().map(|wanted| wanted.fingerprint);
    (instead_of.as_ref() != Some(&target.manifest.fingerprint)).then(|| Held {
        generation: target.manifest.id.clone(),
        instead_of,
        because: None,
    })
}

/// Before the unit's start: if the last one failed because of a migration, makes the previous
/// environment and the previous database the active ones. If there is no way back, returns the failure.
pub fn after_failed_migration(host: &Host, progress: &Progress) -> Result<()> {
    if starts::failed(host, Generation::active(host).as_ref()).is_none() {
        return Ok(());
    }
    let turn = Turn::acquire(host, progress)?;
    own_requirements::recover(host, &turn)?;
    // Somebody may have gone back meanwhile.
    let active = Generation::active(host);
    let Some(failed) = starts::failed(host, active.as_ref()) else {
        return Ok(());
    };
    let tried = &failed.generation;
    let error = Failure::error(
        Kind::Database,
        format!(
            "the server could not start with {tried} and the database: {}",
            failed.reason
        ),
        format!(
            "covalentctl logs -n 50 says more; to try again: covalentctl rollback \
             --keep-database {tried}"
        ),
    );
    let found = active
        .as_ref()
        .context("the environment has not been built")
        .and_then(|active| {
            sweep(host, active)?;
            Ok((active, way_back(host, active, failed.touched)?))
        });
    let (active, (target, way_back)) = match found {
        Ok(found) => found,
        Err(none) => {
            // Refused once; whoever has mended something starts it again.
            starts::forget_failed(host)?;
            return Err(error.context(failure::describe(&none)));
        }
    };
    let mut state = State::read(host)?;
    carry(host, active, &mut state, &[], progress)?;
    if let Some(way_back) = way_back {
        way_back
            .go(host)
            // Refused once here too: the next start is with what is there.
            .map_err(|failed| starts::forget_failed(host).err().unwrap_or(failed))
            .with_context(|| failure::describe(&error))?;
    }
    let because = Some(FailedAttempt::new(&error, None));
    state.held = instead_of(host, &mut state, &target).map(|held| Held { because, ..held });
    state.previous = Some(active.manifest.id.clone());
    state.write(host)?;
    target.activate(host)?;
    starts::forget_failed(host)?;
    progress.warn(&format!(
        "{}\nso the environment is {} again, with the previous database",
        failure::describe(&error),
        target.manifest.id
    ));
    Ok(())
}

/// The environment to go back to by itself, and the way back of the database if it was touched.
fn way_back(
    host: &Host,
    active: &Generation,
    touched: bool,
) -> Result<(Generation, Option<DatabaseRollback>)> {
    let id = &active.manifest.id;
    let held = State::read(host)?.held;
    if held.is_some_and(|held| held.because.is_some() && held.generation == *id) {
        return Err(unknown(format!(
            "the service has already rolled back to {id}"
        )));
    }
    // Tasks share the server's account, and could have it go back from any environment.
    if starts::has_served(host, id) {
        return Err(unknown(format!(
            "{id} has served before, so the service does not roll back from it by itself"
        )));
    }
    let target = choose(host, active, None)?;
    let revision = target.manifest.database_revision.as_ref();
    let revision = revision.filter(|_| target.runs()).ok_or_else(|| {
        unknown(format!(
            "the service cannot roll back to {} by itself",
            target.manifest.id
        ))
    })?;
    let way_back = if touched {
        DatabaseRollback::new(host, &target, revision)?
    } else {
        None
    };
    Ok((target, way_back))
}

fn choose(host: &Host, active: &Generation, id: Option<&str>) -> Result<Generation> {
    let all = Generation::all(host)?;
    let Some(id) = id else {
        let previous = State::read(host)?.previous;
        // What cut a run off before the activation leaves the active one noted as the one before.
        let is_previous = |generation: &Generation| {
            Some(&generation.manifest.id) == previous.as_ref() && generation.path != active.path
        };
        let before = all
            .iter()
            .find(|generation| is_previous(generation))
            .or_else(|| all.iter().find(|generation| generation.path < active.path));
        return before
            .cloned()
            .ok_or_else(|| unknown("no environment from before the active one is left".into()));
    };
    let exact = all.iter().any(|generation| generation.manifest.id == id);
    let mut matching = all.into_iter().filter(|generation| {
        if exact {
            generation.manifest.id == id
        } else {
            generation.manifest.id.starts_with(id)
        }
    });
    match (matching.next(), matching.next()) {
        (Some(only), None) if only.path == active.path => Err(unknown(format!(
            "{} is the active one already",
            only.manifest.id
        ))),
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(unknown(format!("{id} is the beginning of several names"))),
        (None, _) => Err(unknown(format!("no environment is called {id}"))),
    }
}

fn unknown(message: String) -> anyhow::Error {
    Failure::error(
        Kind::Unknown,
        message,
        "covalentctl history lists the environments to go back to",
    )
}
