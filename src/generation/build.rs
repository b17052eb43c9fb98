//! Building a generation beside the active one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::bytecode::Modules;
use super::installed::{Versions, direct_url, installed};
use super::resolve::{self, Resolution};
use super::share::share;
use super::trial::Trial;
use super::{Generation, Manifest, Seconds};
use crate::command::Command;
use crate::failpoint;
use crate::failure::{self, Kind};
use crate::file;
use crate::host::Host;
use crate::progress::Progress;
use crate::requirement;
use crate::settings::Settings;
use crate::source::{self, Source};
use crate::space;
use crate::wanted::{LAYOUT, Wanted};

/// An empty environment is a dozen files.
const CREATE_LIMIT: Duration = Duration::from_secs(120);

/// A slow mirror, or a slow disk: 50 MB of wheels and 200 MB of files.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// The names and versions in an environment, for whoever installs something beside it.
pub(super) const CONSTRAINTS: &str = "constraints.txt";

/// What is carried over, as a requirement file.
pub(super) const CARRIED: &str = "carried.txt";

/// What to build, and how.
#[derive(Debug)]
pub struct Blueprint<'a> {
    /// What it shall be.
    pub wanted: &'a Wanted,
    /// The settings, of which the sources of wheels count here.
    pub settings: &'a Settings,
    /// A generation whose resolved versions stay.
    pub before: Option<&'a Generation>,
    /// Whether files of that generation may be shared.
    pub share: bool,
    /// Whether its resolved versions stay.
    pub resolution: Resolution,
    /// Which modules to compile.
    pub modules: Modules,
}

impl Blueprint<'_> {
    /// The generation to start from: one of the same interpreter and of the same layout.
    fn base(&self) -> Option<&Generation> {
        self.before.filter(|before| {
            let (made_for, wanted) = (&before.manifest.interpreter, &self.wanted.interpreter);
            self.share
                && before.manifest.layout == LAYOUT
                && made_for.path == wanted.path
                && made_for.abi == wanted.abi
                && made_for.version[..2] == wanted.version[..2]
        })
    }
}

