//! A repository with keys of its own, served on loopback.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use machine::Output;
use tempfile::TempDir;

use crate::server::Server;
use crate::tiny;

/// The longest that any program takes, on two busy cores.
const LIMIT: Duration = Duration::from_secs(300);

/// A repository, its publisher's keys, and a folder to work in.
pub struct Fixture {
    folder: TempDir,
    /// What serves it.
    pub server: Server,
    /// Where it is served.
    pub address: String,
}

impl Fixture {
    /// An empty tree, and a key.
    pub fn new() -> Result<Fixture> {
        let folder = tempfile::tempdir()?;
        let tree = folder.path().join("tree");
        fs::create_dir(&tree)?;
        let server = Server::new(&tree)?;
        let address = server.address.clone();
        let fixture = Fixture {
            folder,
            server,
            address,
        };
        copy(&first_key()?, &fixture.keys())?;
        Ok(fixture)
    }

    /// The same with version 1-1 of the package `tiny`.
    pub fn with_tiny() -> Result<Fixture> {
        let fixture = Fixture::new()?;
        fixture.publish_tiny("1-1")?;
        Ok(fixture)
    }

    /// The same, with a key of its own.
    pub fn of_another() -> Result<Fixture> {
        let fixture = Fixture::new()?;
        fs::remove_dir_all(fixture.keys())?;
        fixture.publish(&["--new-key", "--no-passphrase"])?;
        fixture.publish_tiny("1-1")?;
        Ok(fixture)
    }

    /// An empty tree, and a key that the publisher has made with gpg.
    pub fn with_key(algorithm: &str, usage: &str) -> Result<Fixture> {
        let fixture = Fixture::new()?;
        fs::remove_dir_all(fixture.keys())?;
        fs::create_dir(fixture.keys())?;
        fs::set_permissions(fixture.keys(), Permissions::from_mode(0o700))?;
        fixture.gpg(&[
            "--passphrase",
            "",
            "--quick-generate-key",
            "Own",
            algorithm,
            usage,
            "1y",
        ])?;
        Ok(fixture)
    }

    /// A folder that goes with the fixture.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The repository.
    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    /// The folder of the keys.
    pub fn keys(&self) -> PathBuf {
        self.path("keys")
    }

    /// scripts/publish's program.
    pub fn publisher(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_publish"));
        command.arg("--keys").arg(self.keys());
        command
    }

    /// Runs scripts/publish's program, whatever comes of it.
    pub fn try_publish<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        output(self.publisher().args(arguments))
    }

    /// Runs scripts/publish's program, and returns what it said.
    pub fn publish<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let output = self.try_publish(arguments)?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(said(&output))
    }

    /// Publishes packages for this fixture's address, with more options.
    pub fn add(&self, options: &[&str], packages: &[PathBuf]) -> Result<String> {
        let to = ["--insecure-http", "--address", &self.address];
        let words = to.iter().chain(options);
        let mut arguments: Vec<PathBuf> = words.map(PathBuf::from).collect();
        arguments.push(self.tree());
        arguments.extend(packages.iter().cloned());
        self.publish(&arguments)
    }

    /// Publishes a version of the package `tiny`, in both families.
    pub fn publish_tiny(&self, version: &str) -> Result<String> {
        let packages = tiny::packages(self.folder.path(), "tiny", version)?;
        self.add(&[], &packages)
    }

    /// Fingerprints of the keys, the oldest first.
    pub fn fingerprints(&self) -> Result<Vec<String>> {
        let listing = self.gpg(&["--with-colons", "--list-secret-keys"])?;
        Ok(listing
            .lines()
            .filter(|line| line.starts_with("fpr:"))
            .filter_map(|line| line.split(':').nth(9).map(String::from))
            .collect())
    }

    /// gpg with the publisher's keys.
    pub fn gpg(&self, arguments: &[&str]) -> Result<String> {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--yes", "--homedir"]).arg(self.keys());
        run(gpg.args(arguments))
    }

    /// Makes the files of a copy of the tree as old as those that nothing has named for a month, and its
    /// publication as well if that is `whole`; signs that.
    pub fn age(&self, tree: &Path, whole: bool) -> Result<()> {
        let then = Timestamp::now() - SignedDuration::from_hours(31 * 24);
        let sums = tree.join("SHA256SUMS");
        let text = fs::read_to_string(&sums)?;
        let lines = text.lines().enumerate().map(|(number, line)| {
            let is_dated = line.starts_with('#') && (whole || number > 0);
            match line.rsplit_once(' ') {
                Some((comment, _)) if is_dated => format!("{comment} {then}\n"),
                _ => format!("{line}\n"),
            }
        });
        fs::write(&sums, lines.collect::<String>())?;
        let sums = sums.display().to_string();
        let signature = format!("{sums}.asc");
        self.gpg(&["--armor", "--output", &signature, "--detach-sign", &sums])
            .map(drop)
    }

    /// A file of the tree.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        fs::read(self.tree().join(path)).with_context(|| path.to_string())
    }

    /// A text of the tree.
    pub fn text(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.read(path)?)?)
    }

    /// Files of the tree whose paths have these in them, in this order of words.
    pub fn find(&self, words: &[&str]) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.tree(), &mut found)?;
        found.retain(|path| {
            let path = path.to_string_lossy();
            words.iter().all(|word| path.contains(word))
        });
        found.sort();
        Ok(found)
    }

    /// The only such file.
    pub fn only(&self, words: &[&str]) -> Result<PathBuf> {
        let found = self.find(words)?;
        ensure!(found.len() == 1, "not one file with {words:?}: {found:?}");
        Ok(found[0].clone())
    }
}

/// A folder of keys with one in it. Making one takes seconds: the first test that wants it does, for all that
/// run with the same publisher, each in a process of its own.
fn first_key() -> Result<PathBuf> {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
    let lock = File::create(kept.with_extension("lock"))?;
    lock.lock()?;
    let publisher = env!("CARGO_BIN_EXE_publish");
    let modified = |path: &Path| fs::metadata(path)?.modified();
    if modified(&kept).is_ok_and(|made| modified(publisher.as_ref()).is_ok_and(|at| at < made)) {
        return Ok(kept);
    }
    let folder = tempfile::tempdir()?;
    run(Command::new(publisher)
        .arg("--keys")
        .arg(folder.path())
        .args(["--new-key", "--no-passphrase"]))?;
    stop_agent(folder.path());
    let new = kept.with_extension("new");
    for old in [&kept, &new] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    copy(folder.path(), &new)?;
    fs::rename(&new, &kept)?;
    Ok(kept)
}

/// The agent would end by itself when it finds its folder gone, a while later.
pub fn stop_agent(keys: &Path) {
    let mut gpgconf = Command::new("gpgconf");
    let _ = output(gpgconf.arg("--homedir").arg(keys).args(["--kill", "all"]));
}

impl Drop for Fixture {
    fn drop(&mut self) {
        stop_agent(&self.keys());
    }
}

/// Every file below a folder.
pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Copies a folder to a path at which there is nothing.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("--archive").args([from, to])).map(drop)
}

/// Runs a program, whatever comes of it but that it does not end.
pub fn output(command: &mut Command) -> Result<Output> {
    machine::run(command.stdin(Stdio::null()), LIMIT)
}

/// Runs a program to its end, and returns its standard output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    ensure!(output.success(), "{command:?}: {}", said(&output));
    Ok(output.stdout)
}

/// All that a program said, and how it ended.
pub fn said(output: &Output) -> String {
    format!("{}{}", output.text(), output.status)
}
