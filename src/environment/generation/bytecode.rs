//! Compiling a generation's modules: nobody who runs them could write the bytecode.

use std::fs;
use std::path::Path;
use std::thread;
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

/// The part of the modules that the server loads after which loading it can begin: by the time that it
/// has loaded these, one core has compiled the others.
const HEAD_START: &str = "0.6";

/// Which modules to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modules {
    /// The first of those that the server loads.
    First,
    /// The modules that the server loads; [`complete`] compiles the others.
    Loaded,
    /// All of them.
    All,
}

/// The file in the folder of [`ahead`] that is there as long as somebody waits for more.
const UNDER_WAY: &str = "under-way";

/// Compiles modules of the environment at `path`, but for those that `prepared` has from [`ahead`].
/// Until all are compiled, the environment is marked as incomplete.
pub fn compile(
    host: &Host,
    path: &Path,
    interpreter: &Interpreter,
    modules: Modules,
    prepared: &Path,
) -> Result<()> {
    let mark = path.join(INCOMPLETE);
    let mut command = script(host, interpreter).args([path.join("lib")]);
    command = command.args(["--loaded".as_ref(), host.loaded_modules().as_os_str()]);
    if modules != Modules::All {
        file::write(&mark, b"", 0o644)?;
    }
    command = match modules {
        Modules::First => command.args(["--share", HEAD_START]),
        Modules::Loaded => command.args(["--share", "1"]),
        Modules::All => command,
    };
    if prepared.is_dir() {
        command = command.args(["--prepared".as_ref(), prepared.as_os_str()]);
    }
    command.run()?;
    if modules == Modules::All && mark.exists() {
        fs::remove_file(&mark).with_context(|| format!("removing {}", mark.display()))?;
    }
    Ok(())
}

/// Installs, and meanwhile compiles what uv unpacks into its cache, into the folder `prepared`: fetching
/// waits for the network. That saves time and no more: what it does not do, [`compile`] does.
pub fn ahead<T>(
    host: &Host,
    interpreter: &Interpreter,
    cache: &Path,
    prepared: &Path,
    install: impl FnOnce() -> Result<T>,
) -> Result<T> {
    file::make_folder(prepared, 0o700)?;
    let under_way = prepared.join(UNDER_WAY);
    file::write(&under_way, b"", 0o600)?;
    let command = script(host, interpreter)
        .args(["--ahead".as_ref(), cache.as_os_str()])
        .args(["--prepared".as_ref(), prepared.as_os_str()]);
    thread::scope(|scope| {
        let helper = scope.spawn(|| command.run());
        let installed = install();
        fs::remove_file(&under_way).with_context(|| format!("removing {}", under_way.display()))?;
        // Whatever has become of it.
        let _ = helper.join();
        installed
    })
}

/// Not with the environment's own Python, which runs code of the packages when it starts.
fn script(host: &Host, interpreter: &Interpreter) -> Command {
    Command::new(&interpreter.path, LIMIT)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join("compile.py")])
}

/// Whether modules of a ready generation are left to compile.
pub fn is_incomplete(generation: &Generation) -> bool {
    generation.path.join(INCOMPLETE).exists()
}

/// Compiles the modules of a ready generation that have no bytecode yet. Only for the holder of
/// the lock.
pub fn complete(host: &Host, generation: &Generation, progress: &Progress) -> Result<()> {
    let interpreter = &generation.manifest.interpreter;
    let none = Path::new("");
    let compile = || compile(host, &generation.path, interpreter, Modules::All, none);
    progress.step("compiling every module", compile).map(drop)
}
