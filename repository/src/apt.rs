//! The repository for apt: `apt/pool` and `apt/dists`.
//!
//! apt-ftparchive describes the packages and the indexes. It is asked about new packages only; what
//! it said of the others stands in the index of the publication before.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::index::{Entry, Suite, Suites, newest};
use crate::key::Key;
use crate::keys::Keys;
use crate::options::Options;
use crate::package::{Family, Package, sha256};
use crate::publication::Publication;
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

/// What a client asks for by name in the folder of a suite.
const HEADS: [&str; 3] = ["InRelease", "Release", "Release.gpg"];

/// Seconds of a day.
const DAY: u32 = 24 * 60 * 60;

/// The packages of each suite, as the tree's indexes list them.
pub fn read(tree: &Path) -> Result<Suites> {
    let mut suites = Suites::new();
    for suite in Suite::ALL {
        let entries: &mut Vec<Entry> = suites.entry(suite).or_default();
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
    }
    Ok(suites)
}

/// The folder of a suite.
fn folder(suite: Suite) -> PathBuf {
    Path::new("apt/dists").join(suite.name())
}

fn index_folder(suite: Suite, architecture: &str) -> PathBuf {
    folder(suite).join(format!("main/binary-{architecture}"))
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

/// Every path of the tree that the suites, which have these packages, name.
pub fn named(publication: &Publication, suites: &Suites) -> Result<BTreeSet<PathBuf>> {
    let mut named = BTreeSet::new();
    for (suite, entries) in suites {
        let paths = entries.iter().map(|entry| &entry.path);
        named.extend(paths.map(|path| Path::new("apt").join(path)));
        let folder = folder(*suite);
        named.extend(HEADS.map(|head| folder.join(head)));
        let release = publication.path(folder.join("Release"));
        let text = fs::read_to_string(&release)
            .with_context(|| format!("reading {}", release.display()))?;
        for (digest, path) in listed(&text) {
            let path = folder.join(path);
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

/// Prepares new packages and the indexes of the suites that change from `before`; what the suites have
/// then.
pub fn prepare(
    publication: &mut Publication,
    before: Suites,
    additions: &[(Package, Vec<Suite>)],
    by: (&Keys, &[Key]),
    options: &Options,
) -> Result<Suites> {
    let known: Vec<&Entry> = before.values().flatten().collect();
    refuse_others(additions, &known)?;
    let mut after = Suites::new();
    for (suite, before) in &before {
        let mut entries = before.clone();
        for (package, _) in additions.iter().filter(|(_, into)| into.contains(suite)) {
            let path = pool_path(package);
            if !before.iter().any(|entry| entry.path == path) {
                let published = known.iter().find(|entry| entry.path == path);
                let published = published.map(|entry| (*entry).clone());
                entries.push(published.unwrap_or_else(|| Entry::new(package, path)));
            }
        }
        after.insert(*suite, newest(Family::Deb, entries, options.keep)?);
    }
    let is_new = |package: &Package| {
        let path = pool_path(package);
        let mut entries = after.values().flatten();
        entries.any(|entry| entry.path == path && entry.stanza.is_empty())
    };
    let new: Vec<&Package> = additions
        .iter()
        .map(|(package, _)| package)
        .filter(|package| is_new(package))
        .collect();
    let described = describe(publication, &new)?;
    for entry in after.values_mut().flatten() {
        if entry.stanza.is_empty() {
            let found = described.iter().find(|found| found.path == entry.path);
            let found = found.with_context(|| format!("apt-ftparchive left out {}", entry.path))?;
            *entry = found.clone();
        }
    }
    for (suite, before) in before {
        let entries = &after[&suite];
        let is_there = publication.tree().join(folder(suite)).exists();
        let unchanged = is_there && newest(Family::Deb, before, usize::MAX)? == *entries;
        if options.resign || !unchanged {
            write_suite(publication, suite, entries, by, options)?;
        }
    }
    Ok(after)
}

fn pool_path(package: &Package) -> String {
    let first: String = package.name.chars().take(1).collect();
    format!("pool/main/{first}/{}/{}", package.name, package.file_name())
}

fn refuse_others(additions: &[(Package, Vec<Suite>)], known: &[&Entry]) -> Result<()> {
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
    options: &Options,
) -> Result<()> {
    let folder = folder(suite);
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
    let text = release(&publication.prepare(&folder)?, suite, options)?;
    for (digest, path) in listed(&text) {
        let index = folder.join(path);
        let copy = by_hash(&index, digest);
        fs::copy(publication.prepare(&index)?, publication.prepare(&copy)?)?;
    }
    fs::write(&prepared, &text)?;
    keys.sign(signing, &prepared, &prepared.with_extension("gpg"))?;
    keys.sign_text(signing, &prepared, &prepared.with_file_name("InRelease"))
}

/// What Release says of the indexes in `folder`.
fn release(folder: &Path, suite: Suite, options: &Options) -> Result<String> {
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
            &(u32::from(options.valid_days) * DAY).to_string(),
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
