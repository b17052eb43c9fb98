//! Installing where nothing runs: in a chroot, as the build of an image does it.

use anyhow::{Result, ensure};
use machine::Machine;
use machine::packages::{DIST, Family, SERVER, boot, wait_for_answer};

/// Makes a copy of the machine's root in /image, with what the tools that build images mount.
const IMAGE: &str = "
    mkdir /image
    tar --one-file-system --exclude=./image --create --directory / . |
        tar --extract --directory /image
    mkdir -p /image/dist /image/proc /image/dev/shm
    chmod 755 /image/dev/shm
    mount --bind /dist /image/dist
    mount --bind /proc /image/proc
    for device in null zero random urandom; do
        touch /image/dev/$device
        mount --bind /dev/$device /image/dev/$device
    done";

/// As an image's only command, without systemd's help inside.
fn serves_in_the_foreground(machine: &Machine) -> Result<()> {
    machine.ok("mount -t tmpfs none /image/dev/shm
         systemd-run --quiet --unit serve --setenv COVALENT_SVC_PORT=48123 \
             chroot /image covalentctl serve")?;
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
    machine.ok("umount /image/dev/shm").map(drop)
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
    serves_in_the_foreground(&machine)?;
    let running = machine.sh("pgrep --list-full --full [v]irtualenvs/.covalent")?;
    ensure!(running.code() == Some(1), "processes run: {running}");
    machine.ok("chroot /image dpkg --purge covalent-wheels covalent covalent-common 2>&1")?;
    ensure!(!machine.exists("/image/opt/virtualenvs")?);
    ensure!(!machine.exists("/image/var/lib/covalent")?);
    Ok(())
}
