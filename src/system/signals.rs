//! Signals that this process notices in its own time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Signals that ask the process to end: while this lives, they are noticed and do nothing else.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on.
    pub fn noticed() -> Result<Signals> {
        let flag = Arc::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&flag), number)
                .context("catching signals")?;
        }
        Ok(Signals(flag))
    }

    /// The one that came, once.
    pub fn heed(&self) -> Option<Signal> {
        let number = i32::try_from(self.0.swap(0, Ordering::Relaxed)).ok()?;
        Signal::from_named_raw(number)
    }
}
