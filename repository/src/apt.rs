//! The repository for apt: `apt/pool` and `apt/dists`.
//!
//! apt-ftparchive describes the packages and the indexes. It is asked about new packages only; what
//! it said of the others stands in the index of the publication before.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::index::{Entry, Suite, newest};
use crate::keys::{Key, Keys};
use crate::package::{Family, Package, sha256};
use crate::publication::Publication;
use crate::settings::Settings;
use crate::tool::{output, tool};

/// One digest is enough; MD5 and SHA-1 are none any more.
const DIGESTS: [&str; 6] = [
    "-o",
    "APT::FTPArchive::MD5=false",
    "-o",
    "APT::FTPArchive::SHA1=false",
    "-o",
    "APT::FTPArchive::SHA512=false",
];

/// Seconds of a day.
const DAY: u32 = 24 * 60 * 60;

/// The packages of a suite, as the tree's index lists them.
pub fn read(tree: &Path, suite: Suite) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for architecture in Family::Deb.architectures() {
        let path = tree
            .join(index_folder(suite, architecture))
            .join("Packages");
        // The first publication has none before it.
        if path.exists() {
            let what = || format!("reading {}", path.display());
            let text = fs::read_to_string(&path).with_context(what)?;
            for entry in stanzas(&text).with_context(what)? {
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(entries)
}

fn index_folder(suite: Suite, architecture: &str) -> PathBuf {
    format!("apt/dists/{}/main/binary-{architecture}", suite.name()).into()
}

/// The entries of an index of apt's.
fn stanzas(text: &str) -> Result<Vec<Entry>> {
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            let value = stanza.lines().find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(": ")
                    .map(String::from)
            });
            value.with_context(|| format!("a package without {name}:\n{stanza}"))
        };
        Ok(Entry {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            path: field("Filename")?,
            size: field("Size")?.parse()?,
            sha256: field("SHA256")?,
            stanza: format!("{}\n\n", stanza.trim_end()),
        })
    };
    let all = text.split("\n\n").filter(|part| !part.trim().is_empty());
    all.map(stanza).collect()
}

/// Every path of the tree that the suites name, from the tree itself.
pub fn named(tree: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut named = BTreeSet::new();
    for suite in Suite::ALL {
        named.extend(
            read(tree, suite)?
                .into_iter()
                .map(|entry| Path::new("apt").join(entry.path)),
        );
        let release = PathBuf::from(format!("apt/dists/{}", suite.name()));
        for name in ["Release", "Release.gpg", "InRelease"] {
            named.insert(release.join(name));
        }
        let text = fs::read_to_string(tree.join(&release).join("Release")).unwrap_or_default();
        for (digest, path) in listed(&text) {
            let path = release.join(path);
            named.insert(by_hash(&path, digest));
            named.insert(path);
        }
    }
    Ok(named)
}

/// The digests and paths that a Release file lists.
fn listed(release: &str) -> impl Iterator<Item = (&str, &str)> {
    release.lines().filter_map(|line| {
        let mut words = line.strip_prefix(' ')?.split_whitespace();
        Some((words.next()?, words.nth(1)?))
    })
}

/// Where an index lies under its digest, so that the one before stays beside it.
fn by_hash(index: &Path, digest: &str) -> PathBuf {
    index.with_file_name("by-hash").join("SHA256").join(digest)
}

/// Prepares new packages and the indexes of the suites that change.
pub fn prepare(
    publication: &mut Publication,
    additions: &[(Package, Vec<Suite>)],
    keys: (&Keys, &[Key]),
    settings: &Settings,
) -> Result<()> {
    let tree = publication.tree().to_owned();
    let mut suites = Vec::new();
    for suite in Suite::ALL {
        suites.push((suite, read(&tree, suite)?));
    }
    let known: Vec<Entry> = suites
        .iter()
        .flat_map(|(_, entries)| entries.clone())
        .collect();
    refuse_others(additions, &known)?;
    let mut wanted = Vec::new();
    for (suite, before) in suites {
        let mut entries = before.clone();
        for (package, _) in additions.iter().filter(|(_, into)| into.contains(&suite)) {
            let path = pool_path(package);
            if !before.iter().any(|entry| entry.path == path) {
                let published = known.iter().find(|entry| entry.path == path).cloned();
                entries.push(published.unwrap_or_else(|| Entry::new(package, path)));
            }
        }
        let entries = newest(Family::Deb, entries, settings.keep)?;
        wanted.push((suite, before, entries));
    }
    let is_new = |package: &Package| {
        let path = pool_path(package);
        let mut entries = wanted.iter().flat_map(|(_, _, entries)| entries);
        entries.any(|entry| entry.path == path && entry.stanza.is_empty())
    };
    let new: Vec<&Package> = additions
        .iter()
        .map(|(package, _)| package)
        .filter(|package| is_new(package))
        .collect();
    let described = describe(publication, &new)?;
    for (suite, before, mut entries) in wanted {
        for entry in entries.iter_mut().filter(|entry| entry.stanza.is_empty()) {
            let found = described
                .iter()
                .find(|described| described.path == entry.path);
            *entry = found
                .with_context(|| format!("apt-ftparchive left out {}", entry.path))?
                .clone();
        }
        let unchanged = newest(Family::Deb, before, usize::MAX)? == entries;
        if settings.resign || !unchanged || !is_whole(&tree, suite)? {
            write_suite(publication, suite, &entries, keys, settings)?;
        }
    }
    Ok(())
}

