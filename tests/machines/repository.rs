//! The packages by name, on machines that know nothing but the address of a repository.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::packages::{SERVER, expect, in_project, run_workflows, wait_for_answer};
use machine::{Machine, NEIGHBOUR, run, wait_until};
use tempfile::TempDir;

/// A publication of all packages may have to build its program first, on two busy cores.
const PUBLICATION_LIMIT: Duration = Duration::from_secs(900);

/// An agent ends at once.
const AGENT_LIMIT: Duration = Duration::from_secs(30);

/// A repository with a key of its own, served on the machine's network.
struct Repository {
    folder: TempDir,
    server: Child,
}

impl Repository {
    /// With the packages of `dist`.
    fn new(machine: &Machine) -> Result<Repository> {
        let folder = tempfile::tempdir()?;
        let server = machine
            .neighbour_command("python3")?
            .args([
                "-m",
                "http.server",
                "8000",
                "--bind",
                NEIGHBOUR,
                "--directory",
            ])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let repository = Repository { folder, server };
        repository.publish_with(&["--new-key", "--no-passphrase"], &[])?;
        repository.publish("dist")?;
        Ok(repository)
    }

    fn address(&self) -> String {
        format!("http://{NEIGHBOUR}:8000/covalent")
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("covalent")
    }

    /// Adds the packages of a folder of this project.
    fn publish(&self, folder: &str) -> Result<()> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(in_project(folder))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "deb" || extension == "rpm")
            {
                packages.push(path);
            }
        }
        let tree = self.tree().display().to_string();
        let address = self.address();
        self.publish_with(
            &["--insecure-http", "--address", &address, &tree],
            &packages,
        )
    }

    fn publish_with(&self, arguments: &[&str], packages: &[PathBuf]) -> Result<()> {
        let mut publish = Command::new(in_project("scripts/publish"));
        publish
            .arg("--keys")
            .arg(self.folder.path().join("keys"))
            .args(arguments)
            .args(packages)
            .stdin(Stdio::null());
        let output = run(&mut publish, PUBLICATION_LIMIT)?;
        ensure!(output.success(), "{output}");
        Ok(())
    }

    /// Fetches `install.sh` as a person would.
    fn fetch(&self, machine: &Machine) -> Result<()> {
        let address = self.address();
        wait_until("the web server", Duration::from_secs(30), || {
            machine.ok(&format!(
                "curl --fail --silent --show-error -O {address}/install.sh"
            ))
        })
        .map(drop)
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let mut gpgconf = Command::new("gpgconf");
        let keys = self.folder.path().join("keys");
        gpgconf.arg("--homedir").arg(keys).args(["--kill", "all"]);
        let _ = run(&mut gpgconf, AGENT_LIMIT);
    }
}

fn boot(suite: &str) -> Result<Machine> {
    Machine::builder(suite)
        .bind_read_only(in_project("tests/workflows"), "/workflows")
        .boot()
}

/// A line that an administrator has added.
const EDIT: &str = "# The administrator was here.";

fn edit_the_environment(machine: &Machine) -> Result<()> {
    machine
        .ok(&format!("echo '{EDIT}' >>/etc/covalent/covalent.env"))
        .map(drop)
}

/// The server answers, the edit is there, and it is this revision.
fn is_well(machine: &Machine, version: &str, installed: &str) -> Result<()> {
    wait_for_answer(machine, 48008)?;
    let environment = machine.read_file("/etc/covalent/covalent.env")?;
    ensure!(environment.contains(EDIT), "{environment}");
    let found = machine.ok(version)?;
    ensure!(found.trim() == installed, "{found} is installed");
    Ok(())
}

/// What must not be there after a refusal.
fn is_untouched(machine: &Machine) -> Result<()> {
    for path in [
        "/etc/apt/sources.list.d/covalent.sources",
        "/usr/share/keyrings/covalent-archive-keyring.gpg",
        "/etc/yum.repos.d/covalent.repo",
        "/etc/pki/rpm-gpg/RPM-GPG-KEY-covalent",
    ] {
        ensure!(!machine.exists(path)?, "{path} is there");
    }
    Ok(())
}

