//! What the indexes of either family list.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::ValueEnum;

use crate::package::{Family, Package};
use crate::version;

/// A line of development that a machine follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Suite {
    /// For every machine.
    Stable,
    /// For those who try what becomes stable.
    Testing,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Suite; 2] = [Suite::Stable, Suite::Testing];

    /// Its name in paths and indexes.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Stable => "stable",
            Suite::Testing => "testing",
        }
    }
}

/// The packages of each suite of a family.
pub type Suites = BTreeMap<Suite, Vec<Entry>>;

/// A package as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The package's name.
    pub name: String,
    /// Its version with the revision, and with the epoch if there is one.
    pub version: String,
    /// Its architecture, as the family names it.
    pub architecture: String,
    /// Its path: from apt/ for a Debian package, from rpm/SUITE/ for an RPM package.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Its part of apt's index; empty for an RPM package.
    pub stanza: String,
}

impl Entry {
    /// A package that no index has listed yet, so that its size and digest are not known.
    pub fn new(package: &Package, path: String) -> Entry {
        Entry {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            path,
            size: 0,
            sha256: String::new(),
            stanza: String::new(),
        }
    }
}

/// The newest `keep` versions of each package, newest first, by name and architecture.
pub fn newest(family: Family, entries: Vec<Entry>, keep: usize) -> Result<Vec<Entry>> {
    let ranks = version::ranks(family, entries.iter().map(|entry| entry.version.as_str()))?;
    let mut groups: BTreeMap<(String, String), Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        let group = (entry.name.clone(), entry.architecture.clone());
        groups.entry(group).or_default().push(entry);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|entry| ranks[&entry.version]);
        group.truncate(keep);
    }
    Ok(groups.into_values().flatten().collect())
}