/// Whether the suite's indexes are those that were signed: a publication may have been cut off.
fn is_whole(tree: &Path, suite: Suite) -> Result<bool> {
    let folder = tree.join(format!("apt/dists/{}", suite.name()));
    let Ok(text) = fs::read_to_string(folder.join("InRelease")) else {
        return Ok(false);
    };
    for (digest, path) in listed(&text) {
        let index = folder.join(path);
        if !index.exists() || sha256(&index)? != digest {
            return Ok(false);
        }
    }
    Ok(true)
}

fn pool_path(package: &Package) -> String {
    let first: String = package.name.chars().take(1).collect();
    format!("pool/main/{first}/{}/{}", package.name, package.file_name())
}

fn refuse_others(additions: &[(Package, Vec<Suite>)], known: &[Entry]) -> Result<()> {
    for (package, _) in additions {
        let path = pool_path(package);
        if let Some(entry) = known.iter().find(|entry| entry.path == path) {
            ensure!(
                entry.sha256 == sha256(&package.path)?,
                "{} differs from the {path} that is published; a published package never changes, \
                 so build it with a higher revision",
                package.path.display()
            );
        }
    }
    Ok(())
}

/// Prepares packages for the pool, and returns what apt-ftparchive says of them.
fn describe(publication: &mut Publication, packages: &[&Package]) -> Result<Vec<Entry>> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    for package in packages {
        let path = Path::new("apt").join(pool_path(package));
        let prepared = publication.prepare(&path)?;
        ensure!(!prepared.exists(), "{} is given twice", path.display());
        fs::copy(&package.path, prepared)
            .with_context(|| format!("copying {}", package.path.display()))?;
        publication.package(path);
    }
    let scan = tool("apt-ftparchive", Path::new("/"))
        .args(DIGESTS)
        .args(["packages", "pool"])
        .current_dir(&publication.prepare("apt")?);
    stanzas(&output(scan, || "describing the packages".into())?)
}

/// Prepares the indexes and the signatures of a suite.
fn write_suite(
    publication: &mut Publication,
    suite: Suite,
    entries: &[Entry],
    (keys, signing): (&Keys, &[Key]),
    settings: &Settings,
) -> Result<()> {
    let folder = PathBuf::from(format!("apt/dists/{}", suite.name()));
    for architecture in Family::Deb.architectures() {
        // As Debian does it: packages for all architectures are listed with each.
        let text: String = entries
            .iter()
            .filter(|entry| entry.architecture == architecture || entry.architecture == "all")
            .map(|entry| entry.stanza.as_str())
            .collect();
        let index = index_folder(suite, architecture).join("Packages");
        let prepared = publication.prepare(&index)?;
        fs::write(&prepared, text)?;
        output(
            tool("xz", Path::new("/"))
                .args(["--keep"])
                .args([&prepared]),
            || format!("compressing {}", index.display()),
        )?;
    }
    let prepared = publication.prepare(folder.join("Release"))?;
    let text = release(&publication.prepare(&folder)?, suite, settings)?;
    for (digest, path) in listed(&text) {
        let index = folder.join(path);
        let copy = by_hash(&index, digest);
        fs::copy(publication.prepare(&index)?, publication.prepare(&copy)?)?;
        publication.index(copy);
        publication.index(index);
    }
    fs::write(&prepared, &text)?;
    keys.sign(signing, &prepared, &prepared.with_extension("gpg"))?;
    keys.sign_text(signing, &prepared, &prepared.with_file_name("InRelease"))?;
    for name in ["Release", "Release.gpg", "InRelease"] {
        publication.head(folder.join(name));
    }
    Ok(())
}

/// What Release says of the indexes in `folder`.
fn release(folder: &Path, suite: Suite, settings: &Settings) -> Result<String> {
    let option = |name: &str, value: &str| format!("APT::FTPArchive::Release::{name}={value}");
    let options = [
        option("Origin", "Covalent"),
        option("Label", "Covalent"),
        option("Suite", suite.name()),
        option("Codename", suite.name()),
        option("Architectures", &Family::Deb.architectures().join(" ")),
        option("Components", "main"),
        option("Acquire-By-Hash", "yes"),
        option(
            "ValidTime",
            &(u32::from(settings.valid_days) * DAY).to_string(),
        ),
    ];
    let mut command = tool("apt-ftparchive", Path::new("/")).args(DIGESTS);
    for option in &options {
        command = command.args(["-o", option]);
    }
    let command = command.args(["release"]).args([folder]);
    let text = output(command, || format!("describing {}", folder.display()))?;
    if !text.contains("\nValid-Until: ") {
        bail!("apt-ftparchive wrote no Valid-Until:\n{text}");
    }
    // apt-ftparchive has no option for it.
    Ok(format!("No-Support-for-Architecture-all: Packages\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "\
Date: Wed, 25 Nov 2026 09:52:43 +0000
SHA256:
 10a8da6e93 643 main/binary-amd64/Packages
 47e5305f0f 484 main/binary-amd64/Packages.xz
";

    #[test]
    fn a_release_lists_its_indexes() {
        let found: Vec<_> = listed(RELEASE).collect();
        assert_eq!(
            found,
            [
                ("10a8da6e93", "main/binary-amd64/Packages"),
                ("47e5305f0f", "main/binary-amd64/Packages.xz"),
            ]
        );
        assert_eq!(
            by_hash(Path::new("a/main/binary-amd64/Packages.xz"), "47e5305f0f"),
            Path::new("a/main/binary-amd64/by-hash/SHA256/47e5305f0f")
        );
    }

    #[test]
    fn a_stanza_is_kept_as_it_is() {
        let text = "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a\nSize: 7\n\
                    SHA256: 00\nDescription: one\n two\n\n";
        let entries = stanzas(text).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].stanza.as_str(), entries[0].size), (text, 7));
        assert!(stanzas("Package: a\n").is_err());
    }
}
