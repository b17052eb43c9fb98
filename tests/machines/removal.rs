//! Removing the packages where an administrator has put links and mounts in the place of folders.

use anyhow::{Result, ensure};
use machine::Machine;

use machine::packages::{DIST, Family, boot};

/// Every folder that the scripts of a removal remove; /opt/virtualenvs is a link.
const MOUNTS: [&str; 3] = [
    "/var/cache/covalentctl",
    "/etc/covalent/requirements.d",
    "/var/lib/covalentctl",
];

fn prepare(machine: &Machine, family: Family) -> Result<()> {
    machine.ok("mkdir -p /opt /srv/environments; ln -s /srv/environments /opt/virtualenvs")?;
    for mount in MOUNTS {
        machine.ok(&format!("mkdir -p {mount}; mount -t tmpfs tmpfs {mount}"))?;
    }
    family.install(machine, DIST)?;
    ensure!(machine.exists("/srv/environments/covalent/bin/python")?);
    Ok(())
}

fn links_and_mounts_stay(machine: &Machine) -> Result<()> {
    ensure!(machine.ok("readlink /opt/virtualenvs")? == "/srv/environments\n");
    let left = machine.ok("ls --almost-all /srv/environments /var/cache/covalentctl")?;
    let left = left
        .lines()
        .filter(|line| !line.is_empty() && !line.ends_with(':'));
    ensure!(left.clone().count() == 0, "{:?}", left.collect::<Vec<_>>());
    for mount in MOUNTS {
        machine.ok(&format!("mountpoint {mount}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn of_debs_leaves_links_and_mounts() -> Result<()> {
    let machine = boot("bookworm")?;
    prepare(&machine, Family::Deb)?;
    let said = Family::Deb.remove(&machine)?;
    // What deb-systemd-invoke says of itself is nobody's business.
    ensure!(!said.contains("Could not execute"), "{said}");
    let state = machine.ok("dpkg-query --show --showformat='${db:Status-Abbrev}' covalent")?;
    ensure!(state.trim() == "rc", "{state}: {said}");
    links_and_mounts_stay(&machine)?;

    machine.ok(
        "mkdir -p /srv/disk/mounted; cp -a /var/lib/covalent/. /srv/disk/
         mount --bind /srv/disk /var/lib/covalent; mount -t tmpfs tmpfs /var/lib/covalent/mounted
         echo x > /var/lib/covalent/mounted/file",
    )?;
    machine.ok("apt-get purge --yes covalent covalent-common")?;
    let state = machine.sh("dpkg-query --show --showformat='${db:Status-Abbrev}' covalent")?;
    ensure!(!state.stdout.starts_with("rc"), "{state}");
    links_and_mounts_stay(&machine)?;
    ensure!(machine.ok("ls --almost-all /srv/disk")? == "mounted\n");
    machine.ok("cat /var/lib/covalent/mounted/file; ls /var/backups/covalent-*")?;

    // A folder in which nothing can be removed is told, and fails nobody.
    Family::Deb.install(&machine, DIST)?;
    machine.ok("mount --bind /srv/environments /srv/environments
         mount -o remount,ro,bind /srv/environments")?;
    Family::Deb.remove(&machine)?;
    let state = machine.ok("dpkg-query --show --showformat='${db:Status-Abbrev}' covalent")?;
    ensure!(state.trim() == "rc", "{state}");
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn of_rpms_leaves_links_and_mounts() -> Result<()> {
    let machine = boot("rpm")?;
    prepare(&machine, Family::Rpm)?;
    let said = Family::Rpm.remove(&machine)?;
    for word in ["scriptlet failed", "Error", "rmdir"] {
        ensure!(!said.contains(word), "{said}");
    }
    machine.ok("! rpm --query covalent covalent-common")?;
    links_and_mounts_stay(&machine)
}
