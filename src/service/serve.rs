//! The server, or the worker, as the unit runs it: its environment, and how to become it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Access, MemfdFlags, access};

use super::environment_file::EnvironmentFile;
use super::starts::heed_refusal;
use crate::environment::generation::Generation;
use crate::system::account::{Account, NAME};
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind, needs_root};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;
use crate::system::systemd;
use crate::system::{file, terminal};
use crate::unprivileged::Child;

/// The variable of the database's address, which may hold a password.
pub const DATABASE_VARIABLE: &str = "COVALENT_DATABASE_URL";

/// The one in which the launcher (`server/covalent_service/secrets.py`) gets the number of an open
/// file with that address instead.
const DATABASE_DESCRIPTOR: &str = "COVALENT_DATABASE_URL_FD";

/// The variable of the database in which Covalent keeps the state of running workflows.
const CACHE_VARIABLE: &str = "COVALENT_CACHE_DB_URL";

/// The variable of the folder that all else of the server's is in, unless it is set elsewhere.
const HOME: &str = "HOME";

/// The unit's `RuntimeDirectory=`, which that database is in.
const RUNTIME_DIRECTORY: &str = "/run/covalent";

/// Where tasks start; the launcher goes there by itself.
const WORKING_DIRECTORY: &str = "/var/lib/covalent/run";

/// The program of a worker, in the launcher's folder.
const WORKER_PROGRAM: &str = "worker.py";

/// The variable with the version of the package, which has to be the same on all machines of a fleet.
const VERSION_VARIABLE: &str = "COVALENT_PACKAGE_VERSION";

/// Becomes the server, or the worker; what comes back is why that failed, or, at a terminal without systemd, the
/// status that it ended with.
///
/// The interpreter's path is the one inside the generation, so that this server never loads a
/// file of a newer one.
pub fn serve(host: &Host) -> Result<ExitStatus> {
    heed_refusal(host)?;
    let generation = Generation::usable(host)?;
    let mut words: Vec<OsString> = ["-I", "-X", "utf8", "-u"].map(OsString::from).into();
    words.push(program(host).into_os_string());
    if stands_in_for_the_unit(host) {
        return in_place_of_the_unit(host, &generation)?
            .args(words)
            .take_place();
    }
    let mut command = Command::in_place(generation.python());
    if let Some(version) = package_version(host) {
        command = command.env(VERSION_VARIABLE, version);
    }
    // The process's own environment is the unit's, if it has one.
    let mut address = std::env::var_os(DATABASE_VARIABLE);
    if !is_the_units(host) {
        let mut variables = variables_in_place(host)?;
        let mut folder = host.path(WORKING_DIRECTORY);
        if let Some(home) = home_of_its_own(host, &folder)? {
            folder = PathBuf::from(&home);
            variables.insert(HOME.into(), home);
        }
        address = variables.remove(DATABASE_VARIABLE).map(OsString::from);
        command = variables
            .into_iter()
            .fold(command, |command, (name, value)| command.env(name, value))
            .current_dir(&folder);
    }
    if let Some(address) = address {
        let number = hand_over(&address)?;
        command = command
            .without(DATABASE_VARIABLE)
            .env(DATABASE_DESCRIPTOR, number.to_string());
    }
    Err(command.args(words).exec())
}

/// What Python runs: the launcher's folder, or its worker.
fn program(host: &Host) -> PathBuf {
    match Role::of(host) {
        Role::Server => host.launcher(),
        Role::Worker => host.launcher().join(WORKER_PROGRAM),
    }
}

fn package_version(host: &Host) -> Option<String> {
    let text = fs::read_to_string(host.package_version()).ok()?;
    Some(text.trim().into())
}

/// Whether no unit has prepared what the server needs: it never starts it as root.
pub fn stands_in_for_the_unit(host: &Host) -> bool {
    host.is_real() && rustix::process::geteuid().is_root()
}

