//! What a person or a machine fetches first: `install.sh`, the descriptions of the repository for apt
//! and dnf, and the page.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::index::{Entry, Suite, newest};
use crate::keyring::{ARMORED, BINARY};
use crate::keys::Key;
use crate::package::{Family, sha256};
use crate::page::{Item, Listing, Page};
use crate::publication::Publication;
use crate::{apt, dnf, page};

const SOURCES: &str = include_str!("../web/covalent.sources");
const REPO: &str = include_str!("../web/covalent.repo");
const INSTALL: &str = include_str!("../web/install.sh");

/// The address that the tree was published for.
pub fn address(tree: &Path) -> Option<String> {
    let sources = fs::read_to_string(tree.join("covalent.sources")).ok()?;
    let uri = sources
        .lines()
        .find_map(|line| line.strip_prefix("URIs: "))?;
    uri.strip_suffix("/apt").map(String::from)
}

/// Prepares all of it, for the tree as it is.
pub fn prepare(publication: &mut Publication, address: &str, keys: &[Key]) -> Result<()> {
    let tree = publication.tree().to_owned();
    let mut listings = Vec::new();
    for suite in Suite::ALL {
        let rpm = format!("rpm/{}", suite.name());
        let (debs, rpms) = (apt::read(&tree, suite)?, dnf::read(&tree, suite)?);
        listings.push(listing(&tree, Family::Deb, suite, "apt", debs)?);
        listings.push(listing(&tree, Family::Rpm, suite, &rpm, rpms)?);
    }
    let sources = SOURCES.replace("@ADDRESS@", address);
    let repo = REPO.replace("@ADDRESS@", address);
    let install = INSTALL
        .replace("@ADDRESS@", address)
        .replace(
            "@FINGERPRINT@",
            &keys.first().context("no key")?.fingerprint,
        )
        .replace("@BINARY_SHA256@", &sha256(&tree.join(BINARY))?)
        .replace("@ARMORED_SHA256@", &sha256(&tree.join(ARMORED))?)
        .replace("@MACHINES@", &machines(&listings).join(" "))
        .replace("@SOURCES@", sources.trim_end())
        .replace("@REPO@", repo.trim_end());
    publication.text("covalent.sources", sources)?;
    publication.text("covalent.repo", repo)?;
    publication.text("install.sh", install)?;
    let page = Page {
        tree: &tree,
        address,
        keys,
        listings: &listings,
    };
    publication.text("index.html", page::render(&page)?)
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
    tree: &Path,
    family: Family,
    suite: Suite,
    folder: &str,
    all: Vec<Entry>,
) -> Result<Listing> {
    // createrepo_c's order is its own.
    let entries = newest(family, all, usize::MAX)?.into_iter().map(|entry| {
        let path = format!("{folder}/{}", entry.path);
        let published = fs::metadata(tree.join(&path))
            .and_then(|file| file.modified())
            .ok();
        Item {
            path,
            published,
            entry,
        }
    });
    Ok(Listing {
        family,
        suite,
        entries: entries.collect(),
    })
}
