//! The one verb: make the environment what it should be.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::carried::carry;
use super::generation::{self, Blueprint, Generation, Modules, Resolution};
use super::own_requirements;
use super::state::{FailedAttempt, State};
use super::wanted::Wanted;
use crate::settings::Settings;
use crate::system::failpoint;
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::space;
use crate::system::turn::Turn;

/// A new environment in its place.
#[derive(Debug)]
pub struct Activated {
    /// The generation.
    pub generation: Generation,
    /// Where a folder went that somebody had made at the environment's path.
    pub moved: Option<PathBuf>,
}

/// Who wants the environment, which decides how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who waits for an environment with everything in it.
    Administrator,
    /// The unit, at every start: while an environment works, what has failed before is not tried
    /// again, and nothing is completed that can wait.
    Start,
    /// The packages' scripts. The first start of the server should come soon: what it does not
    /// load is compiled by their second call.
    Transaction,
}

/// What an application is to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who wants it.
    pub caller: Caller,
    /// Whether the versions of the administrator's packages stay.
    pub resolution: Resolution,
    /// Build a new environment whatever there is, and share no file with the one before.
    pub rebuild: bool,
    /// Names of packages that somebody installed by hand, not to be carried over any more.
    pub forget: Vec<String>,
}

impl Request {
    /// What every caller wants: an environment as it should be, and nothing new otherwise.
    pub fn of(caller: Caller) -> Request {
        Request {
            caller,
            resolution: Resolution::Keep,
            rebuild: false,
            forget: Vec::new(),
        }
    }

    /// Whether the active environment can satisfy it.
    fn is_modest(&self) -> bool {
        !self.rebuild && self.resolution == Resolution::Keep && self.forget.is_empty()
    }
}

/// Makes the environment what it should be, or leaves it as it is and says why not. Returns the
/// new one, if there had to be one.
///
/// With nothing to do this reads a handful of files; it takes no lock and starts no process.
pub fn apply(host: &Host, request: &Request, progress: &Progress) -> Result<Option<Activated>> {
    if request.is_modest() {
        let mut state = State::read(host)?;
        let known = state.clone();
        match look(host, &mut state, request.caller, progress) {
            Ok(Some(generation))
                if request.caller == Caller::Start || is_tidy(host, &generation, &state) =>
            {
                remember(host, &state, &known);
                return Ok(None);
            }
            // What was asked of an interpreter is not asked again.
            Ok(_) => remember(host, &state, &known),
            Err(error) => {
                state.failure = Some(FailedAttempt::new(&error, None));
                remember(host, &state, &known);
                return Err(error);
            }
        }
    }
    let turn = Turn::acquire(host, progress)?;
    own_requirements::recover(host, &turn)?;
    apply_in_turn(host, request, progress, &turn)
}

/// Whether nothing is left to do beside the active generation, nor to take back.
fn is_tidy(host: &Host, active: &Generation, state: &State) -> bool {
    // Settings that can't be read keep nothing from being removed later.
    let keep = Settings::read(host).map_or(usize::MAX, |settings| settings.generations);
    !host.requirements_before().exists()
        && !generation::is_incomplete(host, active)
        && !generation::is_untidy(host, keep, state.previous.as_deref())
}

/// The active generation, if it is the wanted one or has to do as that; else one has to be made.
fn look(
    host: &Host,
    state: &mut State,
    caller: Caller,
    progress: &Progress,
) -> Result<Option<Generation>> {
    let settings = Settings::read(host)?;
    let wanted = Wanted::read(host, &settings, state)?;
    if let Some(generation) = satisfying(host, &wanted, state) {
        state.failure = None;
        return Ok(Some(generation));
    }
    if let (Caller::Start, Some(failure)) = (caller, &state.failure)
        && failure.fingerprint.as_ref() == Some(&wanted.fingerprint)
        && let Some(generation) = Generation::active(host).filter(Generation::runs)
    {
        progress.warn(&format!(
            "the environment is not the wanted one, which could not be built: {} \
             (covalentctl apply tries again)",
            failure.message
        ));
        return Ok(Some(generation));
    }
    Ok(None)
}

