//! Compiling a generation's modules: nobody who runs them could write the bytecode.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Generation;
use super::layout::INCOMPLETE;
use crate::environment::interpreter::Interpreter;
use crate::system::command::Command;
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Every module took 6 s on two cores; plugins for the clouds treble it, a busy machine much more.
const LIMIT: Duration = Duration::from_secs(900);

/// Which modules to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modules {
    /// The modules that the server loads; [`complete`] compiles the others.
    Loaded,
    /// All of them.
    All,
}

/// Compiles modules of the environment at `path`. Until all are, it is marked as incomplete.
pub fn compile(
    host: &Host,
    path: &Path,
    interpreter: &Interpreter,
    modules: Modules,
) -> Result<()> {
    let mark = path.join(INCOMPLETE);
    // Not the environment's own Python, which runs code of the packages when it starts.
    let mut command = Command::new(&interpreter.path, LIMIT)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("compile.py"), path.join("lib")]);
    if modules == Modules::Loaded {
        file::write(&mark, b"", 0o644)?;
        command = command.args([host.loaded_modules()]);
    }
    command.run()?;
    if modules == Modules::All && mark.exists() {
        fs::remove_file(&mark).with_context(|| format!("removing {}", mark.display()))?;
    }
    Ok(())
}

/// Whether modules of a ready generation are left to compile.
pub fn is_incomplete(generation: &Generation) -> bool {
    generation.path.join(INCOMPLETE).exists()
}

/// Compiles the modules of a ready generation that have no bytecode yet. Only for the holder of
/// the lock.
pub fn complete(host: &Host, generation: &Generation, progress: &Progress) -> Result<()> {
    let interpreter = &generation.manifest.interpreter;
    let compile = || compile(host, &generation.path, interpreter, Modules::All);
    progress.step("compiling every module", compile).map(drop)
}