/// Whether systemd has started this process, with the unit's variables and those of `covalent.env`
/// (systemd.exec(5), `INVOCATION_ID`); in a tree that is not a machine, whoever did.
fn is_the_units(host: &Host) -> bool {
    let started = systemd::is_running(host) && std::env::var_os("INVOCATION_ID").is_some();
    !host.is_real() || started
}

/// Where the server of a caller who is not root keeps its data, if not in `folder` as the unit's
/// does: in the caller's HOME, as in a container that runs as another account. Fails if the caller
/// can write neither. Where systemd starts the server, nobody starts one of their own by mistake.
fn home_of_its_own(host: &Host, folder: &Path) -> Result<Option<String>> {
    let may_write =
        |folder: &Path| access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    let Err(error) = may_write(folder) else {
        return Ok(None);
    };
    let home = std::env::var(HOME).unwrap_or_default();
    let path = Path::new(&home);
    if !systemd::is_running(host) && path.is_absolute() && may_write(path).is_ok() {
        return Ok(Some(home));
    }
    let user = rustix::process::geteuid().as_raw();
    Err(Failure::error(
        Kind::Permission,
        format!("user {user} can't write {}: {error}", folder.display()),
        format!(
            "start it as root, which makes the server run as the account {NAME}; or give this user \
             {} with what is in it; or, where no systemd runs, let HOME name a folder that this user \
             can write",
            host.data().display()
        ),
    ))
}

/// What the unit would set, with what the caller has set, which counts more than `covalent.env`.
fn variables_in_place(host: &Host) -> Result<BTreeMap<String, String>> {
    EnvironmentFile::read(host)?.refuse_harmful()?;
    let mut variables = variables(host)?;
    let given = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let writable = Access::WRITE_OK | Access::EXEC_OK;
    match access(host.path(RUNTIME_DIRECTORY), writable) {
        Ok(()) => drop(variables.insert("RUNTIME_DIRECTORY".into(), RUNTIME_DIRECTORY.into())),
        // Covalent's own default is in /tmp.
        Err(_) => drop(variables.remove(CACHE_VARIABLE)),
    }
    variables.extend(given.filter(|(name, _)| name.starts_with("COVALENT_") || name == "LOGLEVEL"));
    Ok(variables)
}

/// The server where no systemd starts it, as in a container: with the unit's account, folders and
/// variables. Those that the caller has set count more than those of `covalent.env`.
fn in_place_of_the_unit(host: &Host, generation: &Generation) -> Result<Child> {
    if systemd::is_running(host) {
        let role = Role::of(host);
        return Err(Failure::error(
            Kind::Settings,
            format!(
                "systemd runs here, and starts the {} as {}",
                role.noun(),
                role.unit()
            ),
            format!("sudo systemctl start {}", role.service()),
        ));
    }
    let account = Account::required(host)?;
    let folder = host.path(RUNTIME_DIRECTORY);
    file::make_folder(&folder, 0o750)?;
    chown(&folder, Some(account.uid), Some(account.gid))
        .with_context(|| format!("handing {} over", folder.display()))?;
    let mut variables = variables_in_place(host)?;
    variables.extend(package_version(host).map(|version| (VERSION_VARIABLE.into(), version)));
    let secret = variables.remove(DATABASE_VARIABLE);
    let secret = secret
        .map(|secret| hand_over(secret.as_ref()))
        .transpose()?;
    if let Some(number) = secret {
        variables.insert(DATABASE_DESCRIPTOR.into(), number.to_string());
    }
    let child = Child::new(host, generation.python(), Duration::MAX).keeping(secret);
    Ok(with(child, variables))
}

/// The number of an open file that holds `secret`. What a process was started with, its tasks could
/// read from /proc (proc_pid_environ(5)).
fn hand_over(secret: &OsStr) -> Result<RawFd> {
    let action = "handing the address of the database over";
    let memory = rustix::fs::memfd_create("covalent", MemfdFlags::empty()).context(action)?;
    let mut file = File::from(memory);
    file.write_all(secret.as_bytes()).context(action)?;
    file.rewind().context(action)?;
    Ok(file.into_raw_fd())
}

