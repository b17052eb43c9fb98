//! What a generation is: its manifest, a JSON file in its folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::layout::MANIFEST;
use crate::environment::interpreter::Interpreter;
use crate::environment::requirement::Versions;
use crate::system::file;
use crate::unprivileged::Revision;

/// The manifest. It is written last: a folder that has one is complete.
///
/// A field that a later version adds has to have a default, so that older manifests stay readable.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// The folder's name: when it was made, and the start of the fingerprint.
    pub id: String,
    /// What it was made from.
    pub fingerprint: String,
    /// When its build began.
    pub made: Timestamp,
    /// The interpreter it was made for.
    pub interpreter: Interpreter,
    /// Where its wheels came from.
    pub source: String,
    /// The versions of the packages in it, by their names.
    pub packages: Versions,
    /// The versions that were resolved for the administrator's requirement files, what they need
    /// included, but for what the locks hold.
    #[serde(default)]
    pub own: Versions,
    /// What somebody had installed into an earlier environment by hand.
    #[serde(default)]
    pub carried: Versions,
    /// The generation whose files it started from, if any.
    #[serde(default)]
    pub base: Option<String>,
    /// Counts the changes in how an environment is laid out.
    #[serde(default)]
    pub layout: u32,
    /// A digest of the launcher that it was tried with.
    #[serde(default)]
    pub launcher: String,
    /// The revision of Covalent's database that it works with.
    #[serde(default)]
    pub database_revision: Option<Revision>,
    /// The executors that Covalent loads from it.
    pub executors: Vec<String>,
    /// How long it took.
    pub seconds: Seconds,
}

/// How long each phase took, in seconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Seconds {
    /// Making the empty environment, or starting from the files of another one.
    pub create: f64,
    /// Finding out the versions of the administrator's packages.
    #[serde(default)]
    pub resolve: f64,
    /// Unpacking the packages.
    pub install: f64,
    /// Compiling the modules that the first start needs, or all of them.
    #[serde(default)]
    pub compile: f64,
    /// Loading the server from it.
    pub verify: f64,
}

impl Manifest {
    /// The version of Covalent in it.
    pub fn covalent(&self) -> Option<&str> {
        self.packages.get("covalent").map(String::as_str)
    }

    /// Reads the manifest of the generation at `path`, if it has one.
    pub fn read(path: &Path) -> Option<Manifest> {
        let bytes = fs::read(path.join(MANIFEST)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes it, which makes the folder a ready generation.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self).context("writing the manifest as JSON")?;
        file::write(&path.join(MANIFEST), &bytes, 0o644)
    }
}
