//! The launcher's own tests in the environment of the packages: each adjustment, and each of
//! Covalent's defects that one of them meets, by the oldest and the newest Python of the roots.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::packages::{PYTHON, builder, in_project};

/// Most of them start a server, some of them two; one runs every kind of workflow twice.
const LIMIT: Duration = Duration::from_secs(1800);

#[test]
#[ignore = "boots machines: scripts/test"]
fn with_python_3_11() -> Result<()> {
    tests("bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn with_python_3_14() -> Result<()> {
    tests("sid")
}

fn tests(suite: &str) -> Result<()> {
    let machine = builder(suite)
        .installed()
        .bind_read_only(in_project("server"), "/project/server")
        .bind_read_only(in_project("systemd"), "/project/systemd")
        .bind_read_only(in_project("tests"), "/project/tests")
        .boot()?;
    machine.ok("systemctl stop covalent")?;
    let output = machine
        .script(&format!(
            "{PYTHON} -W ignore -m unittest discover /project/tests/server_env"
        ))
        .user("alice")
        .limit(LIMIT)
        .run()?;
    ensure!(output.success(), "{output}");
    let last = output.stderr.lines().last().unwrap_or_default();
    ensure!(last == "OK", "not all of them ran: {output}");
    Ok(())
}
