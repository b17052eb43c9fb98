//! Copies of the repository, made with the tools that operators have.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::apt::Apt;
use crate::dnf::Dnf;
use crate::fixture::{Fixture, copy, run, said};
use crate::server::Server;

#[test]
fn a_copy_by_debmirror_serves_apt() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let base = fixture.path("mirror");
    let host = fixture.address.trim_start_matches("http://");
    let keyring = fixture.tree().join("covalent-archive-keyring.gpg");
    run(Command::new("debmirror")
        .args([
            "--method=http",
            "--root=/apt",
            "--dist=stable",
            "--section=main",
        ])
        .args(["--arch=amd64", "--nosource", "--rsync-extra=none"])
        .args(["--diff=none"])
        .arg(format!("--host={host}"))
        .arg(format!("--keyring={}", keyring.display()))
        .arg(base.join("apt")))?;
    let copy = Server::new(&base)?.address;
    let apt = Apt::new(&fixture, "apt")?;
    apt.point_to(&copy)?;
    apt.update()?;
    let output = apt.download("tiny")?;
    ensure!(
        output.status.success() && said(&output).contains(&copy),
        "{}",
        said(&output)
    );
    Ok(())
}

#[test]
fn a_copy_by_reposync_serves_dnf() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let base = fixture.path("mirror");
    let dnf = Dnf::new(&fixture, "dnf")?;
    let path = base.display().to_string();
    dnf.ok(&["reposync", "--repoid=covalent", "--download-path", &path])?;
    // Its own metadata, which it does not sign; packages are.
    run(Command::new("createrepo_c")
        .arg("--quiet")
        .arg(base.join("covalent")))?;
    let copy = Server::new(&base.join("covalent"))?.address;
    let new = Dnf::new(&fixture, "new")?;
    new.point_to(&copy, 0)?;
    new.ok(&["install", "tiny"]).map(drop)
}

#[test]
fn a_copy_of_the_whole_serves_both() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let base = fixture.path("copy");
    copy(&fixture.tree(), &base)?;
    fs::remove_dir_all(fixture.tree())?;
    let copy = Server::new(&base)?.address;
    fs::create_dir(fixture.tree())?;
    for file in fs::read_dir(&base)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), fixture.tree().join(file.file_name()))?;
        }
    }
    let apt = Apt::new(&fixture, "apt")?;
    apt.point_to(&copy)?;
    apt.update()?;
    ensure!(apt.download("tiny")?.status.success(), "apt");
    let dnf = Dnf::new(&fixture, "dnf")?;
    dnf.point_to(&format!("{copy}/rpm/stable"), 1)?;
    dnf.ok(&["install", "tiny"]).map(drop)
}
