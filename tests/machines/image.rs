//! Installing where nothing runs: in a chroot, as the build of an image does it.

use anyhow::{Result, ensure};
use machine::packages::{DIST, boot};

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

#[test]
#[ignore = "boots machines: scripts/test"]
fn without_systemd_everything_works_but_starting() -> Result<()> {
    let machine = boot("bookworm")?;
    machine.ok(IMAGE)?;
    machine.ok(&format!(
        "chroot /image sh -c 'dpkg --install {DIST}/*.deb' 2>&1"
    ))?;
    let state = machine.ok("chroot /image systemctl is-enabled covalent")?;
    ensure!(state == "enabled\n", "{state}");
    let python = "/opt/virtualenvs/covalent/bin/python";
    machine.ok(&format!("chroot /image {python} -c 'import encodings'"))?;
    let running = machine.sh("pgrep --list-full --full [v]irtualenvs/.covalent")?;
    ensure!(running.code() == Some(1), "processes run: {running}");
    machine.ok("chroot /image dpkg --purge covalent-wheels covalent 2>&1")?;
    ensure!(!machine.exists("/image/opt/virtualenvs")?);
    ensure!(!machine.exists("/image/var/lib/covalent")?);
    Ok(())
}
