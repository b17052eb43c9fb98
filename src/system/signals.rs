//! Signals that this process notices in its own time.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::{register_conditional_default, register_usize};

/// Signals that ask the process to end.
const ENDING: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Signals that ask the process to end: while this lives, they are noticed and do nothing else.
/// Afterwards they end the process, as they do by default. There is one at a time.
pub struct Signals(&'static Handlers);

/// What handles them, which stays once it is there (signal_hook).
struct Handlers {
    /// The last one that came.
    came: Arc<AtomicUsize>,
    /// Whether to do what the kernel would.
    unnoticed: Arc<AtomicBool>,
}

static HANDLERS: OnceLock<Handlers> = OnceLock::new();

impl Signals {
    /// From now on.
    pub fn noticed() -> Result<Signals> {
        let handlers = match HANDLERS.get() {
            Some(handlers) => handlers,
            None => {
                let installed = Handlers::install().context("catching signals")?;
                HANDLERS.get_or_init(|| installed)
            }
        };
        handlers.came.store(0, Ordering::SeqCst);
        handlers.unnoticed.store(false, Ordering::SeqCst);
        Ok(Signals(handlers))
    }

    /// The one that came, once.
    pub fn heed(&self) -> Option<Signal> {
        let number = i32::try_from(self.0.came.swap(0, Ordering::SeqCst)).ok()?;
        Signal::from_named_raw(number)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.0.unnoticed.store(true, Ordering::SeqCst);
    }
}

impl Handlers {
    fn install() -> std::io::Result<Handlers> {
        let handlers = Handlers {
            came: Arc::default(),
            unnoticed: Arc::default(),
        };
        for signal in ENDING.into_iter().filter(is_not_ignored()) {
            let number = usize::try_from(signal).unwrap_or_default();
            register_conditional_default(signal, Arc::clone(&handlers.unnoticed))?;
            register_usize(signal, Arc::clone(&handlers.came), number)?;
        }
        Ok(handlers)
    }
}

/// What whoever started this process has it ignore, as nohup(1) does, stays ignored
/// (proc_pid_status(5)).
fn is_not_ignored() -> impl FnMut(&i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    let mask = mask.unwrap_or_default();
    move |signal| mask & (1 << (signal - 1)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output};
    use std::thread;
    use std::time::Duration;

    /// The variable that has [`noticing`] do something.
    const VARIABLE: &str = "COVALENTCTL_NOTICES_SIGNALS";

    fn send(signal: Signal) {
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
    }

    fn heeded(signals: &Signals) -> Option<Signal> {
        (0..1000).find_map(|_| {
            thread::sleep(Duration::from_millis(1));
            signals.heed()
        })
    }

    /// What the test below runs in a process of its own.
    #[test]
    fn noticing() {
        if std::env::var_os(VARIABLE).is_none() {
            return;
        }
        for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
            let signals = Signals::noticed().unwrap();
            send(signal);
            assert_eq!(heeded(&signals), Some(signal));
        }
        send(Signal::INT);
        thread::sleep(Duration::from_secs(10));
    }

    /// Runs it with every signal as it is by default, but for what `option` of env(1) says.
    fn run(option: &str) -> Output {
        let mut command = Command::new("env");
        command
            .args(["--default-signal", option])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "system::signals::tests::noticing"]);
        command.env(VARIABLE, "").output().unwrap()
    }

    #[test]
    fn when_nobody_notices_any_more_they_end_the_process() {
        let output = run("--default-signal=INT");
        assert_eq!(output.status.signal(), Some(SIGINT), "{output:?}");
    }

    #[test]
    fn what_whoever_started_the_process_has_it_ignore_stays_ignored() {
        // The test inside waits in vain for the hang-up, and for nothing before it.
        let said = String::from_utf8(run("--ignore-signal=HUP").stdout).unwrap();
        let in_vain = format!("left: None\n right: {:?}", Some(Signal::HUP));
        assert!(said.contains(&in_vain), "{said}");
    }
}
