//! What is installed in a generation, read off its folders, and what somebody changed by hand.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::Generation;
use crate::environment::requirement::{self, Versions};

/// The differences between what a manifest says and what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Packages that are not in the manifest.
    pub added: Versions,
    /// Packages of another version than in the manifest: the one that is there now.
    pub replaced: Versions,
    /// Names in the manifest that are not there.
    pub missing: Vec<String>,
}

impl Changes {
    /// Whether everything is as it was.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// The folder of the packages in the environment at `path`.
pub fn site_packages(path: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(path.join("lib")).ok()?;
    versions
        .flatten()
        .map(|entry| entry.path().join("site-packages"))
        .find(|folder| folder.is_dir())
}

/// The packages in the environment at `path`. Costs one reading of a folder: each package has an
/// entry `name-version.dist-info` there (PEP 376, PEP 427).
pub fn packages(path: &Path) -> Versions {
    let entries = site_packages(path).and_then(|folder| fs::read_dir(folder).ok());
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| package(&entry.file_name()))
        .collect()
}

/// The folder of a package's metadata, by its normalized name.
pub fn metadata_folder(site_packages: &Path, name: &str) -> Option<PathBuf> {
    metadata_folders(site_packages).find_map(|(found, path)| (found == name).then_some(path))
}

/// The packages' normalized names and the folders of their metadata.
pub fn metadata_folders(site_packages: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(site_packages).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((package(&entry.file_name())?.0, entry.path())))
}

fn package(entry: &OsStr) -> Option<(String, String)> {
    let (name, version) = entry
        .to_str()?
        .strip_suffix(".dist-info")?
        .rsplit_once('-')?;
    // A pip that was killed leaves folders whose names start with '~'.
    let sound = version.starts_with(|c: char| c.is_ascii_alphanumeric());
    Some((requirement::name(name).filter(|_| sound)?, version.into()))
}

/// What pip installs into every environment for itself.
const TOOLS: [&str; 3] = ["pip", "setuptools", "wheel"];

/// The names in the environment at `path` that somebody asked for (PEP 376, `REQUESTED`), without those
/// that are in `packages`.
pub fn asked_for(path: &Path, packages: &Versions) -> Vec<String> {
    let Some(site_packages) = site_packages(path) else {
        return Vec::new();
    };
    let found = metadata_folders(&site_packages).filter(|(name, folder)| {
        let is_known = packages.contains_key(name) || TOOLS.contains(&name.as_str());
        !is_known && folder.join("REQUESTED").exists()
    });
    let mut names: Vec<String> = found.map(|(name, _)| name).collect();
    names.sort();
    names
}

/// The address that a package was installed from instead of an index (PEP 610).
pub fn direct_url(environment: &Path, name: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct DirectUrl {
        url: String,
    }
    let metadata = metadata_folder(&site_packages(environment)?, name)?;
    let text = fs::read(metadata.join("direct_url.json")).ok()?;
    let direct: DirectUrl = serde_json::from_slice(&text).ok()?;
    Some(direct.url)
}

/// What somebody changed in a ready generation, with `pip install` for example.
pub fn changes(generation: &Generation) -> Changes {
    let mut changes = Changes::default();
    let mut found = packages(&generation.path);
    for (name, version) in &generation.manifest.packages {
        match found.remove(name) {
            None => changes.missing.push(name.clone()),
            Some(there) if there != *version => {
                changes.replaced.insert(name.clone(), there);
            }
            Some(_) => {}
        }
    }
    changes.added = found;
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_off_their_folders() {
        let tree = tempfile::tempdir().unwrap();
        let site = tree.path().join("lib/python3.11/site-packages");
        for entry in [
            "click",
            "click-8.5.1.dist-info",
            "Foo_Bar-2.0.dist-info",
            "by-old-pip-1.0.post1.dist-info",
            "x.egg-link",
            "~lick-8.5.0.dist-info",
        ] {
            fs::create_dir_all(site.join(entry)).unwrap();
        }
        let expected = [
            ("click", "8.5.1"),
            ("foo-bar", "2.0"),
            ("by-old-pip", "1.0.post1"),
        ]
        .map(|(name, version)| (name.to_string(), version.to_string()));
        assert_eq!(packages(tree.path()), Versions::from(expected));
        assert!(packages(&tree.path().join("no-such")).is_empty());
    }
}
