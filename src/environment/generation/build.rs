//! Building a generation beside the active one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::blueprint::Blueprint;
use super::bytecode::Modules;
use super::contents::packages;
use super::install::{InstallOutcome, Installer};
use super::layout::CONSTRAINTS;
use super::resolve::Resolution;
use super::share::share;
use super::trial::{Trial, Tried};
use super::{Generation, Manifest, Seconds};
use crate::environment::requirement::Versions;
use crate::environment::uv::uv;
use crate::environment::wanted::{LAYOUT, Wanted};
use crate::system::failpoint;
use crate::system::file;
use crate::system::host::Host;
use crate::system::mount;
use crate::system::progress::Progress;
use crate::system::space;

/// An empty environment is a dozen files.
const CREATE_LIMIT: Duration = Duration::from_secs(120);

/// Builds what is wanted, verifies it, and returns it ready; nothing is left of it on failure.
///
/// Returns nothing if an upgrade found every version that the generation before has.
pub fn build(
    host: &Host,
    blueprint: &Blueprint,
    progress: &Progress,
) -> Result<Option<Generation>> {
    file::make_folder(&host.generations(), 0o755)?;
    file::scatter(&host.generations());
    mount::refuse_noexec(&host.generations())?;
    space::check(&host.generations(), blueprint.base().is_some())?;
    Unfinished::new(host, blueprint).complete(host, blueprint, progress)
}

/// A build under way; dropped, it is removed.
struct Unfinished {
    id: String,
    made: Timestamp,
    path: PathBuf,
    /// uv's cache on the same file system: its files become the environment's by hard link.
    cache: PathBuf,
    keep: bool,
    /// Whether the run that completes it removes the cache: some thousand files, while nobody waits.
    leave_cache: bool,
}

/// What came of each phase of a build.
struct Built {
    create: Duration,
    found: InstallOutcome,
    packages: Versions,
    tried: Tried,
    launcher: String,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next run, which sweeps.
        if !(self.keep && self.leave_cache) {
            let _ = fs::remove_dir_all(&self.cache);
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Unfinished {
    fn new(host: &Host, blueprint: &Blueprint) -> Unfinished {
        let made = Timestamp::now();
        // No two are made within a millisecond, and their names are in the order of their times.
        let id = format!(
            "{}-{}",
            made.strftime("%Y%m%dT%H%M%S.%3fZ"),
            &blueprint.wanted.fingerprint[..8]
        );
        Unfinished {
            made,
            path: host.generations().join(&id),
            cache: host.generations().join(format!(".{id}.cache")),
            id,
            keep: false,
            leave_cache: blueprint.modules == Modules::Loaded,
        }
    }

    fn complete(
        self,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<Option<Generation>> {
        let (wanted, base) = (blueprint.wanted, blueprint.base());
        let create = self.create(host, wanted, base, progress)?;
        let prepared = self.cache.join("bytecode");
        let installer = Installer {
            host,
            blueprint,
            path: &self.path,
            cache: &self.cache,
            prepared: &prepared,
        };
        let found = installer.run(progress)?;
        failpoint::pass("installed");
        let packages = packages(&self.path);
        if blueprint.resolution == Resolution::Upgrade && is_as_before(blueprint, &packages) {
            return Ok(None);
        }
        self.write_constraints(&packages)?;
        let trial = Trial {
            host,
            wanted,
            path: &self.path,
            packages: &packages,
            modules: blueprint.modules,
            prepared: &prepared,
        };
        let tried = trial.run(base, progress)?;
        failpoint::pass("verified");
        let launcher = trial.launcher()?;
        let manifest = self.manifest(
            blueprint,
            Built {
                create,
                found,
                packages,
                tried,
                launcher,
            },
        );
        self.finish(manifest).map(Some)
    }

    fn manifest(&self, blueprint: &Blueprint, built: Built) -> Manifest {
        let Built { found, tried, .. } = built;
        let wanted = blueprint.wanted;
        Manifest {
            id: self.id.clone(),
            fingerprint: wanted.fingerprint.clone(),
            made: self.made,
            interpreter: wanted.interpreter.clone(),
            source: found.source,
            packages: built.packages,
            own: found.own,
            carried: found.carried,
            base: blueprint.base().map(|base| base.manifest.id.clone()),
            layout: LAYOUT,
            launcher: built.launcher,
            database_revision: tried.verified.database_revision,
            executors: tried.verified.executors,
            seconds: Seconds {
                create: built.create.as_secs_f64(),
                resolve: found.resolve.as_secs_f64(),
                install: found.install.as_secs_f64(),
                compile: tried.compile.as_secs_f64(),
                verify: tried.verify.as_secs_f64(),
            },
        }
    }

    /// The manifest says that all else is there, so all else reaches the disk before it.
    fn finish(mut self, manifest: Manifest) -> Result<Generation> {
        file::sync_file_system(&self.path)?;
        manifest.write(&self.path)?;
        self.keep = true;
        failpoint::pass("ready");
        Ok(Generation {
            path: self.path.clone(),
            manifest,
        })
    }

    fn create(
        &self,
        host: &Host,
        wanted: &Wanted,
        base: Option<&Generation>,
        progress: &Progress,
    ) -> Result<Duration> {
        if let Some(base) = base {
            let what = format!("starting from {}", base.manifest.id);
            let ((), taken) = progress.step(&what, || share(&base.path, &self.path))?;
            failpoint::pass("shared");
            return Ok(taken);
        }
        let version = wanted.interpreter.version_text();
        let what = format!("making an environment for Python {version}");
        let ((), taken) = progress.step(&what, || {
            let arguments = [
                "venv".as_ref(),
                // Its files serve later generations, which are in other folders.
                "--relocatable".as_ref(),
                "--python".as_ref(),
                wanted.interpreter.path.as_os_str(),
                self.path.as_os_str(),
            ];
            uv(host, CREATE_LIMIT)
                .env("UV_CACHE_DIR", &self.cache)
                .args(arguments)
                .run()
                .map(drop)
                .context("making an empty environment")
        })?;
        failpoint::pass("started");
        Ok(taken)
    }

    fn write_constraints(&self, packages: &Versions) -> Result<()> {
        let lines: String = packages
            .iter()
            .map(|(name, version)| format!("{name}=={version}\n"))
            .collect();
        file::write(&self.path.join(CONSTRAINTS), lines.as_bytes(), 0o644)
    }
}

/// Whether an upgrade has found every version that is there already.
fn is_as_before(blueprint: &Blueprint, packages: &Versions) -> bool {
    blueprint.before.is_some_and(|before| {
        before.manifest.fingerprint == blueprint.wanted.fingerprint
            && before.manifest.packages == *packages
    })
}
