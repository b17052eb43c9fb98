//! Compiling a generation's modules: nobody who runs them could write the bytecode.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Generation;
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
    /// Those that the server loads: somebody waits for its first start, and compiles the others
    /// afterwards with [`complete`].
    Loaded,
    /// All of them.
    All,
}

/// Compiles modules of the environment at `path`. Returns how long that took.
pub fn compile(
    host: &Host,
    path: &Path,
    interpreter: &Interpreter,
    modules: Modules,
    progress: &Progress,
) -> Result<Duration> {
    // Not the environment's own Python, which runs code of the packages when it starts.
    let command = Command::new(&interpreter.path, LIMIT)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("compile.py"), path.join("lib")]);
    let (command, what) = match modules {
        Modules::All => (command, "compiling every module"),
        Modules::Loaded => {
            file::write(&path.join(INCOMPLETE), b"", 0o644)?;
            let list = host.loaded_modules();
            (command.args([list]), "compiling what the server loads")
        }
    };
    let ((), taken) = progress.step(what, || command.run().map(drop).map_err(space::diagnose))?;
    Ok(taken)
}

/// Whether modules of a ready generation are left to compile.
pub fn is_incomplete(generation: &Generation) -> bool {
    generation.path.join(INCOMPLETE).exists()
}

/// Compiles the modules of a ready generation that have no bytecode yet. Only for the holder of
/// the lock.
pub fn complete(host: &Host, generation: &Generation, progress: &Progress) -> Result<()> {
    let interpreter = &generation.manifest.interpreter;
    compile(host, &generation.path, interpreter, Modules::All, progress)?;
    let mark = generation.path.join(INCOMPLETE);
    fs::remove_file(&mark).with_context(|| format!("removing {}", mark.display()))
}
