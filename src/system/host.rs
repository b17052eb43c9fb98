//! The machine: every path that the program reads or writes, below one root.
//!
//! The root is `/` but in tests, which run the whole life cycle in a temporary tree as an
//! ordinary user.

use std::path::{Path, PathBuf};

/// The environment variable that moves the root in tests.
pub const ROOT_VARIABLE: &str = "COVALENTCTL_ROOT";

/// A machine, known by the root of its file system.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The machine that this process runs on, or the tree that [`ROOT_VARIABLE`] names.
    pub fn current() -> Host {
        Host::at(std::env::var_os(ROOT_VARIABLE).map_or_else(|| "/".into(), PathBuf::from))
    }

    /// The machine whose file system is at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// Whether this is the real machine: only then are there accounts and services to ask for.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The path below the root for an absolute path of the machine.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root
            .join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// What [`Host::path`] was given.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        Path::new("/").join(self.member(path))
    }

    /// Its path below the root, as tar(1) names it.
    pub fn member(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).into()
    }

    /// The path that Covalent's own instructions name: a link to the active generation.
    pub fn environment(&self) -> PathBuf {
        self.path("/opt/virtualenvs/covalent")
    }

    /// The folder of the generations, beside the link so that a rename can switch.
    pub fn generations(&self) -> PathBuf {
        self.path("/opt/virtualenvs/.covalent")
    }

    /// The lock that was tested and shipped.
    pub fn shipped_lock(&self) -> PathBuf {
        self.path("/usr/share/covalent/covalent.lock")
    }

    /// The modules that the server loads, which are compiled before all others.
    pub fn loaded_modules(&self) -> PathBuf {
        self.path("/usr/share/covalent/loaded-modules.txt")
    }

    /// The wheels that no package index has.
    pub fn own_wheels(&self) -> PathBuf {
        self.path("/usr/share/covalent/wheels")
    }

    /// The wheels of the package `covalent-plugin-wheels`.
    pub fn plugin_wheelhouse(&self) -> PathBuf {
        self.path("/usr/share/covalent/plugin-wheelhouse")
    }

    /// The wheels of the package `covalent-wheels`.
    pub fn wheelhouse(&self) -> PathBuf {
        self.path("/usr/share/covalent/wheelhouse")
    }

    /// Folders of requirement files: of packages, then of the administrator.
    pub fn requirement_folders(&self) -> [PathBuf; 2] {
        [
            self.path("/usr/share/covalent/requirements.d"),
            self.path("/etc/covalent/requirements.d"),
        ]
    }

    /// The requirement file of `covalentctl add`.
    pub fn local_requirements(&self) -> PathBuf {
        self.path("/etc/covalent/requirements.d/local.txt")
    }

    /// The installer that the package brings.
    pub fn uv(&self) -> PathBuf {
        self.path("/usr/libexec/covalent/uv")
    }

    /// The version of the packages, with their revision.
    pub fn package_version(&self) -> PathBuf {
        self.path("/usr/share/covalent/version")
    }

    /// What this machine is in its fleet, in the format of systemd's `EnvironmentFile=`: a worker's.
    pub fn membership(&self) -> PathBuf {
        self.path("/etc/covalent/fleet/joined.env")
    }

    /// The launcher: a folder that Python runs.
    pub fn launcher(&self) -> PathBuf {
        self.path("/usr/libexec/covalent/server")
    }

    /// The text of the requirement file above before an edit that is under way.
    pub fn requirements_before(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/requirements-before.json")
    }

    /// The folder of the settings.
    pub fn etc(&self) -> PathBuf {
        self.path("/etc/covalent")
    }

    /// The folders of root's that it trusts: what is in them it runs, or takes for its own word.
    pub fn trusted(&self) -> [PathBuf; 6] {
        [
            self.published_fleet(),
            self.cache(),
            self.generations(),
            self.etc(),
            self.launcher(),
            self.state(),
        ]
    }

    /// The folder of backups.
    pub fn backups(&self) -> PathBuf {
        self.path("/var/backups/covalent")
    }

    /// The server's environment, in the format of systemd's `EnvironmentFile=`.
    pub fn environment_file(&self) -> PathBuf {
        self.path("/etc/covalent/covalent.env")
    }

    /// The same of a worker.
    pub fn worker_environment_file(&self) -> PathBuf {
        self.path("/etc/covalent/worker.env")
    }

    /// The unit of a worker, which is there where the package covalent-worker is.
    pub fn worker_unit(&self) -> PathBuf {
        self.path("/usr/lib/systemd/system/covalent-worker.service")
    }

    /// Who belongs to the fleet: keys and certificates, for root alone.
    pub fn fleet(&self) -> PathBuf {
        self.path("/etc/covalent/fleet")
    }

    /// What the account needs of the folder above, in copies that it can't change.
    pub fn published_fleet(&self) -> PathBuf {
        self.path("/run/covalent-fleet")
    }

    /// How the workers are, as the server's launcher writes it.
    pub fn fleet_report(&self) -> PathBuf {
        self.path("/run/covalent/fleet.json")
    }

    /// The packages of the server's environment, as the worker's launcher got them from there.
    pub fn offered_lock(&self) -> PathBuf {
        self.path("/run/covalent/server.lock")
    }

    /// The same, once root has seen that the server's root has signed it.
    pub fn server_lock(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/server.lock")
    }

    /// When the newest list of them was made that this machine has had.
    pub fn server_lock_made(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/server.lock.made")
    }

    /// The file by which HAProxy lets other machines in; only the package covalent-https has it.
    pub fn https_configuration(&self) -> PathBuf {
        self.path("/usr/share/covalent/https.cfg")
    }

    /// Certificates, keys and users of HTTPS. Everybody may look into the folder, not into each file.
    pub fn https(&self) -> PathBuf {
        self.path("/etc/covalent/https")
    }

    /// Where HAProxy listens, for its unit.
    pub fn https_variables(&self) -> PathBuf {
        self.path("/run/covalentctl/https.env")
    }

    /// The helper's own settings.
    pub fn settings(&self) -> PathBuf {
        self.path("/etc/covalent/covalentctl.toml")
    }

    /// The service account's home, with all of its data.
    pub fn data(&self) -> PathBuf {
        self.path("/var/lib/covalent")
    }

    /// The helper's state.
    pub fn state(&self) -> PathBuf {
        self.path("/var/lib/covalentctl")
    }

    /// The mark of a first installation, which the packages' scripts set and remove.
    pub fn first_installation(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/first-installation")
    }

    /// The mark that tells the packages' scripts to restart the server.
    pub fn restart_mark(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/restart-requested")
    }

    /// Why the unit's start was refused, from one process of the unit to the next.
    pub fn refusal(&self) -> PathBuf {
        self.path("/run/covalentctl/refusal.json")
    }

    /// The environment that the unit's latest start is of.
    pub fn started(&self) -> PathBuf {
        self.path("/run/covalentctl/started")
    }

    /// The environment that served last.
    pub fn served(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/served")
    }

    /// Why the unit's latest start failed, if the next one is to go back from it. Not in /run: what
    /// a power cut interrupts is done again.
    pub fn failed_start(&self) -> PathBuf {
        self.path("/var/lib/covalentctl/failed-start.json")
    }

    /// While it is there, the server starts no workflow. In the unit's `RuntimeDirectory=`.
    pub fn drain_mark(&self) -> PathBuf {
        self.path("/run/covalent/draining")
    }

    /// Which workflows the server's end interrupted, as the launcher writes it.
    pub fn interrupted(&self) -> PathBuf {
        self.path("/var/lib/covalent/interrupted.json")
    }

    /// The environment that has begun to migrate the database and not served from it since, as the
    /// launcher writes it (`covalent_service/unproven.py`).
    pub fn unproven(&self) -> PathBuf {
        self.path("/var/lib/covalent/unproven")
    }

    /// What a database server had before its migration from that revision; the launcher's copy.
    pub fn database_copy(&self, revision: &str) -> PathBuf {
        self.path(format!("/var/lib/covalent/database.{revision}.pgdump"))
    }

    /// uv's cache for what came from an index.
    pub fn cache(&self) -> PathBuf {
        self.path("/var/cache/covalentctl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_moves_with_the_root() {
        let host = Host::at("/tmp/tree");
        assert_eq!(
            host.environment(),
            Path::new("/tmp/tree/opt/virtualenvs/covalent")
        );
        assert!(!host.is_real());
        assert_eq!(
            Host::at("/").shipped_lock(),
            Path::new("/usr/share/covalent/covalent.lock")
        );
    }
}
