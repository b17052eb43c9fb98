//! Whether this host can boot machines at all.

use std::env;
use std::fs;
use std::path::Path;

/// The programs that boot and enter a machine, and the Debian packages they are in.
const PROGRAMS: [(&str, &str); 7] = [
    ("systemd-nspawn", "systemd-container"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("flock", "util-linux"),
    ("findmnt", "util-linux"),
    ("ip", "iproute2"),
];

/// Whether machines can be booted here; otherwise why not, and what to type.
pub(crate) fn available() -> Result<(), String> {
    for (program, package) in PROGRAMS {
        if !is_on_path(program) {
            return Err(format!(
                "{program} is missing; type: apt-get install {package}"
            ));
        }
    }
    if effective_user() != Some(0) {
        return Err("only root can boot machines; run the tests as root".into());
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| is_file(&directory.join(program)))
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// The effective user, the second number of the `Uid:` line in proc_pid_status(5).
fn effective_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
