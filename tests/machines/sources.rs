//! Where the wheels come from when `covalent-wheels` is not installed.

use anyhow::{Result, ensure};

use machine::packages::{DIST, boot, run_workflows, wait_for_answer};

#[test]
#[ignore = "boots machines: scripts/test"]
fn without_wheels_and_without_a_network_the_error_says_what_to_install() -> Result<()> {
    let machine = boot("bookworm")?;
    let refused = machine.sh(&format!("apt-get install --yes {DIST}/covalent_*.deb"))?;
    ensure!(refused.code() == Some(100), "{refused}");
    for part in [
        "could not be had from the package index",
        "apt-get install covalent-wheels",
    ] {
        ensure!(
            refused.text().contains(part),
            "{part:?} is missing: {refused}"
        );
    }
    ensure!(machine.sh("covalentctl apply")?.code() == Some(5));

    // What it says to do mends it.
    machine.ok(&format!(
        "apt-get install --yes {DIST}/covalent-wheels_*.deb"
    ))?;
    wait_for_answer(&machine, 48008)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_index_serves_where_there_is_no_wheelhouse() -> Result<()> {
    let machine = boot("bookworm")?;
    // An index as PEP 503 wants it: a folder for each project, and a web server that lists it.
    machine.ok(&format!(
        "dpkg-deb --fsys-tarfile {DIST}/covalent-wheels_*.deb | tar --extract --directory /srv
         cd /srv/usr/share/covalent/wheelhouse
         for wheel in *.whl; do
             name=$(echo \"${{wheel%%-*}}\" | tr 'A-Z_.' 'a-z--')
             mkdir -p /srv/simple/$name && mv \"$wheel\" /srv/simple/$name/
         done
         systemd-run --quiet --unit index --working-directory /srv \
             python3 -m http.server --bind 127.0.0.1 8000
         mkdir -p /etc/covalent"
    ))?;
    let settings = "[index]\nurl = \"http://127.0.0.1:8000/simple\"\n";
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    machine.ok(&format!("apt-get install --yes {DIST}/covalent_*.deb"))?;
    let status: serde_json::Value =
        serde_json::from_str(&machine.ok("covalentctl status --json")?)?;
    ensure!(
        status["environment"]["source"] == "the package index",
        "{status:#}"
    );
    run_workflows(&machine, Some("tasks,sublattice"))
}
