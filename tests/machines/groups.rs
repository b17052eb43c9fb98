//! Data that the account reaches by a supplementary group, which systemd gives the server.

use anyhow::{Result, ensure};

use machine::packages::{installed, run_workflows, wait_for_answer};

/// A folder of a project's, which the account may write as one of the group.
const SHARE: &str = include_str!("scripts/share");

#[test]
#[ignore = "boots machines: scripts/test"]
fn count_for_doctor_and_for_backups_as_for_the_server() -> Result<()> {
    let machine = installed("bookworm")?;
    machine.ok(SHARE)?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))?;
    ensure!(
        !machine.ok("ls /srv/project/data")?.is_empty(),
        "nothing is stored there"
    );
    let told = machine.sh("covalentctl doctor")?;
    ensure!(told.text().contains("good  data: "), "{told}");
    ensure!(!told.text().contains("BAD"), "{told}");
    let archive = machine.ok("covalentctl backup")?;
    let listed = machine.ok(&format!("tar --list --file {}", archive.trim()))?;
    ensure!(listed.contains("srv/project/data/"), "{listed}");
    // Without the group it is another matter.
    machine.ok("gpasswd --delete covalent project")?;
    let told = machine.sh("covalentctl doctor")?;
    ensure!(
        told.text()
            .contains("the account covalent can't write /srv/project/data"),
        "{told}"
    );
    Ok(())
}
