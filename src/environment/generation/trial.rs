//! Trying a new environment: its modules are compiled, and the server is loaded from it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Generation;
use super::bytecode::{self, Modules};
use super::impact::affects_server;
use super::layout::SOUGHT;
use super::verify::{Verified, verify};
use crate::environment::requirement::Versions;
use crate::environment::wanted::Wanted;
use crate::system::digest::Digest;
use crate::system::failpoint;
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::thread::join;

/// An environment to be tried.
pub struct Trial<'a> {
    /// The machine.
    pub host: &'a Host,
    /// What it was made from.
    pub wanted: &'a Wanted,
    /// Its folder.
    pub path: &'a Path,
    /// What is in it.
    pub packages: &'a Versions,
    /// Which modules to compile.
    pub modules: Modules,
    /// Where those are that were compiled while they were installed.
    pub prepared: &'a Path,
}

/// What a new environment answered, and how long that took.
pub struct Tried {
    /// Its answer.
    pub verified: Verified,
    /// Compiling.
    pub compile: Duration,
    /// Loading the server.
    pub verify: Duration,
}

impl Trial<'_> {
    /// Compiles the modules, and loads the server from the new environment, unless it could not
    /// tell the difference to the one that this one started from, `base`.
    pub fn run(&self, base: Option<&Generation>, progress: &Progress) -> Result<Tried> {
        let compile = |modules| {
            let interpreter = &self.wanted.interpreter;
            timed(|| bytecode::compile(self.host, self.path, interpreter, modules, self.prepared))
        };
        if let Some(base) = base
            && base.manifest.launcher == self.launcher()?
            && !affects_server(
                (&base.path, &base.manifest.packages),
                (self.path, self.packages),
            )
        {
            let (((), compile), _) =
                progress.step("compiling what is new", || compile(Modules::All))?;
            failpoint::pass("compiled");
            fs::hard_link(base.path.join(SOUGHT), self.path.join(SOUGHT))
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
        let what = "compiling what the server loads first";
        let (((), first), _) = progress.step(what, || compile(Modules::First))?;
        failpoint::pass("compiled");
        let what = format!("loading the server from {} packages", self.packages.len());
        let (tried, _) = progress.step(&what, || {
            thread::scope(|scope| {
                // The disk has work while the processor has other: most is written when it counts.
                scope.spawn(|| file::sync_file_system(self.path));
                let rest = scope.spawn(|| compile(self.modules));
                let (verified, verify) = timed(|| verify(self.host, self.path))?;
                let ((), rest) = join(rest)?;
                Ok(Tried {
                    verified,
                    compile: first + rest,
                    verify,
                })
            })
        })?;
        let text = tried.verified.sought.join("\n");
        file::write(&self.path.join(SOUGHT), text.as_bytes(), 0o644)?;
        Ok(tried)
    }

    /// A digest of the launcher, whose imports are what is tried.
    pub fn launcher(&self) -> Result<String> {
        let folder = self.host.launcher();
        let mut digest = Digest::default();
        let mut files = Vec::new();
        for folder in [folder.join("covalent_service"), folder] {
            files.extend(super::entries(&folder)?);
        }
        files.retain(|path| path.extension().is_some_and(|end| end == "py"));
        files.sort();
        for path in files {
            let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            digest.add(&text);
        }
        Ok(digest.hexadecimal())
    }
}

/// Does `work`, and returns how long it took as well.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}
