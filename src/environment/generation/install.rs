//! Installing what is wanted into an environment, from the first source that has it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::blueprint::Blueprint;
use super::bytecode;
use super::contents::{direct_url, packages};
use super::layout::{CARRIED, LOCK};
use super::resolve::{self, Resolution, Resolved};
use crate::environment::diagnosis;
use crate::environment::requirement::{self, Versions};
use crate::environment::source::Source;
use crate::environment::uv::uv;
use crate::system::command::Command;
use crate::system::failpoint;
use crate::system::failure::{self, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// A slow mirror, or a slow disk: 50 MB of wheels and 200 MB of files.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// An environment to install into.
#[derive(Clone, Copy)]
pub struct Installer<'a> {
    /// The machine.
    pub host: &'a Host,
    /// What is wanted.
    pub blueprint: &'a Blueprint<'a>,
    /// The environment's folder.
    pub path: &'a Path,
    /// uv's cache on the same file system.
    pub cache: &'a Path,
    /// Where modules are compiled to while wheels are fetched.
    pub prepared: &'a Path,
}

/// What was installed from a source.
pub struct InstallOutcome {
    /// The source.
    pub source: String,
    /// What was resolved for the requirement files.
    pub own: Versions,
    /// What was carried over.
    pub carried: Versions,
    /// Resolving.
    pub resolve: Duration,
    /// Unpacking.
    pub install: Duration,
}

impl Installer<'_> {
    /// Installs what is wanted, and what was carried over if that can be.
    pub fn run(&self, progress: &Progress) -> Result<InstallOutcome> {
        let carried = &self.blueprint.wanted.carried;
        let lines = self.carried_lines();
        if !lines.is_empty() {
            match self.with(&lines, progress) {
                Ok(mut outcome) => {
                    outcome.carried = carried.clone();
                    let there = packages(self.path);
                    outcome
                        .carried
                        .retain(|name, version| there.get(name) == Some(version));
                    return Ok(outcome);
                }
                // Whatever it is: what somebody did by hand must not keep the rest away.
                Err(error) => progress.warn(&format!(
                    "{} had been installed by hand and is no longer available: {error:#}\n  \
                     Next: covalentctl add NAME, once a source has it",
                    resolve::sentence(carried)
                )),
            }
        }
        self.with("", progress)
    }

    /// What is carried over, as a requirement file. What came from an address is fetched from there
    /// only: an index may have something else by that name. What the previous generation no longer
    /// has is left out: where it came from is unknown.
    fn carried_lines(&self) -> String {
        let Some(before) = self.blueprint.before else {
            return String::new();
        };
        let there = packages(&before.path);
        let mut lines = String::new();
        for (name, version) in &self.blueprint.wanted.carried {
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
    fn with(&self, carried: &str, progress: &Progress) -> Result<InstallOutcome> {
        let Installer {
            host, blueprint, ..
        } = *self;
        let mut lack = None;
        let mut sources = Source::all(host, blueprint.settings);
        if blueprint.resolution == Resolution::Upgrade {
            // The newest version may not be on this machine. The index has its folders, too.
            sources.reverse();
        }
        for source in sources {
            let result = self
                .from(&source, carried, progress)
                .map_err(|error| diagnosis::diagnose(error, &source))
                .map_err(|error| diagnosis::explain(error, blueprint.wanted));
            match result {
                Ok(outcome) => return Ok(outcome),
                Err(error) if is_want_of_source(&error) => {
                    lack = Some(match lack.take() {
                        Some(first) => diagnosis::neither(first, error),
                        None => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let lack = lack.unwrap_or_else(|| diagnosis::none_allowed(host));
        Err(diagnosis::explain_lack(lack, blueprint.wanted))
    }

    fn from(&self, source: &Source, carried: &str, progress: &Progress) -> Result<InstallOutcome> {
        let Installer {
            host, blueprint, ..
        } = *self;
        let wanted = blueprint.wanted;
        let cache = match source {
            Source::Wheelhouse(_) => self.cache.to_path_buf(),
            Source::Index(..) => host.cache(),
        };
        let python = self.path.join("bin/python");
        let uv = |verb: &str| {
            let uv = uv(host, INSTALL_LIMIT).args(["pip", verb]);
            let uv = uv.args(["--python".as_ref(), python.as_os_str()]);
            source.apply(uv, &cache)
        };
        let (resolved, resolve) = if wanted.requirements.is_empty() {
            (None, Duration::ZERO)
        } else {
            let what = format!("resolving your requirements with {source}");
            let before = blueprint
                .before
                .filter(|_| blueprint.resolution == Resolution::Keep)
                .map(|before| before.path.join(LOCK));
            let (resolved, taken) = progress.step(&what, || {
                resolve::resolve(self.path, wanted, before.as_deref(), uv("compile"))
            })?;
            (Some(resolved), taken)
        };
        failpoint::pass("resolved");
        let what = format!("installing from {source}");
        let ((), install) = progress.step(&what, || {
            let sync = self.with_own(uv("sync"), resolved.as_ref(), carried)?;
            let locks = wanted.locks.iter().map(|lock| &lock.path);
            let sync = || sync.args(locks).run().map(drop);
            match source {
                Source::Wheelhouse(_) => sync(),
                Source::Index(..) => {
                    let interpreter = &wanted.interpreter;
                    bytecode::ahead(host, interpreter, &cache, self.prepared, sync)
                }
            }
        })?;
        Ok(InstallOutcome {
            source: source.name().into(),
            own: resolved.map_or_else(Versions::new, |resolved| resolved.own),
            carried: Versions::new(),
            resolve,
            install,
        })
    }

    /// Adds what is installed beside the shipped locks to a call of `uv pip sync`.
    fn with_own(
        &self,
        mut sync: Command,
        resolved: Option<&Resolved>,
        carried: &str,
    ) -> Result<Command> {
        let is_locked = resolved.is_none() && carried.is_empty();
        if is_locked || self.blueprint.wanted.wheels_only {
            // The sources have wheels of all that is in the locks; what is the administrator's
            // own may have to be built.
            sync = sync.args(["--no-build"]);
        }
        if is_locked {
            return Ok(sync.args(["--require-hashes"]));
        }
        if resolved.is_some() {
            sync = sync.args([self.path.join(LOCK)]);
        }
        let mut hashed = resolved.is_none_or(|resolved| resolved.hashed);
        let is_wanted = |name| resolved.is_some_and(|resolved| resolved.names.contains(&name));
        // As they are in the environment that this one starts from, where they are found; a hash of
        // them was never known. What is wanted has the last word.
        let lines: String = carried
            .lines()
            .filter(|line| requirement::name(line).is_some_and(|name| !is_wanted(name)))
            .fold(String::new(), |text, line| text + line + "\n");
        if !lines.is_empty() {
            let path = self.path.join(CARRIED);
            file::write(&path, lines.as_bytes(), 0o600)?;
            sync = sync.args([&path]);
            hashed = false;
        }
        Ok(if hashed {
            sync.args(["--require-hashes"])
        } else {
            // uv checks every hash that is there, as it does by default.
            sync
        })
    }
}

fn is_want_of_source(error: &anyhow::Error) -> bool {
    failure::find(error).is_some_and(|failure| failure.kind == Kind::Source)
}
