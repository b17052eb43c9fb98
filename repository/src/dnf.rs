//! The repository for dnf: `rpm/SUITE`.
//!
//! createrepo_c describes the packages. dnf asks for `repomd.xml` and then for its signature, and a
//! publication in between would give it two that do not belong together. So each publication has
//! its metadata in a folder that never changes, and `mirrorlist`, one small file, names that folder.
//! The same metadata lies where mirrors look for it, in `rpm/SUITE/repodata`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::index::{Entry, Suite, Suites, newest};
use crate::key::Key;
use crate::keys::Keys;
use crate::options::Options;
use crate::package::{Family, Package, header_digest, sha256};
use crate::publication::Publication;
use crate::tool::{output, tool};

/// The packages of each suite, as the tree's metadata list them.
pub fn read(tree: &Path) -> Result<Suites> {
    let mut suites = Suites::new();
    for suite in Suite::ALL {
        let repodata = tree.join(folder(suite)).join("repodata");
        let entries = if repodata.exists() {
            listed(&repodata)?
        } else {
            Vec::new()
        };
        suites.insert(suite, entries);
    }
    Ok(suites)
}

/// The packages that the metadata in the folder `repodata` list.
fn listed(repodata: &Path) -> Result<Vec<Entry>> {
    let names = files(&repodata.join("repomd.xml"))?;
    let primary = names.iter().find(|name| is_primary(name));
    let primary = primary.with_context(|| format!("{} lists no packages", repodata.display()))?;
    let primary = repodata.join(primary);
    let gzip = tool("gzip", Path::new("/")).args(["--decompress", "--stdout"]);
    let text = output(gzip.args([&primary]), || {
        format!("reading {}", primary.display())
    })?;
    let packages = text.split("<package type=\"rpm\">").skip(1);
    packages
        .map(|part| entry(part).with_context(|| format!("reading {}", primary.display())))
        .collect()
}

fn is_primary(name: &str) -> bool {
    name.ends_with("-primary.xml.gz")
}

/// The folder of a suite.
fn folder(suite: Suite) -> PathBuf {
    Path::new("rpm").join(suite.name())
}

/// A package of createrepo_c's primary.xml.
fn entry(part: &str) -> Result<Entry> {
    let between = |before: &str, after: &str| {
        let found = part
            .split_once(before)
            .and_then(|(_, rest)| rest.split_once(after));
        let found = found.with_context(|| format!("a package without {before}:\n{part}"));
        found.map(|(value, _)| value.to_string())
    };
    let release = format!(
        "{}-{}",
        between(" ver=\"", "\"")?,
        between(" rel=\"", "\"")?
    );
    let version = match between("<version epoch=\"", "\"")?.as_str() {
        "0" => release,
        epoch => format!("{epoch}:{release}"),
    };
    Ok(Entry {
        name: between("<name>", "</name>")?,
        version,
        architecture: between("<arch>", "</arch>")?,
        path: between(" href=\"", "\"")?,
        size: between("<size package=\"", "\"")?.parse()?,
        sha256: between("pkgid=\"YES\">", "<")?,
        stanza: String::new(),
    })
}

/// The names of the files that belong to `repomd.xml`, at the path `head`; itself and its signature are
/// among them.
fn files(head: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(head).with_context(|| format!("reading {}", head.display()))?;
    let mut names: Vec<String> = text
        .split("<location href=\"repodata/")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name.to_string())
        .collect();
    names.extend(["repomd.xml.asc", "repomd.xml"].map(String::from));
    Ok(names)
}

/// Every path of the tree that the suites, which have these packages, name.
pub fn named(publication: &Publication, suites: &Suites) -> Result<BTreeSet<PathBuf>> {
    let mut named = BTreeSet::new();
    for (suite, entries) in suites {
        let folder = folder(*suite);
        named.extend(entries.iter().map(|entry| folder.join(&entry.path)));
        let mirrorlist = folder.join("mirrorlist");
        let list = fs::read_to_string(publication.path(&mirrorlist))
            .with_context(|| format!("reading {}", mirrorlist.display()))?;
        named.insert(mirrorlist);
        for repodata in [
            folder.join(own(&list)?).join("repodata"),
            folder.join("repodata"),
        ] {
            let names = files(&publication.path(repodata.join("repomd.xml")))?;
            named.extend(names.iter().map(|name| repodata.join(name)));
        }
    }
    Ok(named)
}

/// The folder of a publication's own metadata that a `mirrorlist` names.
pub fn own(list: &str) -> Result<&str> {
    let name = list.trim().trim_end_matches('/').rsplit('/').next();
    name.filter(|name| !name.is_empty())
        .context("a mirrorlist that names nothing")
}

