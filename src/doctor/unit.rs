//! The unit, as its package and its administrator have written it.

use std::path::PathBuf;

use super::verdict::{Verdict, bad, doubtful, good, skipped};
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::sandbox::is_bound;
use crate::system::systemd::{self, words};

/// How the names of the properties begin that make up the sandbox.
const SANDBOX: [&str; 8] = [
    "Protect",
    "Private",
    "Restrict",
    "NoNewPrivileges",
    "LockPersonality",
    "SystemCall",
    "InaccessiblePaths",
    "CapabilityBoundingSet",
];

/// Properties for which an empty value is the strictest (systemd.exec(5)).
const EMPTY_IS_STRICT: [&str; 2] = ["CapabilityBoundingSet", "AmbientCapabilities"];

/// Values from the weakest to the strictest; any other, such as a list, is like "yes".
const WEAK: [&str; 3] = ["", "no", "default"];
const STRICT: [&str; 2] = ["full", "strict"];

/// What systemd 239 shows in the place of a path with a space in it.
const UNPRINTABLE: &str = "[unprintable]";

const NO_SYSTEMD: &str = "systemd is not running";

/// Whether the service runs.
pub(super) fn service(host: &Host) -> Verdict {
    let shown = systemd::show(
        host,
        &["ActiveState", "SubState", "NRestarts", "UnitFileState"],
    );
    let property = |name: &str| shown.get(name).map_or("", String::as_str);
    let name = Role::of(host).service();
    if shown.is_empty() {
        return doubtful(
            format!("{NO_SYSTEMD}, so neither is the service"),
            "covalentctl serve",
        );
    }
    match (property("UnitFileState"), property("ActiveState")) {
        ("masked", _) => doubtful("it is masked", format!("systemctl unmask {name}")),
        (_, "active") => good("active"),
        (_, "failed") => bad(
            "it has failed",
            format!("covalentctl logs -n 50 says why; then: systemctl restart {name}"),
        ),
        // There is no limit of tries.
        (_, "activating")
            if property("SubState") == "auto-restart"
                || !["", "0"].contains(&property("NRestarts")) =>
        {
            bad(
                "it keeps ending, and systemd keeps starting it again",
                "covalentctl logs -n 50 says why",
            )
        }
        (_, other) => doubtful(format!("it is {other}"), format!("systemctl start {name}")),
    }
}

/// Whether the unit is the package's own, as systemd has read it.
pub(super) fn overridden(host: &Host) -> Verdict {
    let shown = systemd::show(host, &["FragmentPath", "DropInPaths", "NeedDaemonReload"]);
    let property = |name: &str| shown.get(name).map_or("", String::as_str);
    let name = Role::of(host).service();
    let (fragment, changes) = (property("FragmentPath"), property("DropInPaths"));
    if shown.is_empty() {
        skipped(NO_SYSTEMD)
    } else if fragment.starts_with("/etc/") || fragment.starts_with("/run/") {
        doubtful(
            format!("{fragment} stands in for the package's unit and gets none of its updates"),
            format!("rm {fragment} and use `systemctl edit {name}` for what you changed"),
        )
    } else if property("NeedDaemonReload") == "yes" {
        doubtful(
            "its files have changed since systemd read them",
            format!("sudo systemctl daemon-reload; sudo systemctl restart {name}"),
        )
    } else if changes.is_empty() {
        good(fragment)
    } else {
        good(format!("{fragment}, with the changes of {changes}"))
    }
}

/// Whether what the unit denies to tasks is still denied.
pub(super) fn sandbox(host: &Host) -> Verdict {
    let role = Role::of(host);
    let wanted: Vec<(&str, &str)> = sandbox_of(role.unit_file()).collect();
    let mut names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    names.extend(["User", "DropInPaths"]);
    let shown = systemd::show(host, &names);
    let property = |name: &str| shown.get(name).map(String::as_str);
    if shown.is_empty() {
        return skipped(format!(
            "{NO_SYSTEMD}, so only the container confines tasks"
        ));
    }
    let changes = property("DropInPaths").unwrap_or_default();
    let cure = format!(
        "systemctl cat {0} shows where; sudo systemctl revert {0} undoes all your changes",
        role.service()
    );
    if ["", "root", "0"].contains(&property("User").unwrap_or_default()) {
        return bad(
            format!("everybody who reaches the server is root: User= is not set ({changes})"),
            cure,
        );
    }
    let weaker: Vec<String> = wanted
        .iter()
        .filter_map(|(name, wanted)| {
            // A systemd that does not know it says nothing.
            let there = property(name)?;
            is_weaker(name, there, wanted).then(|| format!("{name}={there}"))
        })
        .collect();
    if weaker.is_empty() {
        good("as the package has it")
    } else {
        doubtful(
            format!(
                "tasks may do more than the package lets them: {} ({changes})",
                weaker.join(", ")
            ),
            format!("{cure}, unless that is meant"),
        )
    }
}

