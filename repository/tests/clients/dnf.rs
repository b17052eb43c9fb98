//! dnf with folders of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use machine::Output;

use crate::fixture::{Fixture, output, said};

/// A machine that knows the repository by its `.repo` file.
pub struct Dnf {
    root: PathBuf,
}

impl Dnf {
    /// A machine of the fixture's.
    pub fn new(fixture: &Fixture, name: &str) -> Result<Dnf> {
        let dnf = Dnf {
            root: fixture.path(name),
        };
        fs::create_dir_all(dnf.root.join("repos"))?;
        fs::create_dir_all(dnf.keyring().parent().context("a folder")?)?;
        // As on RPM distributions: a repository that is out of reach is an error.
        fs::write(
            dnf.root.join("dnf.conf"),
            format!(
                "[main]\nskip_if_unavailable=0\nreposdir={}\n",
                dnf.root.join("repos").display()
            ),
        )?;
        fs::write(dnf.keyring(), fixture.read("covalent-archive-keyring.asc")?)?;
        let repo = fixture.text("covalent.repo")?;
        let ours = "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-covalent";
        ensure!(repo.contains(ours), "{repo}");
        let repo = repo.replace(ours, &format!("file://{}", dnf.keyring().display()));
        fs::write(dnf.root.join("repos/covalent.repo"), repo)?;
        Ok(dnf)
    }

    fn keyring(&self) -> PathBuf {
        self.root.join("root/etc/pki/rpm-gpg/RPM-GPG-KEY-covalent")
    }

    /// Takes the packages from a copy of the repository, whose metadata are signed (1) or not (0).
    pub fn point_to(&self, address: &str, signed: u8) -> Result<()> {
        let path = self.root.join("repos/covalent.repo");
        let repo = fs::read_to_string(&path)?;
        let lines = repo.lines().map(|line| match line.split_once('=') {
            Some(("mirrorlist", _)) => format!("baseurl={address}\n"),
            Some(("repo_gpgcheck", _)) => format!("repo_gpgcheck={signed}\n"),
            _ => format!("{line}\n"),
        });
        Ok(fs::write(&path, lines.collect::<String>())?)
    }

    /// Runs dnf, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut dnf = Command::new("dnf");
        dnf.env("LC_ALL", "C.UTF-8")
            .arg("--config")
            .arg(self.root.join("dnf.conf"))
            .arg(format!(
                "--installroot={}",
                self.root.join("root").display()
            ))
            .arg(format!(
                "--setopt=cachedir={}",
                self.root.join("cache").display()
            ))
            .arg(format!(
                "--setopt=persistdir={}",
                self.root.join("persist").display()
            ))
            .arg(format!("--setopt=logdir={}", self.root.display()))
            .args(["--releasever=1", "--disableplugin=local", "--assumeyes"])
            .args(arguments);
        output(&mut dnf)
    }

    /// Runs dnf, which has to succeed; what it said.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let said = said(&output);
        ensure!(output.status.success() && !said.contains("Error"), "{said}");
        Ok(said)
    }

    /// Asks for the metadata anew.
    pub fn update(&self) -> Result<()> {
        self.ok(&["makecache", "--refresh"]).map(drop)
    }

    /// Asks for the metadata anew, which has to fail; what it said.
    pub fn refusal(&self) -> Result<String> {
        let output = self.run(&["makecache", "--refresh"])?;
        let said = said(&output);
        ensure!(!output.status.success(), "dnf makecache went well: {said}");
        Ok(said)
    }

    /// The versions of a package.
    pub fn versions(&self, package: &str) -> Result<BTreeSet<String>> {
        let format = "--queryformat=%{version}-%{release}";
        let listing = self.run(&["--quiet", "--cacheonly", "repoquery", format, package])?;
        ensure!(listing.status.success(), "{}", said(&listing));
        Ok(listing.stdout.lines().map(String::from).collect())
    }
}