/// Makes the environment what it should be, for the holder of the turn. What is wanted has to be
/// read again then: it may have changed, or have been built, while others had theirs.
pub fn apply_in_turn(
    host: &Host,
    request: &Request,
    progress: &Progress,
    _turn: &Turn,
) -> Result<Option<Activated>> {
    // Whatever the caller's mask: the environment is for every user of the machine.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    failpoint::pass("locked");
    let mut state = State::read(host)?;
    let known = state.clone();
    let mut fingerprint = None;
    let result =
        build(host, &mut state, &mut fingerprint, request, progress).map_err(space::diagnose);
    state.failure = result
        .as_ref()
        .err()
        .map(|error| FailedAttempt::new(error, fingerprint));
    if state != known {
        // One that can't be written costs the next run some time, and this one nothing: its result
        // is what the caller has to see.
        let _ = state.write(host);
    }
    result
}

fn build(
    host: &Host,
    state: &mut State,
    fingerprint: &mut Option<String>,
    request: &Request,
    progress: &Progress,
) -> Result<Option<Activated>> {
    generation::sweep(host)?;
    if request.is_modest()
        && let Some(generation) = look(host, state, request.caller, progress)?
    {
        if generation::is_incomplete(host, &generation) {
            generation::complete(host, &generation, progress)?;
        }
        prune(host, Settings::read(host)?.generations, state, progress);
        return Ok(None);
    }
    let active = Generation::active(host);
    if let Some(active) = &active {
        carry(host, active, state, &request.forget, progress)?;
    }
    let settings = Settings::read(host)?;
    let wanted = Wanted::read(host, &settings, state)?;
    *fingerprint = Some(wanted.fingerprint.clone());
    let blueprint = Blueprint {
        wanted: &wanted,
        settings: &settings,
        before: active.as_ref(),
        share: !request.rebuild,
        resolution: request.resolution,
        // Only a service that has never run is waited for.
        modules: match request.caller {
            Caller::Transaction if active.is_none() && host.first_installation().exists() => {
                Modules::Loaded
            }
            _ => Modules::All,
        },
    };
    let before = active.as_ref().map(|active| active.manifest.id.clone());
    let built =
        generation::build(host, &blueprint, progress).context("building a new environment")?;
    let Some(generation) = built else {
        return Ok(None);
    };
    if request.caller == Caller::Transaction {
        // Before the environment is there: cut off in between, a restart too many is harmless.
        file::write(&host.restart_mark(), b"", 0o644)?;
    }
    state.held = None;
    state.previous = before;
    let moved = generation.activate(host)?;
    prune(host, settings.generations, state, progress);
    Ok(Some(Activated { generation, moved }))
}

/// Removes old environments. Whatever becomes of them, the active one is there.
fn prune(host: &Host, keep: usize, state: &State, progress: &Progress) {
    match generation::prune(host, keep, state.previous.as_deref()) {
        Ok(removed) => {
            for path in removed {
                progress.say(&format!("removed {}", path.display()));
            }
        }
        Err(error) => progress.warn(&format!(
            "an old environment could not be removed: {error:#}"
        )),
    }
}

/// Writes what a run without the lock has found out, unless somebody is at work: then it is found
/// out again.
fn remember(host: &Host, found: &State, known: &State) {
    if found == known {
        return;
    }
    if let Ok(Some(_turn)) = Turn::try_acquire(host)
        && let Ok(mut state) = State::read(host)
    {
        state.interpreters = found.interpreters.clone();
        state.failure = found.failure.clone();
        if let (Some(held), Some(found)) = (&mut state.held, &found.held)
            && held.generation == found.generation
        {
            held.instead_of = found.instead_of.clone();
        }
        let _ = state.write(host);
    }
}

/// The active generation, if it is what is wanted and nobody has changed it, and its interpreter
/// is there; or if the administrator went back to it since that was wanted.
fn satisfying(host: &Host, wanted: &Wanted, state: &mut State) -> Option<Generation> {
    let active = Generation::active(host).filter(Generation::has_interpreter)?;
    if let Some(held) = &mut state.held
        && held.generation == active.manifest.id
        && active.manifest.fingerprint != wanted.fingerprint
    {
        // Where it could not be read what was wanted at the time, it is what can be read first.
        let instead_of = held
            .instead_of
            .get_or_insert_with(|| wanted.fingerprint.clone());
        return (*instead_of == wanted.fingerprint).then_some(active);
    }
    let is_it = active.manifest.fingerprint == wanted.fingerprint
        && generation::changes(&active).is_empty();
    is_it.then_some(active)
}