/// Runs `words`, a command inside the environment, as the service account, in its sandbox and with
/// what tasks have of its environment. Returns its exit status.
pub fn run(host: &Host, words: &[OsString], progress: &Progress) -> Result<ExitStatus> {
    let generation = Generation::usable(host)?;
    let account = Account::required(host)?;
    let uid = rustix::process::geteuid().as_raw();
    if uid != 0 && uid != account.uid {
        return Err(needs_root("becoming the service account"));
    }
    let mut variables = variables(host)?;
    if variables.remove(DATABASE_VARIABLE).is_some() {
        progress.say(&format!(
            "{DATABASE_VARIABLE} is kept from the command, as it is from tasks"
        ));
    }
    // systemd removes the folder of the cache when the server stops; Covalent's own default is
    // in the account's home.
    let folder = host.path(RUNTIME_DIRECTORY);
    if !folder.is_dir() {
        variables.remove(CACHE_VARIABLE);
    }
    as_tasks_have_it(host, &generation, &mut variables);
    for name in ["TERM", "LANG", "NO_COLOR"] {
        if let Ok(value) = std::env::var(name) {
            variables.insert(name.into(), value);
        }
    }
    // Finds the program where the environment's PATH leads.
    let child = Child::new(host, "/usr/bin/env", Duration::MAX)
        .args(["--"])
        .args(words)
        .writing(&folder)
        .current_dir(&host.path(WORKING_DIRECTORY));
    with(child, variables).in_foreground(terminal::is_interactive())
}

/// What the unit sets, and what `covalent.env` does; on a worker, `worker.env` and what it was told
/// when it was joined.
fn variables(host: &Host) -> Result<BTreeMap<String, String>> {
    let file = EnvironmentFile::read(host)?;
    let role = Role::of(host);
    let joined = match role {
        Role::Server => Vec::new(),
        Role::Worker => EnvironmentFile::of_membership(host),
    };
    let unit = unit_environment(role).map(|(name, value)| (name.into(), value.into()));
    let own = joined.into_iter().chain(file.assignments);
    Ok(unit
        .chain(own.map(|assignment| (assignment.name, assignment.value)))
        .collect())
}

/// What the unit sets before the files are read.
fn unit_environment(role: Role) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = role.unit_file().lines();
    lines.filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
}

fn with(child: Child, variables: BTreeMap<String, String>) -> Child {
    variables
        .into_iter()
        .fold(child, |child, (name, value)| child.env(name, value))
}

/// Lets the command find what tasks find (`server/covalent_service/packages.py`): the packages that
/// they have installed, and the `pip` that installs there.
fn as_tasks_have_it(
    host: &Host,
    generation: &Generation,
    variables: &mut BTreeMap<String, String>,
) {
    let [major, minor, _] = generation.manifest.interpreter.version;
    let home = variables.get(HOME).map_or("", String::as_str);
    let site = format!("{home}/site/lib/python{major}.{minor}/site-packages");
    variables.entry("PYTHONPATH".into()).or_insert(site);
    let commands = host.launcher().join("bin");
    let path = variables.entry("PATH".into()).or_default();
    *path = format!("{}:{path}", commands.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_has_the_same_places() {
        let (_, runtime) = RUNTIME_DIRECTORY.rsplit_once('/').unwrap();
        let line = format!("RuntimeDirectory={runtime}");
        for role in [Role::Server, Role::Worker] {
            let mut lines = role.unit_file().lines();
            assert!(lines.any(|found| found == line), "{line}");
            let set: BTreeMap<_, _> = unit_environment(role).collect();
            assert_eq!(set["HOME"], "/var/lib/covalent");
        }
        let set: BTreeMap<_, _> = unit_environment(Role::Server).collect();
        let cache = set[CACHE_VARIABLE].strip_prefix("sqlite+pysqlite:///");
        let folder = cache.and_then(|cache| cache.rsplit_once('/')).unwrap().0;
        assert_eq!(folder, RUNTIME_DIRECTORY);
    }
}
