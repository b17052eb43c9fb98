//! The root file system that a machine boots from, and never changes.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::command::run;

/// Making a root takes half a minute; others may be making theirs first.
const MAKING_LIMIT: Duration = Duration::from_secs(20 * 60);

/// This repository.
pub(crate) fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A base root, kept from being replaced while this value lives.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its directory; before it those of layers above it, with colons between (`lowerdir=` of overlayfs).
    pub path: PathBuf,
    _locks: Vec<File>,
}

impl Root {
    /// The root of a suite that `scripts/root` knows, made if need be; or
    /// somebody's own, if `suite` is a path or `COVALENT_TEST_ROOT_<SUITE>` names one.
    pub fn of(suite: &str) -> Result<Root> {
        let given = env::var_os(variable(suite)).map(PathBuf::from);
        let given = given.or_else(|| suite.contains('/').then(|| PathBuf::from(suite)));
        match given {
            Some(path) => Root::given(&path),
            None => Root::made(suite),
        }
    }

    fn given(path: &Path) -> Result<Root> {
        let path = path
            .canonicalize()
            .with_context(|| format!("there is no root file system at {}", path.display()))?;
        ensure!(
            path.join("usr").is_dir(),
            "{} is not a root file system",
            path.display()
        );
        Ok(Root {
            path,
            _locks: Vec::new(),
        })
    }

    /// This root with a layer above it, which is kept as long.
    pub fn under(mut self, layer: &Path, lock: File) -> Root {
        let mut path = layer.as_os_str().to_owned();
        path.push(":");
        path.push(&self.path);
        self.path = path.into();
        self._locks.push(lock);
        self
    }

    fn made(suite: &str) -> Result<Root> {
        let script = project().join("scripts/root");
        let what = format!("`scripts/root {suite}` failed");
        run(Command::new(&script).arg(suite), MAKING_LIMIT)
            .and_then(|output| output.into_stdout(&what))
            .with_context(|| format!("there is no root file system for {suite}"))?;
        let roots = project().canonicalize()?.join("target/roots");
        let lock_file = roots.join(format!("{suite}.lock"));
        let lock = File::open(&lock_file)
            .and_then(|file| file.lock_shared().map(|()| file))
            .with_context(|| format!("cannot lock {}", lock_file.display()))?;
        Ok(Root {
            path: roots.join(suite),
            _locks: vec![lock],
        })
    }
}

/// The variable that replaces a suite's root by another.
fn variable(suite: &str) -> String {
    let name = suite
        .to_uppercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("COVALENT_TEST_ROOT_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_has_its_variable() {
        assert_eq!(variable("rpm"), "COVALENT_TEST_ROOT_RPM");
    }

    #[test]
    fn a_path_that_is_no_root_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let error = Root::of(empty.path().to_str().unwrap()).unwrap_err();
        assert!(error.to_string().ends_with("is not a root file system"));
    }
}
