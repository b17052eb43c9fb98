//! What a person or a machine fetches first: `install.sh`, the descriptions of the repository for apt
//! and dnf, and the page.

use std::path::Path;

use anyhow::{Context, Result};

use crate::index::{Entry, Suite, Suites, newest};
use crate::key::Key;
use crate::keyring::{ARMORED, BINARY};
use crate::package::{Family, sha256};
use crate::page::{self, Item, Listing, Page};
use crate::publication::Publication;

const SOURCES: &str = include_str!("../web/covalent.sources");
const REPO: &str = include_str!("../web/covalent.repo");
const INSTALL: &str = include_str!("../web/install.sh");

/// All that lies at the top of the tree, but for its checksums.
pub const FILES: [&str; 6] = [
    ARMORED,
    BINARY,
    "covalent.repo",
    "covalent.sources",
    "index.html",
    "install.sh",
];

/// Prepares all of it but the keys, for the tree as it is prepared.
pub fn prepare(
    publication: &mut Publication,
    address: &str,
    keys: &[Key],
    (debs, rpms): (&Suites, &Suites),
) -> Result<()> {
    let mut listings = Vec::new();
    for suite in Suite::ALL {
        let rpm = format!("rpm/{}", suite.name());
        for (family, folder, suites) in [(Family::Deb, "apt", debs), (Family::Rpm, &rpm, rpms)] {
            let entries = suites.get(&suite).cloned().unwrap_or_default();
            listings.push(listing(publication, family, suite, folder, entries)?);
        }
    }
    let sources = SOURCES.replace("@ADDRESS@", address);
    let repo = REPO.replace("@ADDRESS@", address);
    let install = INSTALL
        .replace("@ADDRESS@", address)
        .replace(
            "@FINGERPRINT@",
            &keys.first().context("no key")?.fingerprint,
        )
        .replace("@BINARY_SHA256@", &sha256(&publication.path(BINARY))?)
        .replace("@ARMORED_SHA256@", &sha256(&publication.path(ARMORED))?)
        .replace("@MACHINES@", &machines(&listings).join(" "))
        .replace("@SOURCES@", sources.trim_end())
        .replace("@REPO@", repo.trim_end());
    publication.text("covalent.sources", sources)?;
    publication.text("covalent.repo", repo)?;
    publication.text("install.sh", install)?;
    let page = page::render(&Page {
        publication,
        address,
        keys,
        listings: &listings,
    })?;
    publication.text("index.html", page)
}

/// The architectures that there are packages for, as `uname -m` names them.
fn machines(listings: &[Listing]) -> Vec<&'static str> {
    let has = |names: &[&str]| {
        let mut entries = listings.iter().flat_map(|listing| &listing.entries);
        entries.any(|item| names.contains(&item.entry.architecture.as_str()))
    };
    let kinds = [("x86_64", "amd64"), ("aarch64", "arm64")];
    let there = kinds
        .iter()
        .filter(|(machine, debian)| has(&[machine, debian]));
    there.map(|(machine, _)| *machine).collect()
}

fn listing(
    publication: &Publication,
    family: Family,
    suite: Suite,
    folder: &str,
    all: Vec<Entry>,
) -> Result<Listing> {
    // createrepo_c's order is its own.
    let entries = newest(family, all, usize::MAX)?.into_iter().map(|entry| {
        let path = format!("{folder}/{}", entry.path);
        Item {
            published: publication.published(Path::new(&path)),
            path,
            entry,
        }
    });
    Ok(Listing {
        family,
        suite,
        entries: entries.collect(),
    })
}
