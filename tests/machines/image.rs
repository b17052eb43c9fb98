//! Installing where nothing runs: in a chroot, as the build of an image does it.

use anyhow::{Context, Result, ensure};
use machine::Machine;
use machine::packages::{DIST, Family, SERVER, boot, expect, wait_for_answer};

/// Makes a copy of the machine's root in /image, with what the tools that build images mount.
const IMAGE: &str = include_str!("scripts/image");

/// As an image's only command, without systemd's help inside.
fn serves_in_the_foreground(machine: &Machine) -> Result<()> {
    machine.ok(
        "systemd-run --quiet --unit serve --setenv COVALENT_SVC_PORT=48123 \
             chroot /image covalentctl serve",
    )?;
    wait_for_answer(machine, 48123)?;
    // The account is known inside alone.
    let account = machine.ok("stat --format %u /image/var/lib/covalent")?;
    let pid = "$(systemctl show --property MainPID --value serve)";
    let who = machine.ok(&format!("stat --format %u \"/proc/{pid}\""))?;
    ensure!(who == account && who != "0\n", "{who} is not {account}");
    machine.ok("systemctl stop serve")?;
    let said = machine.ok("journalctl --no-pager --unit serve")?;
    ensure!(said.contains("ready at http://localhost:48123"), "{said}");
    ensure!(!said.contains("Main process exited"), "{said}");
    Ok(())
}

/// As a container that runs as another account, which has a folder of its own for the data.
fn serves_for_another_account_from_its_home(machine: &Machine) -> Result<()> {
    machine.ok("install -d -o alice -g alice /image/srv/alice
         chmod 644 /image/etc/covalent/covalent.env")?;
    // In a container there is no systemd that says which process it has started.
    let serve = |home: &str| {
        format!(
            "chroot --userspec=alice:alice /image env --unset=SYSTEMD_EXEC_PID HOME={home} \
                 COVALENT_SVC_PORT=48123 covalentctl serve"
        )
    };
    // Neither the packages' folder nor this is its own.
    let refused = machine.sh(&serve("/root"))?;
    expect(
        &refused,
        9,
        &["can't write /var/lib/covalent/run", "let HOME name"],
    )?;
    machine.ok(&format!(
        "systemd-run --quiet --unit theirs {}",
        serve("/srv/alice")
    ))?;
    wait_for_answer(machine, 48123).with_context(|| {
        let journal = machine.sh("journalctl --no-pager --unit theirs");
        journal.map_or_else(|error| error.to_string(), |said| said.stdout)
    })?;
    machine.ok(
        "test -s /image/srv/alice/.local/share/covalent/dispatcher_db.sqlite
         systemctl stop theirs",
    )?;
    machine
        .ok("chmod 640 /image/etc/covalent/covalent.env; rm -r /image/srv/alice")
        .map(drop)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn without_systemd_everything_works_but_starting() -> Result<()> {
    let machine = boot("bookworm")?;
    machine.ok(IMAGE)?;
    let files = Family::Deb.files(DIST, &SERVER);
    machine.ok(&format!(
        "chroot /image sh -c 'dpkg --install {files}' 2>&1"
    ))?;
    let state = machine.ok("chroot /image systemctl is-enabled covalent")?;
    ensure!(state == "enabled\n", "{state}");
    let python = "/opt/virtualenvs/covalent/bin/python";
    machine.ok(&format!("chroot /image {python} -c 'import encodings'"))?;
    machine.ok("mount -t tmpfs none /image/dev/shm")?;
    serves_in_the_foreground(&machine)?;
    serves_for_another_account_from_its_home(&machine)?;
    machine.ok("umount /image/dev/shm")?;
    let running = machine.sh("pgrep --list-full --full [v]irtualenvs/.covalent")?;
    ensure!(running.code() == Some(1), "processes run: {running}");
    machine.ok("chroot /image dpkg --purge covalent-wheels covalent covalent-common 2>&1")?;
    ensure!(!machine.exists("/image/opt/virtualenvs")?);
    ensure!(!machine.exists("/image/var/lib/covalent")?);
    Ok(())
}
