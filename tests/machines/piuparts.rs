//! piuparts, which looks for what an installation leaves behind.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use machine::packages::{SERVER, WORKER, in_project};
use machine::run;

/// It installs and purges more than once, on two busy cores.
const LIMIT: Duration = Duration::from_secs(1800);

#[test]
#[ignore = "boots machines: scripts/test"]
fn finds_nothing() -> Result<()> {
    finds_nothing_of(&SERVER)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn finds_nothing_of_a_worker() -> Result<()> {
    finds_nothing_of(&WORKER)
}

fn finds_nothing_of(names: &[&str]) -> Result<()> {
    let packages: Vec<_> = std::fs::read_dir(in_project("dist"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    let packages = packages.iter().filter(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.split('_').next().unwrap_or_default();
        file.ends_with(".deb") && names.contains(&name)
    });
    let root = in_project("target/roots/bookworm");
    let mut piuparts = Command::new("piuparts");
    piuparts
        .args(["--distribution", "bookworm", "--existing-chroot"])
        .arg(&root)
        .args([
            "--warn-on-leftovers-after-purge",
            "--no-eatmydata",
            "--skip-logrotatefiles-test",
        ])
        .args(packages)
        .stdin(Stdio::null());
    let output =
        run(&mut piuparts, LIMIT).context("no end of piuparts; scripts/test installs it")?;
    let said = output.text();
    ensure!(output.success(), "{said}");
    // A test that piuparts leaves out does not fail it: each line has to be there.
    for passed in ["PASS: Installation and purging test.", "PASS: All tests."] {
        ensure!(said.contains(passed), "{passed:?} is missing: {said}");
    }
    Ok(())
}
