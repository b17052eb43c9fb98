//! The one verb: make the environment what it should be.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::generation::{self, Generation};
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

/// Whether an attempt that failed is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Somebody asked for it.
    Always,
    /// Not while an environment works and the same attempt has failed before: at every start of
    /// the service it would only cost time.
    UnlessHopeless,
}

/// Makes the environment what it should be, or leaves it as it is and says why not.
///
/// With nothing to do this reads a handful of files; it takes no lock and starts no process.
pub fn apply(host: &Host, retry: Retry, progress: &Progress) -> Result<Outcome> {
    let mut state = State::read(host);
    let known = (state.interpreters.len(), state.failure.is_some());
    let result = attempt(host, &mut state, retry, progress);
    match &result {
        Ok(_) if known == (state.interpreters.len(), state.failure.is_some()) => {}
        // A state that can't be written costs the next run some time, and this one nothing.
        Ok(_) => drop(state.write(host)),
        Err(Attempt {
            error, fingerprint, ..
        }) => {
            state.failure = Some(FailedAttempt::new(error, fingerprint.clone()));
            // The error itself is what the caller has to see, whatever becomes of its record.
            drop(state.write(host));
        }
    }
    result.map_err(|attempt| attempt.error)
}

/// A failure, and what was wanted as far as that was known.
struct Attempt {
    error: anyhow::Error,
    fingerprint: Option<String>,
}

fn attempt(
    host: &Host,
    state: &mut State,
    retry: Retry,
    progress: &Progress,
) -> Result<Outcome, Attempt> {
    let unknown = |error| Attempt {
        error,
        fingerprint: None,
    };
    let settings = Settings::read(host).map_err(unknown)?;
    let wanted = Wanted::read(host, &settings, &mut state.interpreters).map_err(unknown)?;
    if let Some(generation) = satisfying(host, &wanted) {
        state.failure = None;
        return Ok(Outcome::Unchanged(generation));
    }
    if let (Retry::UnlessHopeless, Some(failure)) = (retry, &state.failure)
        && failure.fingerprint.as_ref() == Some(&wanted.fingerprint)
        && let Some(generation) = Generation::active(host).filter(Generation::runs)
    {
        progress.warn(&format!(
            "the environment is not the wanted one, which could not be built: {} \
             (covalentctl apply tries again)",
            failure.message
        ));
        return Ok(Outcome::Unchanged(generation));
    }
    let outcome = build(host, &settings, &wanted, progress).map_err(|error| Attempt {
        error,
        fingerprint: Some(wanted.fingerprint),
    })?;
    state.failure = None;
    Ok(outcome)
}

fn build(
    host: &Host,
    settings: &Settings,
    wanted: &Wanted,
    progress: &Progress,
) -> Result<Outcome> {
    // Whatever the caller's mask: the environment is for every user of the machine.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _lock = Lock::acquire(host, progress)?;
    generation::sweep(host)?;
    if let Some(generation) = satisfying(host, wanted) {
        return Ok(Outcome::Unchanged(generation));
    }
    let generation = generation::build(host, settings, wanted, progress)
        .context("building a new environment")?;
    let moved = generation.activate(host)?;
    for path in generation::prune(host, settings.generations)? {
        progress.say(&format!("removed {}", path.display()));
    }
    Ok(Outcome::Activated { generation, moved })
}

/// The active generation, if it is what is wanted and its interpreter is there.
fn satisfying(host: &Host, wanted: &Wanted) -> Option<Generation> {
    Generation::active(host).filter(|generation| {
        generation.manifest.fingerprint == wanted.fingerprint && generation.has_interpreter()
    })
}
