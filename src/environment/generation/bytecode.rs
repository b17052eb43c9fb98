//! Compiling a generation's modules: nobody who runs them could write the bytecode.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Access, access};

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

/// The folder of bytecode beside modules (PEP 3147).
const BYTECODE: &str = "__pycache__";

/// The file in the folder of [`ahead`] that is there as long as somebody waits for more.
const UNDER_WAY: &str = "under-way";

/// Compiles modules of the environment at `path`, but for those that `prepared` has from [`ahead`], and
/// the launcher's. Until all are compiled, the environment is marked as incomplete.
pub fn compile(
    host: &Host,
    path: &Path,
    interpreter: &Interpreter,
    modules: Modules,
    prepared: &Path,
) -> Result<()> {
    let mark = path.join(INCOMPLETE);
    let mut command = script(host, interpreter).args([path.join("lib")]);
    // Packages are loaded before the launcher.
    if modules != Modules::First && launcher_is_due(host, interpreter) {
        let bytecode = launcher(host).join(BYTECODE);
        if bytecode.exists() {
            fs::remove_dir_all(&bytecode)
                .with_context(|| format!("removing {}", bytecode.display()))?;
        }
        command = command.args([launcher(host)]);
    }
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

/// The launcher's modules, which are the package's, and are loaded by every process of the server's.
fn launcher(host: &Host) -> PathBuf {
    host.launcher().join("covalent_service")
}

/// Whether a module of the launcher has come since its bytecode was written, if that ever was. Where
/// it can't be, as in a file system that is never written, nothing is due.
fn launcher_is_due(host: &Host, interpreter: &Interpreter) -> bool {
    let folder = launcher(host);
    let [major, minor, _] = interpreter.version;
    let is_due = |module: &Path| {
        let name = module.file_stem().unwrap_or_default().display();
        let bytecode = format!("{BYTECODE}/{name}.cpython-{major}{minor}.pyc");
        // When a package's file came is in the time of its inode alone (dpkg(1), rpm(8)).
        let came = fs::metadata(module).map(|file| (file.ctime(), file.ctime_nsec()));
        let written =
            fs::metadata(folder.join(bytecode)).map(|file| (file.mtime(), file.mtime_nsec()));
        matches!((came, written), (Ok(came), written) if written.as_ref().ok() < Some(&came))
    };
    access(&folder, Access::WRITE_OK).is_ok()
        && super::entries(&folder).is_ok_and(|entries| {
            let modules = |path: &&PathBuf| path.extension().is_some_and(|end| end == "py");
            entries.iter().filter(modules).any(|module| is_due(module))
        })
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

/// Whether modules of a ready generation, or of the launcher that runs from it, are left to compile.
pub fn is_incomplete(host: &Host, generation: &Generation) -> bool {
    generation.path.join(INCOMPLETE).exists()
        || launcher_is_due(host, &generation.manifest.interpreter)
}

/// Compiles the modules of a ready generation that have no bytecode yet. Only for the holder of
/// the lock.
pub fn complete(host: &Host, generation: &Generation, progress: &Progress) -> Result<()> {
    let interpreter = &generation.manifest.interpreter;
    let none = Path::new("");
    let compile = || compile(host, &generation.path, interpreter, Modules::All, none);
    progress.step("compiling every module", compile).map(drop)
}