/// Builds what is wanted, verifies it, and returns it ready; nothing is left of it on failure.
///
/// Returns nothing if an upgrade found every version that the generation before has.
pub fn build(
    host: &Host,
    blueprint: &Blueprint,
    progress: &Progress,
) -> Result<Option<Generation>> {
    file::make_folder(&host.generations(), 0o755)?;
    space::check(&host.generations(), blueprint.base().is_some())?;
    Unfinished::new(host, blueprint.wanted)
        .complete(host, blueprint, progress)
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

/// What was installed from a source.
struct Installed {
    source: String,
    own: Versions,
    resolve: Duration,
    install: Duration,
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
    fn new(host: &Host, wanted: &Wanted) -> Unfinished {
        let made = Timestamp::now();
        let first = format!(
            "{}-{}",
            made.strftime("%Y%m%dT%H%M%SZ"),
            &wanted.fingerprint[..8]
        );
        // Two of one second and one fingerprint: an upgrade, or a build from nothing.
        let mut ids = std::iter::once(first.clone())
            .chain((2u32..).map(|number| format!("{first}-{number}")));
        let free = |id: &String| !host.generations().join(id).exists();
        let id = ids.find(free).unwrap_or(first);
        Unfinished {
            made,
            path: host.generations().join(&id),
            cache: host.generations().join(format!(".{id}.cache")),
            id,
            keep: false,
        }
    }

    fn complete(
        mut self,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<Option<Generation>> {
        let wanted = blueprint.wanted;
        let base = blueprint.base();
        let create = self.create(host, wanted, base, progress)?;
        let (found, carried) = self.install(host, blueprint, progress)?;
        failpoint::pass("installed");
        let packages = installed(&self.path);
        if blueprint.resolution == Resolution::Upgrade
            && blueprint.before.is_some_and(|before| {
                let before = &before.manifest;
                before.fingerprint == wanted.fingerprint && before.packages == packages
            })
        {
            return Ok(None);
        }
        self.write_constraints(&packages)?;
        let trial = Trial {
            host,
            wanted,
            path: &self.path,
            packages: &packages,
            modules: blueprint.modules,
        };
        let tried = trial.run(base, progress)?;
        failpoint::pass("verified");
        let launcher = trial.launcher()?;
        let manifest = Manifest {
            id: self.id.clone(),
            fingerprint: wanted.fingerprint.clone(),
            made: self.made,
            interpreter: wanted.interpreter.clone(),
            source: found.source,
            packages,
            own: found.own,
            carried,
            base: base.map(|base| base.manifest.id.clone()),
            layout: LAYOUT,
            launcher,
            database_revision: tried.verified.database_revision,
            executors: tried.verified.executors,
            seconds: Seconds {
                create: create.as_secs_f64(),
                resolve: found.resolve.as_secs_f64(),
                install: found.install.as_secs_f64(),
                compile: tried.compile.as_secs_f64(),
                verify: tried.verify.as_secs_f64(),
            },
        };
        // The manifest says that all else is there, so all else reaches the disk before it.
        file::sync_file_system(&self.path)?;
        manifest.write(&self.path)?;
        self.keep = true;
        failpoint::pass("ready");
        Ok(Some(Generation {
            path: self.path.clone(),
            manifest,
        }))
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
            self.uv(host, CREATE_LIMIT)
                .env("UV_CACHE_DIR", &self.cache)
                .args(arguments)
                .run()
                .map(drop)
                .context("making an empty environment")
        })?;
        failpoint::pass("started");
        Ok(taken)
    }

    /// Installs what is wanted, and what was carried over if that can be. Returns the latter.
    fn install(
        &self,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<(Installed, Versions)> {
        let carried = &blueprint.wanted.carried;
        let lines = self.carried_lines(blueprint);
        if !lines.is_empty() {
            match self.install_with(&lines, host, blueprint, progress) {
                Ok(installed) => return Ok((installed, carried.clone())),
                // Whatever it is: what somebody did by hand must not keep the rest away.
                Err(error) => progress.warn(&format!(
                    "{} had been installed by hand and can't be had again: {error:#}\n  \
                     Next: covalentctl add NAME, once a source has it",
                    resolve::sentence(carried)
                )),
            }
        }
        Ok((
            self.install_with("", host, blueprint, progress)?,
            Versions::new(),
        ))
    }

    /// What is carried over, as a requirement file. What came from an address is had from there
    /// alone: an index may have something else by that name. What the generation before does not
    /// have any more came from nobody knows where.
    fn carried_lines(&self, blueprint: &Blueprint) -> String {
        let Some(before) = blueprint.before else {
            return String::new();
        };
        let there = installed(&before.path);
        let mut lines = String::new();
        for (name, version) in &blueprint.wanted.carried {
            match direct_url(&before.path, name) {
                Some(url) => lines.push_str(&format!("{name} @ {url}\n")),
                None if there.contains_key(name) => {
                    lines.push_str(&format!("{name}=={version}\n"));
                }
                None => {}
            }
        }
        lines
    }

    /// Installs from the first source that has everything.
    fn install_with(
        &self,
        carried: &str,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<Installed> {
        let mut lack = None;
        let mut sources = Source::all(host, blueprint.settings);
        if blueprint.resolution == Resolution::Upgrade {
            // The newest version may not be on this machine. The index has its folders, too.
            sources.reverse();
        }
        for source in sources {
            let result = self
                .install_from(&source, carried, host, blueprint, progress)
                .map_err(|error| source::diagnose(error, &source))
                .map_err(|error| resolve::explain(error, blueprint.wanted));
            match result {
                Ok(installed) => return Ok(installed),
                Err(error) if is_want_of_source(&error) => {
                    lack = Some(match lack.take() {
                        Some(first) => source::neither(first, error),
                        None => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let lack = lack.unwrap_or_else(|| source::none_allowed(host));
        Err(resolve::explain_lack(lack, blueprint.wanted))
    }

    fn install_from(
        &self,
        source: &Source,
        carried: &str,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<Installed> {
        let wanted = blueprint.wanted;
        let cache = match source {
            Source::Wheelhouse(_) => self.cache.clone(),
            Source::Index(..) => host.cache(),
        };
        let python = self.path.join("bin/python");
        let uv = |verb: &str| {
            let uv = self.uv(host, INSTALL_LIMIT).args(["pip", verb]);
            let uv = uv.args(["--python".as_ref(), python.as_os_str()]);
            source.apply(uv, &cache)
        };
        let (own, resolve) = if wanted.requirements.is_empty() {
            (Versions::new(), Duration::ZERO)
        } else {
            let what = format!("resolving your requirements with {source}");
            let before = blueprint
                .before
                .filter(|_| blueprint.resolution == Resolution::Keep)
                .map(|before| before.path.join(resolve::LOCK));
            progress.step(&what, || {
                resolve::resolve(&self.path, wanted, before.as_deref(), uv("compile"))
            })?
        };
        failpoint::pass("resolved");
        let what = format!("installing from {source}");
        let ((), install) = progress.step(&what, || {
            let sync = self.with_own(uv("sync"), wanted, carried)?;
            sync.args(&wanted.locks).run().map(drop)
        })?;
        Ok(Installed {
            source: source.to_string(),
            own,
            resolve,
            install,
        })
    }

    /// Adds what is installed beside the shipped locks to a call of `uv pip sync`.
    fn with_own(&self, mut sync: Command, wanted: &Wanted, carried: &str) -> Result<Command> {
        if wanted.requirements.is_empty() && carried.is_empty() {
            // The sources have wheels of all that is in the locks; what is the administrator's
            // own may have to be built.
            return Ok(sync.args(["--no-build", "--require-hashes"]));
        }
        let lock = self.path.join(resolve::LOCK);
        let mut hashed = true;
        let mut own = Versions::new();
        if !wanted.requirements.is_empty() {
            (own, hashed) = resolve::read(&lock)?;
            sync = sync.args([&lock]);
        }
        // As they are in the environment that this one starts from, where they are found; a hash of
        // them was never known. What is wanted has the last word.
        let lines: String = carried
            .lines()
            .filter(|line| requirement::name(line).is_some_and(|name| !own.contains_key(&name)))
            .fold(String::new(), |text, line| text + line + "\n");
        if !lines.is_empty() {
            let path = self.path.join(CARRIED);
            file::write(&path, lines.as_bytes(), 0o600)?;
            sync = sync.args([&path]);
            hashed = false;
        }
        Ok(match hashed {
            true => sync.args(["--require-hashes"]),
            // uv checks every hash that is there, as it does by default.
            false => sync,
        })
    }

    fn write_constraints(&self, packages: &Versions) -> Result<()> {
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
