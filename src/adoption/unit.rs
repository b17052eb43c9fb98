//! The unit that somebody wrote by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::system::command::Command;
use crate::system::file;
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::systemd;

/// systemd reads its files again, or changes a link.
const LIMIT: Duration = Duration::from_secs(60);

/// What the package's unit sets, and upstream's instructions do.
const OURS: [&str; 3] = ["VIRTUAL_ENV", "PATH", "HOME"];

/// The unit that stood at the place of the package's own.
#[derive(Debug)]
pub struct Replaced {
    /// Where a copy of it is.
    pub copy: PathBuf,
    /// What it set in the server's environment and the package's does not.
    pub variables: Vec<String>,
}

/// The hand-written unit that the package's has replaced, as its scripts have kept it.
pub fn replaced(host: &Host) -> Option<Replaced> {
    let copy = host.state().join("covalent.service.before");
    let text = fs::read_to_string(&copy).ok()?;
    let set = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Environment="));
    let is_own = |assignment: &&str| {
        let name = assignment.trim_matches('"').split('=').next();
        name.is_some_and(|name| !OURS.contains(&name))
    };
    let variables = set.filter(is_own).map(String::from).collect();
    Some(Replaced { copy, variables })
}

/// The unit below /etc that hides the package's, if there is one.
pub(super) fn hiding(host: &Host) -> Option<PathBuf> {
    let fragment = systemd::show(host, &["FragmentPath"]).remove("FragmentPath")?;
    let path = PathBuf::from(fragment);
    let is_file = path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file());
    (path.starts_with("/etc") && is_file).then_some(path)
}

/// Moves it aside, and lets the package's count. Returns where it is.
pub(super) fn put_aside(host: &Host, path: &Path) -> Result<PathBuf> {
    let enabled = systemd::show(host, &["UnitFileState"]).remove("UnitFileState");
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let aside = file::with_end(path, &format!(".before-adopt-{now}"));
    fs::rename(path, &aside)
        .with_context(|| format!("moving {} to {}", path.display(), aside.display()))?;
    systemctl(&["daemon-reload"])?;
    if enabled.is_some_and(|state| state == "enabled") {
        // The link that enables it leads to where the file was.
        systemctl(&["reenable", Role::Server.unit()])?;
    }
    Ok(aside)
}

/// Has systemd let the server write in folders outside of its home.
pub(super) fn open(host: &Host, folders: &[PathBuf]) -> Result<PathBuf> {
    let path = host.path("/etc/systemd/system/covalent.service.d/adopted.conf");
    file::make_folder(path.parent().unwrap_or(&path), 0o755)?;
    file::write(&path, drop_in(folders).as_bytes(), 0o644)?;
    systemctl(&["daemon-reload"])?;
    Ok(path)
}

fn drop_in(folders: &[PathBuf]) -> String {
    let start = "# By covalentctl adopt: where covalent.env has the server write.\n[Service]\n";
    let lines = folders.iter().filter_map(|folder| systemd::word(folder));
    lines.fold(start.into(), |text, word| {
        text + &format!("ReadWritePaths={word}\n")
    })
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    Command::new("systemctl", LIMIT)
        .args(arguments)
        .run()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_the_drop_in_and_never_another_line() {
        let folders = [
            "/srv/covalent",
            "/srv/my 100% \"data\" \\",
            "/srv/x\nExecStartPre=+/bin/sh",
        ];
        let text = drop_in(&folders.map(PathBuf::from));
        let (_, lines) = text.split_once("[Service]\n").unwrap();
        assert_eq!(
            lines,
            "ReadWritePaths=/srv/covalent\nReadWritePaths=\"/srv/my 100%% \\\"data\\\" \\\\\"\n"
        );
    }
}