/// Prepares new packages and the metadata of the suites that change from `before`; what the suites have
/// then.
pub fn prepare(
    publication: &mut Publication,
    before: Suites,
    additions: &[(Package, Vec<Suite>)],
    (keys, signing): (&Keys, &[Key]),
    options: &Options,
    address: &str,
) -> Result<Suites> {
    let Some(key) = signing.first() else {
        bail!("there is no key to sign with");
    };
    refuse_others(publication.tree(), additions, &before)?;
    let mut after = Suites::new();
    for (suite, before) in before {
        let mut sources: Vec<(String, PathBuf)> = Vec::new();
        let mut entries = before.clone();
        for (package, _) in additions.iter().filter(|(_, into)| into.contains(&suite)) {
            if find(&before, package).is_some() {
                continue;
            }
            let path = package_path(key, &package.file_name());
            ensure!(
                !entries.iter().any(|entry| entry.path == path),
                "{} is given twice",
                package.path.display()
            );
            entries.push(Entry::new(package, path.clone()));
            sources.push((path, package.path.clone()));
        }
        let mut entries = newest(Family::Rpm, entries, options.keep)?;
        // A key that is no longer ours signed these. That they are what was published then, a key that is
        // ours says (`tree::verify`).
        for entry in &mut entries {
            let path = package_path(key, file_name(&entry.path));
            if entry.path != path {
                let published = publication.tree().join(folder(suite)).join(&entry.path);
                sources.push((path.clone(), published));
                entry.path = path;
            }
        }
        sources.retain(|(path, _)| entries.iter().any(|entry| entry.path == *path));
        for (path, source) in sources {
            sign_package(publication, keys, key, &source, folder(suite).join(path))?;
        }
        let list = format!("{address}/rpm/{}/", suite.name());
        let mirrorlist = publication.tree().join(folder(suite)).join("mirrorlist");
        let listed_at = fs::read_to_string(mirrorlist).unwrap_or_default();
        let unchanged = newest(Family::Rpm, before, usize::MAX)? == entries;
        if options.resign || !unchanged || !listed_at.starts_with(&list) {
            write_suite(publication, suite, &entries, (keys, key), &list)?;
            entries = listed(&publication.path(folder(suite).join("repodata")))?;
        }
        after.insert(suite, entries);
    }
    Ok(after)
}

/// Packages that other keys have signed have other bytes, and so other paths.
fn package_path(key: &Key, file_name: &str) -> String {
    let id = &key.fingerprint[key.fingerprint.len() - 16..];
    format!("packages/{id}/{file_name}")
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn find<'a>(entries: &'a [Entry], package: &Package) -> Option<&'a Entry> {
    let name = package.file_name();
    entries.iter().find(|entry| file_name(&entry.path) == name)
}

fn refuse_others(tree: &Path, additions: &[(Package, Vec<Suite>)], suites: &Suites) -> Result<()> {
    for (package, _) in additions {
        for (suite, entries) in suites {
            let Some(entry) = find(entries, package) else {
                continue;
            };
            let published = tree.join(folder(*suite)).join(&entry.path);
            ensure!(
                header_digest(&published)? == header_digest(&package.path)?,
                "{} differs from the {} that is published in {}; a published package never \
                 changes, so build it with a higher revision",
                package.path.display(),
                package.file_name(),
                suite.name()
            );
        }
    }
    Ok(())
}

fn sign_package(
    publication: &mut Publication,
    keys: &Keys,
    key: &Key,
    source: &Path,
    path: PathBuf,
) -> Result<()> {
    let prepared = publication.prepare(&path)?;
    fs::copy(source, &prepared).with_context(|| format!("copying {}", source.display()))?;
    keys.sign_package(key, &prepared)
}

/// Prepares the metadata of a suite, in their own folder and in that for mirrors.
fn write_suite(
    publication: &mut Publication,
    suite: Suite,
    entries: &[Entry],
    (keys, key): (&Keys, &Key),
    list: &str,
) -> Result<()> {
    let root = folder(suite);
    let own = root.join("next");
    describe(publication, suite, entries, &own, &["--baseurl", list])?;
    describe(publication, suite, entries, &root, &[])?;
    // Named after what is in it.
    let head = publication.prepare(own.join("repodata/repomd.xml"))?;
    let name = sha256(&head)?[..16].to_string();
    let (from, own) = (publication.prepare(&own)?, root.join(&name));
    fs::rename(from, publication.prepare(&own)?)?;
    let mirrorlist = publication.prepare(root.join("mirrorlist"))?;
    fs::write(mirrorlist, format!("{list}{name}/\n"))?;
    for repodata in [own.join("repodata"), root.join("repodata")] {
        let head = publication.prepare(repodata.join("repomd.xml"))?;
        keys.sign(
            std::slice::from_ref(key),
            &head,
            &head.with_extension("xml.asc"),
        )?;
    }
    Ok(())
}

/// Has createrepo_c write the metadata below `target`. It reads new packages only.
fn describe(
    publication: &mut Publication,
    suite: Suite,
    entries: &[Entry],
    target: &Path,
    options: &[&str],
) -> Result<()> {
    let root = publication.prepare(folder(suite))?;
    fs::create_dir_all(&root)?;
    let target = publication.prepare(target)?;
    fs::create_dir_all(&target)?;
    let list = tempfile::NamedTempFile::new()?;
    let paths: String = entries
        .iter()
        .map(|entry| format!("{}\n", entry.path))
        .collect();
    fs::write(&list, paths)?;
    let mut command = tool("createrepo_c", Path::new("/"))
        .args([
            "--quiet",
            "--error-exit-val",
            "--no-database",
            "--checksum",
            "sha256",
        ])
        // What RHEL 8 reads.
        .args(["--general-compress-type", "gz"])
        .args(["--update", "--skip-stat"])
        .args([Path::new("--pkglist"), list.path()])
        .args([Path::new("--outputdir"), &target])
        .args(options);
    let before = publication.tree().join(folder(suite));
    if before.join("repodata/repomd.xml").exists() {
        command = command.args([Path::new("--update-md-path"), &before]);
    }
    output(command.args([&root]), || {
        "describing the RPM packages".into()
    })?;
    Ok(())
}
