//! apt-get with folders of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use machine::Output;

use crate::fixture::{Fixture, output, run, said};

/// A machine that knows the repository by its `.sources` file.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// A machine of the fixture's.
    pub fn new(fixture: &Fixture, name: &str) -> Result<Apt> {
        let apt = Apt {
            root: fixture.path(name),
        };
        for folder in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/sources.list.d",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/auth.conf.d",
            "etc/trusted.gpg.d",
        ] {
            fs::create_dir_all(apt.root.join(folder))?;
        }
        fs::write(apt.root.join("state/status"), "")?;
        let root = apt.root.display();
        let settings = format!(
            "Dir::State \"{root}/state\";\nDir::State::status \"{root}/state/status\";\n\
             Dir::Cache \"{root}/cache\";\nDir::Etc \"{root}/etc\";\nDir::Log \"{root}\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; \"i386\"; }};\n\
             APT::Sandbox::User \"\";\nAPT::Update::Error-Mode \"any\";\nAcquire::Retries \"0\";\n\
             Acquire::http::Proxy \"DIRECT\";\n"
        );
        fs::write(apt.root.join("apt.conf"), settings)?;
        apt.learn_keys(&fixture.tree().join("covalent-archive-keyring.gpg"))?;
        let sources = fixture.text("covalent.sources")?;
        let ours = "/usr/share/keyrings/covalent-archive-keyring.gpg";
        ensure!(sources.contains(ours), "{sources}");
        let sources = sources.replace(ours, &apt.keyring().display().to_string());
        fs::write(
            apt.root.join("etc/sources.list.d/covalent.sources"),
            sources,
        )?;
        Ok(apt)
    }

    fn keyring(&self) -> PathBuf {
        self.root.join("keyring.gpg")
    }

    /// Puts keys where `Signed-By` looks for them.
    pub fn learn_keys(&self, keys: &Path) -> Result<()> {
        fs::copy(keys, self.keyring())?;
        Ok(())
    }

    /// Takes the packages from a copy of the repository.
    pub fn point_to(&self, address: &str) -> Result<()> {
        let path = self.root.join("etc/sources.list.d/covalent.sources");
        let sources = fs::read_to_string(&path)?;
        let lines = sources.lines().map(|line| match line.split_once(": ") {
            Some(("URIs", _)) => format!("URIs: {address}/apt\n"),
            _ => format!("{line}\n"),
        });
        Ok(fs::write(&path, lines.collect::<String>())?)
    }

    /// Runs apt-get, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        output(
            Command::new("apt-get")
                .env("APT_CONFIG", self.root.join("apt.conf"))
                .env("LC_ALL", "C.UTF-8")
                .args(arguments),
        )
    }

    /// `apt-get update`, which has to succeed without a warning or a note.
    pub fn update(&self) -> Result<()> {
        let output = self.run(&["update"])?;
        let said = said(&output);
        ensure!(
            output.status.success()
                && !["\nW: ", "\nE: ", "\nN: "]
                    .iter()
                    .any(|word| said.contains(word)),
            "{said}"
        );
        Ok(())
    }

    /// `apt-get update`, which has to fail; what it said.
    pub fn refusal(&self) -> Result<String> {
        let output = self.run(&["update"])?;
        let said = said(&output);
        ensure!(!output.status.success(), "apt-get update went well: {said}");
        Ok(said)
    }

    /// Downloads a package as an installation would.
    pub fn download(&self, package: &str) -> Result<Output> {
        self.run(&[
            "--yes",
            "--download-only",
            "--reinstall",
            "install",
            package,
        ])
    }

    /// The newest package that [`Apt::download`] has left.
    pub fn downloaded(&self, package: &str) -> Result<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join("cache/archives"))? {
            let path = entry?.path();
            if path.to_string_lossy().contains(&format!("/{package}_")) {
                found.push(path);
            }
        }
        found.sort();
        found.pop().context("no package was downloaded")
    }

    /// The versions of a package.
    pub fn versions(&self, package: &str) -> Result<BTreeSet<String>> {
        let text = run(Command::new("apt-cache")
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .args(["madison", package]))?;
        let version = |line: &str| line.split('|').nth(1).map(|field| field.trim().to_string());
        Ok(text.lines().filter_map(version).collect())
    }
}
