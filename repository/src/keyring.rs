//! The package `covalent-archive-keyring` of either family: how machines learn of new keys.
//!
//! It is made here and not by scripts/build, since the keys are the publisher's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::index::Entry;
use crate::key::Key;
use crate::keys::Keys;
use crate::package::Package;
use crate::publication::Publication;
use crate::tool::{output, tool};

/// The package's name.
pub const NAME: &str = "covalent-archive-keyring";

/// Who answers for it, as for the other packages (Cargo.toml).
const MAINTAINER: &str =
    "Covalent package maintainers <maintainers@users.noreply.r-seed-e0f3619d.example>";

/// The public keys at the top of the tree, for apt.
pub const BINARY: &str = "covalent-archive-keyring.gpg";

/// The public keys at the top of the tree, for rpm.
pub const ARMORED: &str = "covalent-archive-keyring.asc";

/// The public keys of a publication.
#[derive(Debug)]
pub struct Keyring {
    binary: Vec<u8>,
    armored: Vec<u8>,
}

impl Keyring {
    /// The keys that sign, written to `folder` as well.
    pub fn new(keys: &Keys, signing: &[Key], folder: &Path) -> Result<Keyring> {
        let (binary, armored) = (folder.join(BINARY), folder.join(ARMORED));
        keys.export(signing, &binary)?;
        keys.export_armored(signing, &armored)?;
        Ok(Keyring {
            binary: fs::read(&binary)?,
            armored: fs::read(&armored)?,
        })
    }

    /// Builds in `folder`, where the keys are, the packages that hold them, if these are not those of
    /// `tree`, which lists `entries`.
    pub fn packages<'a>(
        &self,
        tree: &Path,
        entries: impl Iterator<Item = &'a Entry>,
        signing: &[Key],
        folder: &Path,
    ) -> Result<Vec<Package>> {
        if fs::read(tree.join(BINARY)).is_ok_and(|published| published == self.binary) {
            return Ok(Vec::new());
        }
        let serial = highest(entries)? + 1;
        let newest = signing.iter().map(|key| key.created).max().unwrap_or(0);
        let packages = [
            deb(folder, serial, newest, &folder.join(BINARY))?,
            rpm(folder, serial, newest, &folder.join(ARMORED))?,
        ];
        packages.iter().map(|path| Package::read(path)).collect()
    }

    /// Prepares the public keys at the top of the tree.
    pub fn prepare(&self, publication: &mut Publication) -> Result<()> {
        publication.text(ARMORED, &self.armored)?;
        publication.text(BINARY, &self.binary)
    }
}

/// The highest version that was published; they are plain numbers.
fn highest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Result<u32> {
    let mut highest = 0;
    for entry in entries.filter(|entry| entry.name == NAME) {
        let number = entry.version.split('-').next().unwrap_or_default();
        let number = number
            .parse()
            .with_context(|| format!("{NAME} has the version {}, not a number", entry.version))?;
        highest = highest.max(number);
    }
    Ok(highest)
}

fn deb(folder: &Path, serial: u32, time: i64, keys: &Path) -> Result<PathBuf> {
    let root = folder.join("deb");
    let control = format!(
        "Package: {NAME}\n\
         Version: {serial}\n\
         Architecture: all\n\
         Multi-Arch: foreign\n\
         Section: misc\n\
         Priority: optional\n\
         Maintainer: {MAINTAINER}\n\
         Description: Keys of the Covalent package repository\n \
         apt checks the repository's indexes with the keys in this package.\n"
    );
    let documentation = root.join("usr/share/doc").join(NAME);
    for directory in [
        root.join("DEBIAN"),
        root.join("usr/share/keyrings"),
        documentation.clone(),
    ] {
        fs::create_dir_all(directory)?;
    }
    fs::write(root.join("DEBIAN/control"), control)?;
    fs::write(
        documentation.join("copyright"),
        "Copyright 2026 Covalent package maintainers\n\nThe keys in this package may be copied, \
         changed and used by anybody for anything.\n",
    )?;
    let date = Timestamp::from_second(time)?.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let changelog = documentation.join("changelog");
    fs::write(
        &changelog,
        format!(
            "{NAME} ({serial}) stable; urgency=medium\n\n  * The keys that sign the repository \
             from now on.\n\n -- {MAINTAINER}  {date}\n"
        ),
    )?;
    let compress = tool("gzip", folder).args(["--best", "--no-name"]);
    output(compress.args([&changelog]), || {
        format!("compressing {}", changelog.display())
    })?;
    fs::copy(keys, root.join("usr/share/keyrings").join(BINARY))?;
    let path = folder.join(format!("{NAME}_{serial}_all.deb"));
    let build = tool("dpkg-deb", folder)
        .env("SOURCE_DATE_EPOCH", time.to_string())
        .args(["--root-owner-group", "-Zgzip", "--build"])
        .args([&root, &path]);
    output(build, || format!("building {}", path.display()))?;
    Ok(path)
}

fn rpm(folder: &Path, serial: u32, time: i64, keys: &Path) -> Result<PathBuf> {
    let spec = folder.join("keyring.spec");
    let text = format!(
        "Name: {NAME}\n\
         Version: {serial}\n\
         Release: 1\n\
         Summary: Keys of the Covalent package repository\n\
         License: LicenseRef-Fedora-Public-Domain\n\
         BuildArch: noarch\n\
         %description\n\
         dnf checks the repository's metadata and packages with the keys in this\n\
         package.\n\
         %install\n\
         install -D --mode 644 {} %{{buildroot}}/etc/pki/rpm-gpg/RPM-GPG-KEY-covalent\n\
         %files\n\
         /etc/pki/rpm-gpg/RPM-GPG-KEY-covalent\n",
        keys.display()
    );
    fs::write(&spec, text)?;
    let mut build = tool("rpmbuild", folder)
        .env("SOURCE_DATE_EPOCH", time.to_string())
        .args(["-bb", "--quiet"]);
    let top = format!("_topdir {}", folder.join("rpm").display());
    for define in [
        top.as_str(),
        "_buildhost covalent",
        "use_source_date_epoch_as_buildtime 1",
        "clamp_mtime_to_source_date_epoch 1",
        // What RHEL 8 reads.
        "_binary_payload w6.gzdio",
    ] {
        build = build.args(["--define", define]);
    }
    output(build.args([&spec]), || format!("building {NAME}.rpm"))?;
    Ok(folder.join(format!("rpm/RPMS/noarch/{NAME}-{serial}-1.noarch.rpm")))
}
