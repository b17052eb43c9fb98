//! Building a generation beside the active one.

use std::fs;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::bearing::{self, bears_on_server};
use super::bytecode::{self, Modules};
use super::installed::{Versions, installed};
use super::resolve::{self, Resolution};
use super::share::share;
use super::verify::{Verified, verify};
use super::{Generation, Manifest, Seconds};
use crate::command::Command;
use crate::failpoint;
use crate::failure::{self, Kind};
use crate::file;
use crate::host::Host;
use crate::progress::Progress;
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
    space::check(&host.generations())?;
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

/// What a new environment answered, and how long that took.
struct Tried {
    verified: Verified,
    compile: Duration,
    verify: Duration,
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
        let tried = self.try_out(host, blueprint, base, &packages, progress)?;
        failpoint::pass("verified");
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

    /// Installs what is wanted, and as much as can be had of what was carried over. Returns that.
    fn install(
        &self,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<(Installed, Versions)> {
        let carried = &blueprint.wanted.carried;
        if !carried.is_empty() {
            match self.install_with(carried, host, blueprint, progress) {
                Ok(installed) => return Ok((installed, carried.clone())),
                Err(error) if is_want_of_source(&error) => progress.warn(&format!(
                    "{} had been installed by hand, and can't be had again: {error:#}",
                    resolve::sentence(carried)
                )),
                Err(error) => return Err(error),
            }
        }
        let none = Versions::new();
        Ok((self.install_with(&none, host, blueprint, progress)?, none))
    }

    /// Installs from the first source that has everything.
    fn install_with(
        &self,
        carried: &Versions,
        host: &Host,
        blueprint: &Blueprint,
        progress: &Progress,
    ) -> Result<Installed> {
        let mut lack = None;
        for source in Source::all(host, blueprint.settings) {
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
        Err(lack.unwrap_or_else(|| source::none_allowed(host)))
    }

    fn install_from(
        &self,
        source: &Source,
        carried: &Versions,
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
    fn with_own(&self, mut sync: Command, wanted: &Wanted, carried: &Versions) -> Result<Command> {
        let lock = self.path.join(resolve::LOCK);
        let mut hashed = true;
        if !wanted.requirements.is_empty() {
            hashed = resolve::is_hashed(&lock);
            sync = sync.args([&lock]);
        } else {
            // The index has wheels of all that is in the locks, and the administrator's own
            // packages may have to be built.
            sync = sync.args(["--no-build"]);
        }
        if !carried.is_empty() {
            // As they are in the environment that this one starts from, where they are found; a
            // hash of them was never known.
            let path = self.path.join(CARRIED);
            let lines = carried
                .iter()
                .map(|(name, version)| format!("{name}=={version}\n"));
            file::write(&path, lines.collect::<String>().as_bytes(), 0o644)?;
            sync = sync.args([&path]);
            hashed = false;
        }
        Ok(match hashed {
            true => sync.args(["--require-hashes"]),
            // uv checks every hash that is there, as it does by default.
            false => sync,
        })
    }

    /// Compiles the modules, and loads the server from the new environment, unless it could not
    /// tell the difference to the one that this one started from.
    fn try_out(
        &self,
        host: &Host,
        blueprint: &Blueprint,
        base: Option<&Generation>,
        packages: &Versions,
        progress: &Progress,
    ) -> Result<Tried> {
        let compile = |modules| {
            let interpreter = &blueprint.wanted.interpreter;
            timed(|| bytecode::compile(host, &self.path, interpreter, modules))
        };
        if let Some(base) = base
            && !bears_on_server(
                (&base.path, &base.manifest.packages),
                (&self.path, packages),
            )
        {
            let (((), compile), _) =
                progress.step("compiling what is new", || compile(Modules::All))?;
            failpoint::pass("compiled");
            let sought = bearing::SOUGHT;
            fs::hard_link(base.path.join(sought), self.path.join(sought))
                .context("keeping what is known of the server's modules")?;
            return Ok(Tried {
                verified: Verified {
                    executors: base.manifest.executors.clone(),
                    database_revision: base.manifest.database_revision.clone(),
                    sought: Vec::new(),
                },
                compile,
                verify: Duration::ZERO,
            });
        }
        let what = "compiling what the server loads";
        let (((), first), _) = progress.step(what, || compile(Modules::Loaded))?;
        failpoint::pass("compiled");
        let what = format!("loading the server from {} packages", packages.len());
        let (tried, _) = progress.step(&what, || {
            thread::scope(|scope| {
                // The disk has work while the processor has other: most is written when it counts.
                scope.spawn(|| file::sync_file_system(&self.path));
                let rest = (blueprint.modules == Modules::All)
                    .then(|| scope.spawn(|| compile(Modules::All)));
                let (verified, verify) = timed(|| verify(host, &self.path))?;
                let rest = match rest {
                    Some(rest) => join(rest)?.1,
                    None => Duration::ZERO,
                };
                Ok(Tried {
                    verified,
                    compile: first + rest,
                    verify,
                })
            })
        })?;
        let text = tried.verified.sought.join("\n");
        file::write(&self.path.join(bearing::SOUGHT), text.as_bytes(), 0o644)?;
        Ok(tried)
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

/// Does `work`, and returns how long it took as well.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

/// What a thread returned; its panic goes on here.
fn join<T>(thread: ScopedJoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn is_want_of_source(error: &anyhow::Error) -> bool {
    failure::find(error).is_some_and(|failure| failure.kind == Kind::Source)
}
