//! Compiling a generation's modules: nobody who runs them could write the bytecode.

use std::fs;
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Generation;
use super::installed::site_packages;
use crate::command::Command;
use crate::file;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::progress::Progress;
use crate::space;

/// Every module took 6 s on two cores; plugins for the clouds treble it, a busy machine much more.
const LIMIT: Duration = Duration::from_secs(900);

/// Marks a generation whose modules are not all compiled. It works as it is; its modules are
/// never written again, only their bytecode is added.
pub(super) const INCOMPLETE: &str = "bytecode-incomplete";

/// Which modules to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modules {
    /// Those that the server loads; [`complete`] compiles the others.
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
    let mut command = compiler(host, path, interpreter);
    if modules == Modules::Loaded {
        file::write(&mark, b"", 0o644)?;
        command = command.args([host.loaded_modules()]);
    }
    command.run().map_err(space::diagnose)?;
    if modules == Modules::All && mark.exists() {
        fs::remove_file(&mark).with_context(|| format!("removing {}", mark.display()))?;
    }
    Ok(())
}

/// Compiles the modules that the file `list` names, one a line, relative to the packages' folder.
pub(super) fn compile_listed(
    host: &Host,
    path: &Path,
    interpreter: &Interpreter,
    list: &Path,
) -> Result<()> {
    let command = compiler(host, path, interpreter).args([list]);
    command.run().map(drop).map_err(space::diagnose)
}

/// The modules in the environment at `path` as [`compile_listed`] takes them.
pub(super) fn modules(path: &Path) -> Result<Vec<String>> {
    let Some(packages) = site_packages(path) else {
        return Ok(Vec::new());
    };
    let mut modules = Vec::new();
    let mut folders = vec![packages.clone()];
    while let Some(folder) = folders.pop() {
        for entry in super::entries(&folder)? {
            if entry.is_dir() && !entry.is_symlink() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "py") {
                let relative = entry.strip_prefix(&packages).unwrap_or(&entry);
                modules.push(relative.display().to_string());
            }
        }
    }
    Ok(modules)
}

/// What a thread that compiled returned; its panic goes on here.
pub(super) fn join<T>(thread: ScopedJoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Not the environment's own Python, which runs code of the packages when it starts.
fn compiler(host: &Host, path: &Path, interpreter: &Interpreter) -> Command {
    Command::new(&interpreter.path, LIMIT)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("compile.py"), path.join("lib")])
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
