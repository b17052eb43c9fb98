//! The one verb: make the environment what it should be.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::generation::{self, Generation, Modules};
use crate::host::Host;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::state::{FailedAttempt, Lock, State};
use crate::wanted::Wanted;

/// What an application did.
#[derive(Debug)]
pub enum Outcome {
    /// The active generation is what is wanted.
    Unchanged(Generation),
    /// A new generation is active.
    Activated {
        /// The new one.
        generation: Generation,
        /// Where a folder went that somebody had made at the environment's path.
        moved: Option<PathBuf>,
    },
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

/// Makes the environment what it should be, or leaves it as it is and says why not.
///
/// With nothing to do this reads a handful of files; it takes no lock and starts no process.
pub fn apply(host: &Host, caller: Caller, progress: &Progress) -> Result<Outcome> {
    let mut state = State::read(host);
    let known = state.clone();
    match look(host, &mut state, caller, progress) {
        Ok(Some(generation))
            if caller == Caller::Start || !generation::is_incomplete(&generation) =>
        {
            remember(host, &state, &known);
            Ok(Outcome::Unchanged(generation))
        }
        Ok(_) => in_turn(host, caller, progress),
        Err(error) => {
            state.failure = Some(FailedAttempt::new(&error, None));
            remember(host, &state, &known);
            Err(error)
        }
    }
}

/// The active generation, if it is the wanted one or has to do as that; else one has to be made.
fn look(
    host: &Host,
    state: &mut State,
    caller: Caller,
    progress: &Progress,
) -> Result<Option<Generation>> {
    let settings = Settings::read(host)?;
    let wanted = Wanted::read(host, &settings, &mut state.interpreters)?;
    if let Some(generation) = satisfying(host, &wanted) {
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

/// Builds what is wanted once nobody else is at it. What that is has to be read again then: it
/// may have changed, or have been built, while this run waited.
fn in_turn(host: &Host, caller: Caller, progress: &Progress) -> Result<Outcome> {
    // Whatever the caller's mask: the environment is for every user of the machine.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _lock = Lock::acquire(host, progress)?;
    let mut state = State::read(host);
    let known = state.clone();
    let mut fingerprint = None;
    let result = build(host, &mut state, &mut fingerprint, caller, progress);
    state.failure = result
        .as_ref()
        .err()
        .map(|error| FailedAttempt::new(error, fingerprint));
    remember(host, &state, &known);
    result
}

fn build(
    host: &Host,
    state: &mut State,
    fingerprint: &mut Option<String>,
    caller: Caller,
    progress: &Progress,
) -> Result<Outcome> {
    if let Some(generation) = look(host, state, caller, progress)? {
        if generation::is_incomplete(&generation) {
            generation::complete(host, &generation, progress)?;
        }
        return Ok(Outcome::Unchanged(generation));
    }
    let settings = Settings::read(host)?;
    let wanted = Wanted::read(host, &settings, &mut state.interpreters)?;
    *fingerprint = Some(wanted.fingerprint.clone());
    generation::sweep(host)?;
    // A server that runs needs no haste.
    let modules = match caller {
        Caller::Transaction if Generation::active(host).is_none() => Modules::Loaded,
        _ => Modules::All,
    };
    let generation = generation::build(host, &settings, &wanted, modules, progress)
        .context("building a new environment")?;
    let moved = generation.activate(host)?;
    // From here on the new environment is there, whatever becomes of the old ones.
    match generation::prune(host, settings.generations) {
        Ok(removed) => {
            for path in removed {
                progress.say(&format!("removed {}", path.display()));
            }
        }
        Err(error) => progress.warn(&format!(
            "an old environment could not be removed: {error:#}"
        )),
    }
    Ok(Outcome::Activated { generation, moved })
}

/// Writes the state if it has changed. One that can't be written costs the next run some time,
/// and this one nothing: its result is what the caller has to see.
fn remember(host: &Host, state: &State, known: &State) {
    if state != known {
        drop(state.write(host));
    }
}

/// The active generation, if it is what is wanted and its interpreter is there.
fn satisfying(host: &Host, wanted: &Wanted) -> Option<Generation> {
    Generation::active(host).filter(|generation| {
        generation.manifest.fingerprint == wanted.fingerprint && generation.has_interpreter()
    })
}
