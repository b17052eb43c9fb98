//! Configuration files through upgrades that bring another default.

use anyhow::{Result, ensure};
use machine::Machine;
use machine::packages::{installed, property};

const FILE: &str = "/etc/covalent/covalent.env";

/// Makes of the package in dist one of the given revision with one more line in its default.
fn next_package(machine: &Machine, revision: u32) -> Result<String> {
    let script = "
        rm -rf /tmp/next
        dpkg-deb --raw-extract /dist/covalent_*.deb /tmp/next
        sed -i \"s/^Version: .*/Version: 0.240.0-$1/\" /tmp/next/DEBIAN/control
        echo \"# default of revision $1\" >> /tmp/next/usr/share/covalent/covalent.env
        dpkg-deb --build -Znone /tmp/next /root/covalent_$1.deb";
    machine
        .script(script)
        .arguments([revision.to_string()])
        .ok()?;
    Ok(format!("/root/covalent_{revision}.deb"))
}

/// Installs it as on a terminal: with the frontend that would ask.
fn upgrade(machine: &Machine, package: &str) -> Result<String> {
    // The wheels are those of another revision, which does not matter here.
    let script = "DEBIAN_FRONTEND=readline dpkg --install --force-depends \"$1\" 2>&1 </dev/null";
    machine.script(script).arguments([package]).ok()
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_edited_file_stays_and_an_unedited_one_follows_without_a_question() -> Result<()> {
    let machine = installed("bookworm")?;

    upgrade(&machine, &next_package(&machine, 3)?)?;
    let followed = machine.read_file(FILE)?;
    ensure!(
        followed.ends_with("# default of revision 3\n"),
        "{followed}"
    );

    machine.ok(&format!("echo '# mine' >> {FILE}"))?;
    let edited = machine.read_file(FILE)?;
    let said = upgrade(&machine, &next_package(&machine, 4)?)?;
    ensure!(machine.read_file(FILE)? == edited);
    ensure!(said.contains("stays as it is"), "{said}");
    let beside = machine.read_file(&format!("{FILE}.dpkg-dist"))?;
    ensure!(beside.ends_with("# default of revision 4\n"), "{beside}");
    let modes = machine.ok("stat --format='%a %U:%G' /etc/covalent/covalent*")?;
    ensure!(modes.lines().all(|mode| mode == "640 root:root"), "{modes}");

    machine.ok(&format!("rm {FILE}"))?;
    upgrade(&machine, &next_package(&machine, 5)?)?;
    ensure!(
        !machine.exists(FILE)?,
        "a deleted file stays deleted (Debian policy 10.7.3)"
    );
    ensure!(
        property(&machine, "ActiveState")? == "active",
        "without the file every default counts"
    );
    machine.ok("systemctl restart covalent")?;
    Ok(())
}
