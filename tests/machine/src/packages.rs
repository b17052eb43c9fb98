//! Covalent's packages on a machine: the two families, and what is asked of either.

use std::path::PathBuf;
use std::time::Duration;

use crate::builder::Builder;
use crate::command::Output;
use crate::machine::Machine;
use crate::root::project;
use crate::wait::wait_until;
use anyhow::{Context, Result, ensure};

/// Where a machine sees the packages.
pub const DIST: &str = "/dist";

/// Where a machine sees the packages with plugins.
pub const PLUGINS: &str = "/dist/plugins";

/// Where a machine sees the packages of the next revision.
pub const UPGRADE: &str = "/upgrade";

/// The Python of the environment.
pub const PYTHON: &str = "/opt/virtualenvs/covalent/bin/python";

/// A server that has started answers well within this, on two busy cores.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// A family of package managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// apt and dpkg.
    Deb,
    /// dnf and rpm.
    Rpm,
}

/// The packages of a server.
pub const SERVER: [&str; 3] = ["covalent-common", "covalent", "covalent-wheels"];

/// The packages of a worker.
pub const WORKER: [&str; 3] = ["covalent-common", "covalent-worker", "covalent-wheels"];

impl Family {
    /// That of a suite.
    pub fn of(suite: &str) -> Family {
        if suite == "rpm" {
            Family::Rpm
        } else {
            Family::Deb
        }
    }

    /// Installs a server's packages of a folder; an older version is upgraded.
    pub fn install(self, machine: &Machine, folder: &str) -> Result<String> {
        self.install_these(machine, folder, &SERVER)
    }

    /// Installs these packages of a folder; an older version is upgraded.
    pub fn install_these(self, machine: &Machine, folder: &str, names: &[&str]) -> Result<String> {
        self.install_files(machine, &self.files(folder, names))
    }

    /// Installs files that patterns for the shell match, in one transaction.
    pub fn install_files(self, machine: &Machine, patterns: &str) -> Result<String> {
        let install = match self {
            Family::Deb => "apt-get install --yes",
            Family::Rpm => "dnf install --assumeyes --disablerepo='*'",
        };
        machine.ok(&format!("{install} {patterns} 2>&1"))
    }

    /// Installs the same version again.
    pub fn reinstall(self, machine: &Machine, folder: &str) -> Result<String> {
        let reinstall = match self {
            Family::Deb => "apt-get install --yes --reinstall",
            Family::Rpm => "dnf reinstall --assumeyes --disablerepo='*'",
        };
        machine.ok(&format!("{reinstall} {} 2>&1", self.files(folder, &SERVER)))
    }

    /// Patterns for the shell that the files of these packages match in a folder.
    pub fn files(self, folder: &str, names: &[&str]) -> String {
        let patterns = names.iter().map(|name| match self {
            Family::Deb => format!("{folder}/{name}_*.deb"),
            Family::Rpm => format!("{folder}/{name}-[0-9]*.rpm"),
        });
        patterns.collect::<Vec<_>>().join(" ")
    }

    /// A pattern for the shell that every package of a folder matches.
    pub fn all(self, folder: &str) -> String {
        match self {
            Family::Deb => format!("{folder}/*.deb"),
            Family::Rpm => format!("{folder}/*.rpm"),
        }
    }

    /// Removes what all of Covalent's packages need, and them with it.
    pub fn remove(self, machine: &Machine) -> Result<String> {
        machine.ok(match self {
            Family::Deb => "apt-get remove --yes covalent-common 2>&1",
            Family::Rpm => "dnf remove --assumeyes covalent-common 2>&1",
        })
    }

    /// What the package manager finds changed in the files of a server's packages.
    pub fn verify(self, machine: &Machine) -> Result<Output> {
        let verify = match self {
            Family::Deb => "dpkg --verify",
            Family::Rpm => "rpm --verify",
        };
        machine.sh(&format!("{verify} {}", SERVER.join(" ")))
    }
}

/// A machine of `suite` with the packages at hand and nothing installed, without a network.
pub fn boot(suite: &str) -> Result<Machine> {
    builder(suite).boot()
}

/// A machine of `suite` on which the packages are installed and the server runs, without a network.
pub fn installed(suite: &str) -> Result<Machine> {
    builder(suite).installed().boot()
}

