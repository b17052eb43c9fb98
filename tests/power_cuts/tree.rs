//! A small machine on a file system of its own.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::file_system::{FileSystem, run};

/// What the environments hold: a few packages of the real lock, so that a build takes a moment.
const PACKAGES: [&str; 4] = ["locket", "toolz", "tblib", "zipp"];

/// Loads what there is instead of the server.
const VERIFY: &str = "\
import site
site.main()
import json, locket, tblib, toolz, zipp
print(json.dumps({'executors': ['local'], 'sought': ['locket', 'tblib', 'toolz', 'zipp']}))
";

/// What a run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The previous environment, or none where there was none.
    Old,
    /// Another one.
    New,
}

pub struct Tree {
    file_system: FileSystem,
}

impl Tree {
    pub fn new() -> Result<Tree> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = project.join("target");
        let lock = fs::read_to_string(target.join("covalent.lock"))
            .context("target/covalent.lock: type scripts/build first")?;
        let tree = Tree {
            file_system: FileSystem::new(&target.join("power-cuts"))?,
        };
        let small: String = covalentctl::pins(&lock)
            .iter()
            .filter(|pin| PACKAGES.contains(&pin.name.as_str()))
            .map(|pin| pin.text())
            .collect();
        tree.write("usr/share/covalent/covalent.lock", &small)?;
        tree.write(
            "usr/share/covalent/loaded-modules.txt",
            "toolz/__init__.py\n",
        )?;
        tree.write("usr/libexec/covalent/server/verify.py", VERIFY)?;
        for (path, goal) in [
            (
                "usr/libexec/covalent/server/compile.py",
                project.join("server/compile.py"),
            ),
            ("usr/libexec/covalent/uv", target.join("uv/uv")),
            ("usr/share/covalent/wheelhouse", target.join("wheelhouse")),
            ("usr/bin/python3", "/usr/bin/python3".into()),
        ] {
            let path = tree.path(path);
            fs::create_dir_all(path.parent().context("a parent")?)?;
            symlink(goal, path)?;
        }
        tree.write("etc/covalent/covalentctl.toml", "network = \"never\"\n")?;
        fs::create_dir(tree.path("opt"))?;
        Ok(tree)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.file_system.path().join(path)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, text).map_err(Into::into)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covalentctl"));
        command
            .args(arguments)
            .env("COVALENTCTL_ROOT", self.file_system.path());
        command
    }

    pub fn ok(&self, arguments: &[&str]) -> Result<()> {
        run(&mut self.command(arguments))
    }

    /// What the environment's link points to.
    pub fn active(&self) -> Option<PathBuf> {
        fs::read_link(self.path("opt/virtualenvs/covalent")).ok()
    }

    /// As on a machine before the first installation.
    pub fn forget_environments(&self) -> Result<()> {
        fs::remove_dir_all(self.path("opt/virtualenvs"))?;
        fs::create_dir(self.path("opt/virtualenvs")).map_err(Into::into)
    }

    /// As `pip install` leaves it.
    pub fn install_by_hand(&self) -> Result<()> {
        let active = self
            .path("opt/virtualenvs")
            .join(self.active().context("an environment")?);
        let version = fs::read_dir(active.join("lib"))?
            .next()
            .context("a library")??;
        let site = version.path().join("site-packages");
        fs::write(site.join("by_hand.py"), "x = 1\n")?;
        let metadata = site.join("by_hand-1.0.dist-info");
        fs::create_dir(&metadata)?;
        fs::write(
            metadata.join("METADATA"),
            "Metadata-Version: 2.1\nName: by-hand\nVersion: 1.0\n",
        )?;
        fs::write(metadata.join("INSTALLER"), "pip\n")?;
        fs::write(
            metadata.join("RECORD"),
            "by_hand.py,,\nby_hand-1.0.dist-info/RECORD,,\n",
        )
        .map_err(Into::into)
    }

    /// Takes every free block of the file system, at once but for the last few.
    pub fn fill(&self) -> Result<()> {
        let filler = self.path("filler");
        let mut file = fs::File::create(&filler)?;
        let statistics = rustix::fs::statvfs(self.file_system.path())?;
        let (mut taken, mut piece) = (0, statistics.f_bavail * statistics.f_frsize);
        while piece >= statistics.f_frsize {
            let mode = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&file, mode, taken, piece) {
                Ok(()) => taken += piece,
                Err(_) => piece /= 2,
            }
        }
        file.seek(SeekFrom::Start(taken))?;
        let block = [0; 4096];
        let full = (0..10_000).any(|_| file.write_all(&block).is_err());
        ensure!(full, "the file system has no end");
        Ok(())
    }

    /// Gives it back.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.path("filler")).map_err(Into::into)
    }

    /// Checks the environment, then that the next application succeeds and leaves no garbage.
    pub fn look(&self, before: Option<&Path>) -> Result<Found> {
        let found = self.environment(before)?;
        self.ok(&["apply"]).context("the next apply")?;
        self.environment(None).context("after the next apply")?;
        self.no_garbage().context("after the next apply")?;
        Ok(found)
    }

    /// Checks that the environment is as before, or complete, or was never there.
    pub fn environment(&self, before: Option<&Path>) -> Result<Found> {
        let Some(active) = self.active() else {
            ensure!(before.is_none(), "the environment is gone");
            return Ok(Found::Old);
        };
        let environment = self.path("opt/virtualenvs").join(&active);
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(environment.join("manifest.json"))?)?;
        let versions = manifest["packages"].as_object().context("its packages")?;
        let check = "import importlib.metadata, json, locket, sys, tblib, toolz, zipp
            print(json.dumps({d.name.lower(): d.version for d in importlib.metadata.distributions()}))";
        let output = Command::new(environment.join("bin/python"))
            .args(["-I", "-B", "-c", &check.replace("            ", "")])
            .output()?;
        if !output.status.success() {
            bail!("{active:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let there: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let there = there.as_object().context("packages")?;
        for (name, version) in versions {
            ensure!(
                there.get(name) == Some(version),
                "{active:?}: {name} is {:?}",
                there.get(name)
            );
        }
        Ok(if before == Some(active.as_path()) {
            Found::Old
        } else {
            Found::New
        })
    }

    fn no_garbage(&self) -> Result<()> {
        let names = |path: &str| -> Result<Vec<String>> {
            let mut names: Vec<String> = fs::read_dir(self.path(path))?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_>>()?;
            names.sort();
            Ok(names)
        };
        let roots = names("opt/virtualenvs")?;
        ensure!(roots == [".covalent", "covalent"], "{roots:?}");
        let generations = names("opt/virtualenvs/.covalent")?;
        ensure!((1..=2).contains(&generations.len()), "{generations:?}");
        for name in generations {
            let manifest = format!("opt/virtualenvs/.covalent/{name}/manifest.json");
            ensure!(self.path(&manifest).is_file(), "{name} has no manifest");
        }
        let state = names("var/lib/covalentctl")?;
        ensure!(
            state
                .iter()
                .all(|name| ["lock", "restart-requested", "state.json"].contains(&name.as_str())),
            "{state:?}"
        );
        let requirements = names("etc/covalent/requirements.d").unwrap_or_default();
        ensure!(
            requirements.iter().all(|name| name == "local.txt"),
            "{requirements:?}"
        );
        Ok(())
    }
}
