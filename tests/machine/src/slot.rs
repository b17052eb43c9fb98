//! How many machines run at a time, over all test programs.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::wait_until;

/// The development machine and CI have two cores, and a machine keeps less than half of one busy.
const SLOTS: usize = 5;

/// Longer than any one test holds its machine.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The right to run a machine; the kernel takes it back when the holder dies.
#[derive(Debug)]
pub(crate) struct Slot {
    _lock: File,
}

impl Slot {
    /// Waits for one of the slots, which are lock files in `machines`.
    pub(crate) fn take(machines: &Path) -> Result<Slot> {
        let files = (0..SLOTS)
            .map(|number| {
                let path = machines.join(format!("slot-{number}.lock"));
                File::create(&path).with_context(|| format!("cannot make {}", path.display()))
            })
            .collect::<Result<Vec<_>>>()?;
        let lock = wait_until("one of the other machines to end", LIMIT, || {
            for file in &files {
                match file.try_lock() {
                    Ok(()) => return Ok(file.try_clone()),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Ok(Err(error)),
                }
            }
            Err(format!(
                "{SLOTS} machines are running (locks in {})",
                machines.display()
            ))
        })?;
        Ok(Slot { _lock: lock? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_its_holder_is_gone() {
        let machines = tempfile::tempdir().unwrap();
        let first = Slot::take(machines.path()).unwrap();
        let _second = Slot::take(machines.path()).unwrap();
        let locked = File::open(machines.path().join("slot-0.lock")).unwrap();
        assert!(locked.try_lock().is_err());
        drop(first);
        // Another test's child may hold a copy of the descriptor until it execs.
        wait_until("the slot", Duration::from_secs(5), || locked.try_lock()).unwrap();
    }
}
