//! What the server needs of the machine itself.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::verdict::{Verdict, bad, doubtful, first, from_error, good};
use crate::data::backup;
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::command::Command;
use crate::system::host::Host;
use crate::system::mount;
use crate::system::space::{self, Need};
use crate::system::systemd;

/// A clock that is behind by less may just not be set yet, or set in another time zone.
const BEHIND: SignedDuration = SignedDuration::from_hours(24);

/// systemd-timedated starts for the question.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);

/// Results and the database grow; a server that can't write them fails.
const DATA: Need = Need {
    what: "a day of workflows",
    bytes: 100_000_000,
    files: 1_000,
};

/// Whether the clock can be right: certificates are refused by a wrong one, and the order of
/// environments and backups is that of their times.
pub(super) fn clock(host: &Host) -> Verdict {
    let made = Generation::active(host).map(|generation| generation.manifest.made);
    let packaged = fs::metadata(host.shipped_lock()).and_then(|metadata| metadata.modified());
    let packaged = packaged
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok());
    let timedatectl = Command::new("timedatectl", QUESTION_LIMIT)
        .args(["show", "--property=NTP,NTPSynchronized"]);
    let said = if systemd::is_running(host) {
        timedatectl
            .output()
            .map_or(String::new(), |output| output.stdout)
    } else {
        String::new()
    };
    judge(Timestamp::now(), made.max(packaged), &said)
}

/// `known` is a time that has passed; `said` is what timedatectl(1) says.
fn judge(now: Timestamp, known: Option<Timestamp>, said: &str) -> Verdict {
    if let Some(known) = known.filter(|known| known.duration_since(now) > BEHIND) {
        return bad(
            format!(
                "it is {now:.0} by this machine's clock, and the environment or the package was \
                 made at {known:.0}"
            ),
            "sudo timedatectl set-ntp true, or: sudo date --set=...",
        );
    }
    let says = |line: &str| said.lines().any(|found| found == line);
    if says("NTP=yes") && says("NTPSynchronized=no") {
        doubtful(
            "it should be synchronised over the network, and has not been yet",
            "timedatectl timesync-status, unless the machine was just started",
        )
    } else {
        good(format!("{now:.0}"))
    }
}

/// Whether there is room for what is to come.
pub(super) fn disk(host: &Host) -> Verdict {
    let places = Places::read(host).ok();
    let database = match places.as_ref().map(|places| &places.database) {
        Some(Database::File(file)) => Some(file),
        _ => None,
    };
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let data = places
        .as_ref()
        .map_or(host.data(), |places| places.data.clone());
    let mut running = vec![(data, DATA)];
    if let Some(file) = database {
        // A migration works on a copy.
        let bytes = DATA.bytes.max(size(file));
        running.push((file.clone(), Need { bytes, ..DATA }));
    }
    let backup = Need {
        what: "a backup",
        bytes: backup::newest(host).map_or(0, |path| size(&path)),
        files: 1,
    };
    let shared = Generation::active(host).is_some();
    let later = [
        (host.generations(), space::of_environment(shared)),
        (host.backups(), backup),
    ];
    match (lacks(&running), lacks(&later)) {
        (Err(error), _) | (_, Err(error)) => from_error(&error),
        (Ok(lacks), _) if !lacks.is_empty() => bad(first(&lacks), "make space on that file system"),
        (_, Ok(lacks)) if !lacks.is_empty() => {
            doubtful(first(&lacks), "make space on that file system")
        }
        _ => good("there is room for workflows, an environment and a backup"),
    }
}

fn lacks(needs: &[(PathBuf, Need)]) -> anyhow::Result<Vec<String>> {
    let mut lacks = Vec::new();
    for (path, need) in needs {
        // Some are made when they are needed.
        let there = path.ancestors().find(|path| path.exists());
        lacks.extend(space::lack(there.unwrap_or(path), *need)?);
    }
    Ok(lacks)
}

/// Whether code can be run where it is installed.
pub(super) fn mounts(host: &Host) -> Verdict {
    let mut folders = vec![host.generations(), host.uv()];
    let active = Generation::active(host);
    folders.extend(active.map(|generation| generation.manifest.interpreter.path));
    let line = |path: &PathBuf, mount: &Path| {
        format!(
            "{} is on {}, which is mounted noexec",
            path.display(),
            mount.display()
        )
    };
    for path in &folders {
        if let Some(mount) = mount::noexec(path) {
            return bad(line(path, &mount), mount::cure(&mount));
        }
    }
    // What a task installs with ct.DepsPip is below it.
    match mount::noexec(&host.data()) {
        Some(mount) => doubtful(
            format!(
                "{}, so tasks can't load compiled packages that ct.DepsPip installs",
                line(&host.data(), &mount)
            ),
            format!("{}, unless that is meant", mount::cure(&mount)),
        ),
        None => good("code can be run where it is installed"),
    }
}

/// Whether the machine knows itself by the name that the server listens on.
pub(super) fn localhost(_: &Host) -> Verdict {
    // Covalent listens on IPv4 only.
    let mut found = ("localhost", 0).to_socket_addrs().into_iter().flatten();
    if found.any(|address| address.is_ipv4() && address.ip().is_loopback()) {
        good("resolves to this machine")
    } else {
        bad(
            "localhost does not resolve to an IPv4 address of this machine, and the server needs it",
            "add the line \"127.0.0.1 localhost\" to /etc/hosts",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_where_it_is_behind_what_has_happened() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-25T12:00:00Z");
        let judge = |known: &str, said| format!("{:?}", judge(now, Some(at(known)), said));
        assert!(judge("2026-11-25T18:00:00Z", "").starts_with("Good"));
        let behind = judge("2027-01-01T00:00:00Z", "");
        assert!(
            behind.starts_with("Bad") && behind.contains("set-ntp true"),
            "{behind}"
        );
        assert!(behind.contains("2026-11-25T12:00:00Z"), "{behind}");
        let before = "2026-01-01T00:00:00Z";
        assert!(judge(before, "NTP=yes\nNTPSynchronized=no\n").contains("timesync-status"));
        assert!(judge(before, "NTP=yes\nNTPSynchronized=yes\n").starts_with("Good"));
        assert!(judge(before, "NTP=no\nNTPSynchronized=no\n").starts_with("Good"));
    }
}
