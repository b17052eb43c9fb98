//! Nothing is left behind, however a test ends.

use std::fs;
use std::panic;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, wait_until};

const LIMIT: Duration = Duration::from_secs(90);

/// What of the machines called `name...` is still on this host.
fn left_of(name: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let machines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/machines");
    let find = format!(
        "find '{}' -maxdepth 1 -name '{name}*'; find /sys/fs/cgroup -maxdepth 2 -name 'covalent-test-{name}*'",
        machines.display()
    );
    let found = Command::new("sh").args(["-c", &find]).output()?;
    left.extend(String::from_utf8(found.stdout)?.lines().map(str::to_owned));
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        for file in ["cmdline", "mountinfo"] {
            let bytes = fs::read(path.join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(&format!("/{name}")) && !text.contains("CARGO") {
                left.push(path.join(file).display().to_string());
            }
        }
    }
    Ok(left)
}

fn wait_until_gone(name: &str) -> Result<()> {
    wait_until("nothing to be left", LIMIT, || match left_of(name) {
        Ok(left) if left.is_empty() => Ok(()),
        Ok(left) => Err(left.join(" ")),
        Err(error) => Err(error.to_string()),
    })
}

fn signal(signal: &str, number: u32) -> Result<()> {
    let status = Command::new("kill")
        .args([signal, &number.to_string()])
        .status()?;
    ensure!(status.success(), "kill {signal} {number}: {status}");
    Ok(())
}

/// A program that has booted a machine and waits; and how its machine's name begins.
fn owner() -> Result<(Child, String)> {
    // A test that runs in the background of a script inherits "ignore SIGINT".
    let mut owner = Command::new("env")
        .args(["--default-signal=INT", env!("CARGO_BIN_EXE_machine")])
        .args([
            "boot",
            "bookworm",
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 900",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = owner.stdout.take().context("a pipe")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    assert_eq!(line, "up\n");
    let name = format!("bookworm-{}-", owner.id());
    assert!(
        left_of(&name)?.len() > 4,
        "a running machine is seen by this test"
    );
    Ok((owner, name))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nothing_is_left_after_a_drop() -> Result<()> {
    let machine = Machine::builder("bookworm").boot()?;
    machine.ok(
        "setsid sleep 900 >/dev/null 2>&1 & dd if=/dev/zero of=/root/big bs=1M count=50 2>&1",
    )?;
    let name = machine.name();
    drop(machine);
    assert_eq!(left_of(&name)?, [""; 0]);
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nothing_is_left_after_a_panic() -> Result<()> {
    let machine = Machine::builder("bookworm").boot()?;
    let name = machine.name();
    let failed = panic::catch_unwind(move || {
        let _machine = machine;
        panic!("as a failed assertion does");
    });
    assert!(failed.is_err());
    assert_eq!(left_of(&name)?, [""; 0]);
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nothing_is_left_after_ctrl_c() -> Result<()> {
    let (mut owner, name) = owner()?;
    signal("-INT", owner.id())?;
    owner.wait()?;
    wait_until_gone(&name)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nothing_is_left_after_the_owner_was_killed() -> Result<()> {
    let (mut owner, name) = owner()?;
    owner.kill()?;
    owner.wait()?;
    wait_until_gone(&name)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_killed_supervisor_ends_the_machine_and_the_next_boot_sweeps() -> Result<()> {
    let (mut owner, name) = owner()?;
    let supervisor = Command::new("pgrep")
        .args([
            "--parent",
            &owner.id().to_string(),
            "--full",
            "supervise run",
        ])
        .output()?;
    let supervisor: u32 = String::from_utf8(supervisor.stdout)?.trim().parse()?;
    signal("-STOP", owner.id())?;
    signal("-KILL", supervisor)?;
    owner.kill()?;
    owner.wait()?;
    let machine = Machine::builder("bookworm").boot()?;
    wait_until_gone(&name)?;
    drop(machine);
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_root_that_cannot_boot_is_told_with_what_its_console_said() -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join("usr"))?;
    let path = root.path().to_str().context("a path")?;
    let error = format!("{:#}", Machine::builder(path).boot().unwrap_err());
    assert!(error.contains("ended instead of booting"), "{error}");
    assert!(error.contains("os-release file is missing"), "{error}");
    Ok(())
}
