//! Waiting: the only place where tests sleep.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The first pause: most of what tests wait for is a matter of milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause: what takes long is seen late by this much at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Calls `probe` until it succeeds, and returns what it found.
///
/// An `Err` of the probe means "not yet"; the last one is told when `limit` has
/// passed. A probe that knows it will never succeed returns `Ok(Err(...))`.
///
/// ```
/// # use std::time::Duration;
/// let error = machine::wait_until("the moon", Duration::from_millis(30), || {
///     Err::<(), _>("still new")
/// });
/// assert_eq!(error.unwrap_err().to_string(), "waited 30ms for the moon; last state: still new");
/// ```
pub fn wait_until<T, E: Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let state = match probe() {
            Ok(found) => return Ok(found),
            Err(state) => state,
        };
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            bail!("waited {limit:?} for {what}; last state: {state:#}");
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_succeeds_late_is_waited_for() {
        let mut left = 3;
        let found = wait_until("zero", Duration::from_secs(5), || {
            left -= 1;
            if left == 0 { Ok("zero") } else { Err(left) }
        });
        assert_eq!(found.unwrap(), "zero");
    }

    #[test]
    fn a_probe_that_always_fails_is_called_once_more_at_the_limit() {
        let mut calls = 0;
        let error = wait_until("never", Duration::from_millis(25), || {
            calls += 1;
            Err::<(), _>(calls)
        });
        assert!(calls >= 2);
        assert!(
            error
                .unwrap_err()
                .to_string()
                .ends_with(&format!("last state: {calls}"))
        );
    }
}
