//! Points at which a test ends the program as a power cut would.
//!
//! Only a debug build has them: what the packages ship has no such switch.

/// The environment variable that names the point to end at.
#[cfg(debug_assertions)]
const VARIABLE: &str = "COVALENTCTL_FAILPOINT";

/// Every point, in the order in which a run may come by them.
pub const ALL: [&str; 16] = [
    "edited",
    "locked",
    "swept",
    "carried",
    "started",
    "shared",
    "resolved",
    "installed",
    "compiled",
    "verified",
    "ready",
    "linked",
    "activated",
    "unready",
    "pruned",
    "held",
];

/// Ends the program here, without any clean-up, if the environment names this point.
pub fn pass(name: &'static str) {
    debug_assert!(ALL.contains(&name), "{name} is in no list");
    #[cfg(debug_assertions)]
    if std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
