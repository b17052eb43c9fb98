//! Building a generation beside the active one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::bytecode::{self, Modules};
use super::verify::verify;
use super::{Generation, Manifest, Seconds};
use crate::command::Command;
use crate::failure::{self, Kind};
use crate::file;
use crate::host::Host;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::source::{self, Source};
use crate::space;
use crate::wanted::Wanted;

/// An empty environment is a dozen files.
const CREATE_LIMIT: Duration = Duration::from_secs(120);

/// A slow mirror, or a slow disk: 50 MB of wheels and 200 MB of files.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// The names and versions in an environment, for whoever installs something beside it.
const CONSTRAINTS: &str = "constraints.txt";

/// Builds what is wanted, verifies it, and returns it ready; nothing is left of it on failure.
pub fn build(
    host: &Host,
    settings: &Settings,
    wanted: &Wanted,
    modules: Modules,
    progress: &Progress,
) -> Result<Generation> {
    file::make_folder(&host.generations(), 0o755)?;
    space::check(&host.generations())?;
    let made = Timestamp::now();
    let stamp = made.strftime("%Y%m%dT%H%M%SZ");
    let id = format!("{stamp}-{}", &wanted.fingerprint[..8]);
    let unfinished = Unfinished {
        made,
        path: host.generations().join(&id),
        cache: host.generations().join(format!(".{id}.cache")),
        id,
        keep: false,
    };
    unfinished
        .complete(host, settings, wanted, modules, progress)
        .map_err(space::diagnose)
}

/// A build under way; dropped, it is removed.
struct Unfinished {
    id: String,
    made: Timestamp,
    path: PathBuf,
    /// uv's cache on the same file system: its files become the environment's by hard link.
    cache: PathBuf,
    keep: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next run, which sweeps.
        let _ = fs::remove_dir_all(&self.cache);
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Unfinished {
    fn complete(
        mut self,
        host: &Host,
        settings: &Settings,
        wanted: &Wanted,
        modules: Modules,
        progress: &Progress,
    ) -> Result<Generation> {
        let version = wanted.interpreter.version_text();
        let what = format!("making an environment for Python {version}");
        let ((), create) = progress.step(&what, || self.create(host, wanted))?;
        let (source, install) = self.install(host, settings, wanted, progress)?;
        let packages = self.packages(host)?;
        self.write_constraints(&packages)?;
        let compile = bytecode::compile(host, &self.path, &wanted.interpreter, modules, progress)?;
        let what = format!("loading the server from {} packages", packages.len());
        let (executors, verify) = progress.step(&what, || {
            thread::scope(|scope| {
                // The disk has work while the processor has other: most is written when it counts.
                scope.spawn(|| file::sync_file_system(&self.path));
                verify(host, &self.path)
            })
        })?;
        let manifest = Manifest {
            id: self.id.clone(),
            fingerprint: wanted.fingerprint.clone(),
            made: self.made,
            interpreter: wanted.interpreter.clone(),
            source,
            packages,
            executors,
            seconds: Seconds {
                create: create.as_secs_f64(),
                install: install.as_secs_f64(),
                compile: compile.as_secs_f64(),
                verify: verify.as_secs_f64(),
            },
        };
        // The manifest says that all else is there, so all else reaches the disk before it.
        file::sync_file_system(&self.path)?;
        manifest.write(&self.path)?;
        self.keep = true;
        Ok(Generation {
            path: self.path.clone(),
            manifest,
        })
    }

    fn create(&self, host: &Host, wanted: &Wanted) -> Result<()> {
        let arguments = [
            "venv".as_ref(),
            "--python".as_ref(),
            wanted.interpreter.path.as_os_str(),
            self.path.as_os_str(),
        ];
        self.uv(host, CREATE_LIMIT)
            .env("UV_CACHE_DIR", &self.cache)
            .args(arguments)
            .run()
            .map(drop)
            .context("making an empty environment")
    }

    /// Installs from the first source that has everything.
    fn install(
        &self,
        host: &Host,
        settings: &Settings,
        wanted: &Wanted,
        progress: &Progress,
    ) -> Result<(String, Duration)> {
        let mut lack = None;
        for source in Source::all(host, settings) {
            let what = format!("installing from {source}");
            let result = progress.step(&what, || {
                self.install_from(&source, host, wanted)
                    .map_err(|error| source::diagnose(error, &source))
            });
            match result {
                Ok(((), taken)) => return Ok((source.to_string(), taken)),
                Err(error) if is_want_of_source(&error) => {
                    lack = Some(match lack.take() {
                        Some(first) => source::neither(first, error),
                        None => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(lack.unwrap_or_else(|| source::none_allowed(host)))
    }

    fn install_from(&self, source: &Source, host: &Host, wanted: &Wanted) -> Result<()> {
        let cache = match source {
            Source::Wheelhouse(_) => self.cache.clone(),
            Source::Index(..) => host.cache(),
        };
        let python = self.path.join("bin/python");
        let base = |verb: &str| {
            let options = ["--no-build", "--python"].map(OsStr::new);
            let uv = self.uv(host, INSTALL_LIMIT).args(["pip", verb]);
            source.apply(uv.args(options).args([&python]), &cache)
        };
        base("sync")
            .args(["--require-hashes".as_ref(), host.lock().as_os_str()])
            .run()?;
        if !wanted.requirements.is_empty() {
            // Whatever is added, the versions of the lock stay.
            self.write_constraints(&self.packages(host)?)?;
            let constraints = self.path.join(CONSTRAINTS);
            let mut command =
                base("install").args(["--constraint".as_ref(), constraints.as_os_str()]);
            for path in &wanted.requirements {
                command = command.args(["--requirement".as_ref(), path.as_os_str()]);
            }
            command.run()?;
        }
        Ok(())
    }

    fn packages(&self, host: &Host) -> Result<BTreeMap<String, String>> {
        let python = self.path.join("bin/python");
        let arguments = ["pip", "list", "--format=json", "--python"].map(OsStr::new);
        let output = self
            .uv(host, CREATE_LIMIT)
            .env("UV_CACHE_DIR", &self.cache)
            .args(arguments)
            .args([&python])
            .run()
            .context("listing the packages of the new environment")?;
        #[derive(serde::Deserialize)]
        struct Package {
            name: String,
            version: String,
        }
        let packages: Vec<Package> =
            serde_json::from_str(&output.stdout).context("understanding uv's list of packages")?;
        Ok(packages
            .into_iter()
            .map(|package| (package.name, package.version))
            .collect())
    }

    fn write_constraints(&self, packages: &BTreeMap<String, String>) -> Result<()> {
        let lines: String = packages
            .iter()
            .map(|(name, version)| format!("{name}=={version}\n"))
            .collect();
        file::write(&self.path.join(CONSTRAINTS), lines.as_bytes(), 0o644)
    }

    fn uv(&self, host: &Host, limit: Duration) -> Command {
        Command::new(host.uv(), limit)
            // A configuration file or a download of somebody's must not decide what we build.
            .env("UV_NO_CONFIG", "1")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_LINK_MODE", "hardlink")
            .env("UV_NO_PROGRESS", "1")
            .env("HOME", host.state())
            .args(["--color", "never"])
    }
}

fn is_want_of_source(error: &anyhow::Error) -> bool {
    failure::find(error).is_some_and(|failure| failure.kind == Kind::Source)
}
