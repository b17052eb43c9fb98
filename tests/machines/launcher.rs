//! The launcher's own tests in the environment of the packages: each adjustment, and each of
//! Covalent's defects that one of them meets, by the oldest and the newest Python of the roots.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::packages::{PYTHON, builder, in_project};

/// Most of them start a server, some of them two; one runs every kind of workflow twice.
const LIMIT: Duration = Duration::from_secs(1800);

/// The tests of a fleet, which take as long as all others.
const FLEET: &str = "test_fleet*.py";

/// The others: no other file begins with the same letter.
const OTHERS: &str = "test_[!f]*.py";

#[test]
#[ignore = "boots machines: scripts/test"]
fn with_python_3_11() -> Result<()> {
    tests("bookworm", OTHERS)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn with_python_3_14() -> Result<()> {
    tests("sid", OTHERS)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn as_a_fleet_with_python_3_11() -> Result<()> {
    tests("bookworm", FLEET)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn as_a_fleet_with_python_3_14() -> Result<()> {
    tests("sid", FLEET)
}

fn tests(suite: &str, files: &str) -> Result<()> {
    let machine = builder(suite)
        .installed()
        .bind_read_only(in_project("server"), "/server")
        .bind_read_only(in_project("systemd"), "/project/systemd")
        .bind_read_only(in_project("tests"), "/project/tests")
        .boot()?;
    // Compiled once: more than a hundred servers begin there, and none of them may write.
    machine.ok(&format!(
        "systemctl stop covalent
         cp --recursive /server /project
         {PYTHON} -m compileall -q /project/server"
    ))?;
    let output = machine
        .script(&format!(
            "{PYTHON} -W ignore -m unittest discover --pattern \"$1\" /project/tests/server_env"
        ))
        .arguments([files])
        .user("alice")
        .limit(LIMIT)
        .run()?;
    ensure!(output.success(), "{output}");
    let last = output.stderr.lines().last().unwrap_or_default();
    ensure!(last == "OK", "not all of them ran: {output}");
    Ok(())
}