fn refusals(machine: &Machine, repository: &Repository, key: &str) -> Result<()> {
    expect(&machine.sh("sh install.sh")?, 1, &["no terminal to ask at"])?;
    machine.ok("install -m 644 install.sh /tmp/install.sh")?;
    let user = machine.as_user("alice", "sh /tmp/install.sh --yes")?;
    expect(&user, 1, &["only root can do that"])?;
    let path = repository.tree().join(key);
    let good = fs::read(&path)?;
    let text = String::from_utf8_lossy(&good).into_owned();
    // A key more, and another key.
    let more: Vec<u8> = [good.clone(), good.clone()].concat();
    fs::write(&path, more)?;
    expect(
        &machine.sh("sh install.sh --yes")?,
        1,
        &["not those that this script knows"],
    )?;
    let other = if text.contains("BEGIN PGP") {
        text.replacen("mQIN", "mQIO", 1).into_bytes()
    } else {
        good.iter().rev().copied().collect()
    };
    fs::write(&path, other)?;
    expect(
        &machine.sh("sh install.sh --yes")?,
        1,
        &["has the fingerprint"],
    )?;
    fs::write(&path, good)?;
    is_untouched(machine)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn apt_installs_by_name() -> Result<()> {
    let machine = boot("bookworm")?;
    machine.ok("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")?;
    let repository = Repository::new(&machine)?;
    repository.fetch(&machine)?;
    machine.ok("cp /etc/os-release /root/os-release; rm /etc/os-release
         sed 's/^VERSION_ID=.*/VERSION_ID=\"11\"/; s/^PRETTY_NAME=.*/PRETTY_NAME=\"Debian 11\"/' \
         /root/os-release >/etc/os-release")?;
    expect(
        &machine.sh("sh install.sh --yes")?,
        1,
        &["for Debian 12, ", "this is Debian 11"],
    )?;
    machine.ok("cp /root/os-release /etc/os-release")?;
    refusals(&machine, &repository, "covalent-archive-keyring.gpg")?;

    println!("{}", machine.ok("sh install.sh --yes 2>&1")?);
    machine.ok("apt-get install --yes covalent")?;
    edit_the_environment(&machine)?;
    let version = "dpkg-query --show --showformat '${Version}' covalent";
    is_well(&machine, version, "0.240.0-2")?;
    run_workflows(&machine, Some("sublattice"))?;

    repository.publish("target/upgrade")?;
    machine.ok("apt-get install --yes /srv/packages/unattended-upgrades/*.deb")?;
    machine.write_file(
        "/etc/apt/apt.conf.d/52covalent",
        "Unattended-Upgrade::Origins-Pattern { \"origin=Covalent\"; };\n",
        0o644,
    )?;
    machine.ok("apt-get update 2>&1")?;
    let said = machine.ok("unattended-upgrade --verbose 2>&1")?;
    is_well(&machine, version, "0.240.0-3").with_context(|| said.clone())?;

    let earlier = SERVER
        .map(|package| format!("{package}=0.240.0-2"))
        .join(" ");
    machine.ok(&format!(
        "apt-get install --yes --allow-downgrades {earlier}"
    ))?;
    is_well(&machine, version, "0.240.0-2")?;
    machine.ok("apt-get upgrade --yes")?;
    is_well(&machine, version, "0.240.0-3")?;
    run_workflows(&machine, Some("sublattice"))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn dnf_installs_by_name() -> Result<()> {
    let machine = boot("rpm")?;
    let repository = Repository::new(&machine)?;
    repository.fetch(&machine)?;
    // This root is a Debian's with dnf; install.sh asks for the distribution.
    machine.ok("rm /etc/os-release")?;
    let rocky = |version: &str| {
        let text =
            format!("ID=rocky\nVERSION_ID={version}\nPRETTY_NAME=\"Rocky Linux {version}\"\n");
        machine.write_file("/etc/os-release", text, 0o644)
    };
    rocky("7.9")?;
    expect(
        &machine.sh("sh install.sh --yes")?,
        1,
        &["RHEL 8, ", "this is Rocky Linux 7.9"],
    )?;
    rocky("9.4")?;
    refusals(&machine, &repository, "covalent-archive-keyring.asc")?;

    println!("{}", machine.ok("sh install.sh --yes 2>&1")?);
    machine.ok("dnf install --assumeyes covalent && systemctl enable --now covalent")?;
    edit_the_environment(&machine)?;
    let version = "rpm --query --queryformat '%{VERSION}-%{RELEASE}' covalent";
    is_well(&machine, version, "0.240.0-2")?;
    run_workflows(&machine, Some("sublattice"))?;

    repository.publish("target/upgrade")?;
    machine.ok("dnf upgrade --assumeyes --refresh")?;
    is_well(&machine, version, "0.240.0-3")?;
    machine.ok(&format!("dnf downgrade --assumeyes {}", SERVER.join(" ")))?;
    is_well(&machine, version, "0.240.0-2")?;
    machine.ok("dnf upgrade --assumeyes")?;
    is_well(&machine, version, "0.240.0-3")?;
    run_workflows(&machine, Some("sublattice"))
}