/// The paths that the sandbox makes read-only, whoever owns them.
pub(super) fn closed<'a>(host: &Host, paths: &'a [PathBuf]) -> Vec<&'a PathBuf> {
    let shown = systemd::show(host, &["ProtectSystem", "ReadWritePaths", "BindPaths"]);
    let property = |name: &str| shown.get(name).map_or("", String::as_str);
    let folders = words(property("ReadWritePaths"));
    let mut closed = match property("ProtectSystem") {
        "strict" => outside(&folders, paths),
        _ => Vec::new(),
    };
    closed.retain(|path| !is_bound(property("BindPaths"), path));
    closed
}

/// The paths that are outside the folders of a property such as `-/a /b` (systemd.exec(5)). None where one of
/// the folders is not shown: it may be the one that the path is in.
fn outside<'a>(folders: &[String], paths: &'a [PathBuf]) -> Vec<&'a PathBuf> {
    if folders.iter().any(|folder| folder == UNPRINTABLE) {
        return Vec::new();
    }
    let folders: Vec<&str> = folders
        .iter()
        .map(|folder| folder.trim_start_matches(['-', '+']))
        .collect();
    let is_outside = |path: &&PathBuf| !folders.iter().any(|folder| path.starts_with(folder));
    paths.iter().filter(is_outside).collect()
}

/// The properties of a unit that make up its sandbox; of a list, the first line.
fn sandbox_of(unit: &str) -> impl Iterator<Item = (&str, &str)> {
    let assignments = unit.lines().filter_map(|line| line.split_once('='));
    assignments.filter(|(name, _)| SANDBOX.iter().any(|start| name.starts_with(start)))
}

fn is_weaker(name: &str, there: &str, wanted: &str) -> bool {
    if EMPTY_IS_STRICT.contains(&name) {
        return wanted.is_empty() && !there.is_empty();
    }
    strictness(there) < strictness(wanted)
}

fn strictness(value: &str) -> usize {
    let strict = STRICT.iter().position(|strict| *strict == value);
    match strict {
        Some(position) => 2 + position,
        None => usize::from(!WEAK.contains(&value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_is_read_off_the_unit() {
        for role in [Role::Server, Role::Worker] {
            let sandbox = sandbox_of(role.unit_file());
            let names: Vec<&str> = sandbox.map(|(name, _)| name).collect();
            for name in ["NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet"] {
                assert!(names.contains(&name), "{name}");
            }
            assert!(!names.contains(&"ExecStart"));
        }
    }

    #[test]
    fn a_path_in_no_folder_of_the_property_is_outside() {
        let paths = ["/a/x", "/ab", "/b", "/c d/x"].map(PathBuf::from);
        let outside = |folders| outside(&words(folders), &paths);
        assert_eq!(outside(r#"-/a /b "-/c d""#), [&paths[1]]);
        assert_eq!(outside("").len(), 4);
        assert!(outside("/a [unprintable]").is_empty());
    }

    #[test]
    fn less_is_weaker_and_more_is_not() {
        for (name, there, wanted, weaker) in [
            ("NoNewPrivileges", "no", "yes", true),
            ("NoNewPrivileges", "yes", "yes", false),
            ("ProtectSystem", "yes", "full", true),
            ("ProtectSystem", "strict", "full", false),
            ("ProtectProc", "default", "invisible", true),
            ("ProtectProc", "noaccess", "invisible", false),
            ("SystemCallFilter", "", "@system-service", true),
            ("SystemCallFilter", "read write", "@system-service", false),
            ("CapabilityBoundingSet", "cap_sys_admin", "", true),
            ("CapabilityBoundingSet", "", "", false),
        ] {
            assert_eq!(is_weaker(name, there, wanted), weaker, "{name}={there}");
        }
    }
}
