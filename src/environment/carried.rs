//! What somebody installed by hand, which is part of every later environment.

use anyhow::Result;

use super::generation::{self, Changes, Generation};
use super::state::State;
use crate::system::failpoint;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Remembers what somebody installed into the active environment by hand, as Covalent's
/// documentation says to, so that it is part of the next one, but for the names in `forget`.
/// Only for the holder of the lock.
pub fn carry(
    host: &Host,
    active: &Generation,
    state: &mut State,
    forget: &[String],
    progress: &Progress,
) -> Result<()> {
    let known = state.carried.clone();
    let Changes {
        mut added,
        replaced,
        missing,
    } = generation::changes(active);
    for name in missing.iter().chain(forget) {
        state.carried.remove(name);
        added.remove(name);
    }
    let mut fixed = replaced;
    for (name, version) in &active.manifest.carried {
        if let Some(new) = fixed.remove(name).filter(|new| new != version) {
            state.carried.insert(name.clone(), new);
        }
    }
    if !fixed.is_empty() {
        progress.warn(&format!(
            "{} had been installed by hand in place of other versions, which are back: what \
             Covalent was tested with stays as it is",
            generation::sentence(&fixed)
        ));
    }
    if !added.is_empty() {
        let names: Vec<&str> = added.keys().map(String::as_str).collect();
        progress.say(&format!(
            "installed by hand and carried over: {}; to make it permanent: covalentctl add {}",
            generation::sentence(&added),
            names.join(" ")
        ));
        state.carried.extend(added);
    }
    if state.carried != known {
        // Before anything is built: a run that is cut off must not forget it.
        state.write(host)?;
        failpoint::pass("carried");
    }
    Ok(())
}