/// The machine of [`boot`], before it boots.
pub fn builder(suite: &str) -> Builder {
    let builder = Machine::builder(suite)
        .bind_read_only(in_project("dist"), DIST)
        .bind_read_only(in_project("tests/workflows"), "/workflows")
        .bind_read_only(in_project("tests/packages"), "/packages");
    let upgrade = in_project("target/upgrade");
    if !upgrade.exists() {
        return builder; // scripts/try has none made
    }
    builder.bind_read_only(upgrade, UPGRADE)
}

/// A path of the repository.
pub fn in_project(path: &str) -> PathBuf {
    project().join(path)
}

/// Checks that a command failed with this status and said all of this.
pub fn expect(output: &Output, status: i32, parts: &[&str]) -> Result<()> {
    ensure!(
        output.code() == Some(status),
        "not status {status}: {output}"
    );
    for part in parts {
        ensure!(
            output.text().contains(part),
            "{part:?} is missing: {output}"
        );
    }
    Ok(())
}

/// A property of the unit, as `systemctl show` prints it.
pub fn property(machine: &Machine, name: &str) -> Result<String> {
    let script = "systemctl show --property \"$1\" --value covalent.service";
    let value = machine.script(script).arguments([name]).ok()?;
    Ok(value.trim().to_string())
}

/// What units have said, as `options` of journalctl(1) choose it: all that they have said by now, also a
/// process that has just ended.
pub fn journal(machine: &Machine, options: &str) -> Result<String> {
    machine.ok(&format!(
        "journalctl --sync; journalctl --no-pager --output cat {options}"
    ))
}

/// What `covalentctl status --json` prints.
pub fn status(machine: &Machine) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(
        &machine.ok("covalentctl status --json")?,
    )?)
}

/// The executors that Covalent loads from the environment.
pub fn executors(machine: &Machine) -> Result<Vec<String>> {
    let status = status(machine)?;
    let names = status["environment"]["executors"].as_array();
    Ok(names
        .context("no list of executors")?
        .iter()
        .filter_map(|name| name.as_str().map(String::from))
        .collect())
}

/// Waits until the API answers from its database on `port`.
pub fn wait_for_answer(machine: &Machine, port: u16) -> Result<()> {
    let address = format!("http://localhost:{port}/api/v1/dispatches/list?count=1");
    // A server that is starting again lets clients wait.
    let ask = "curl --silent --show-error --fail --max-time 20 \"$1\"";
    wait_until(&address, ANSWER_LIMIT, || {
        machine.script(ask).arguments([&address]).ok()
    })
    .map(drop)
    .with_context(|| {
        let state = machine.sh("systemctl --no-pager --lines 0 status covalent || true
             journalctl --no-pager --unit covalent --lines 60");
        state.map_or_else(
            |error| error.to_string(),
            |output| output.text().to_string(),
        )
    })
}

/// Lets an ordinary user dispatch, as an administrator does.
pub fn let_in(machine: &Machine, user: &str) -> Result<()> {
    let script = "usermod --append --groups covalent-users \"$1\"";
    machine.script(script).arguments([user]).ok().map(drop)
}

/// Runs kinds of the sample workflows as an ordinary user: all of them, or those in `only`.
pub fn run_workflows(machine: &Machine, only: Option<&str>) -> Result<()> {
    let_in(machine, "alice")?;
    let choice = only.map_or(String::new(), |kinds| format!(" --only {kinds}"));
    let output = machine
        .script(&format!("{PYTHON} /workflows/sample.py{choice}"))
        .user("alice")
        .limit(Duration::from_secs(900))
        .run()?;
    let passed = output
        .stdout
        .lines()
        .filter(|line| line.starts_with("PASS "))
        .count();
    ensure!(
        output.success() && passed > 0,
        "the sample workflows: {output}"
    );
    Ok(())
}

/// The addresses of every listening TCP or UDP socket that is not on loopback.
pub fn open_sockets(machine: &Machine) -> Result<Vec<String>> {
    let listening = machine.ok("ss --listening --tcp --udp --numeric --no-header")?;
    listening
        .lines()
        .map(|line| {
            line.split_whitespace()
                .nth(4)
                .context("a line of ss has no address")
        })
        .filter(|address| {
            !address
                .as_ref()
                .is_ok_and(|address| address.starts_with("127.") || address.starts_with("[::1]"))
        })
        .map(|address| address.map(String::from))
        .collect()
}
