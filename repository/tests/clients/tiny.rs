//! Packages that hold next to nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::fixture::run;

/// A package of either family with this version, which has the revision in it: `1-1`. Asked for again,
/// they are the same.
pub fn packages(folder: &Path, name: &str, version: &str) -> Result<[PathBuf; 2]> {
    let packages = [
        folder.join(format!("{name}_{version}_all.deb")),
        folder.join(format!("RPMS/noarch/{name}-{version}.noarch.rpm")),
    ];
    if !packages[0].exists() {
        deb(folder, name, version, &packages[0])?;
        rpm(folder, name, version)?;
    }
    Ok(packages)
}

fn deb(folder: &Path, name: &str, version: &str, path: &Path) -> Result<()> {
    let root = folder.join(format!("{name}-{version}.tree"));
    fs::create_dir_all(root.join("DEBIAN"))?;
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\n\
         Maintainer: Nobody <nobody@example.org>\nDescription: next to nothing\n"
    );
    fs::write(root.join("DEBIAN/control"), control)?;
    let documentation = root.join("usr/share/doc").join(name);
    fs::create_dir_all(&documentation)?;
    let changelog = documentation.join("changelog.Debian");
    fs::write(
        &changelog,
        format!("{name} ({version}) unstable; urgency=low\n\n  * <Tiny>.\n"),
    )?;
    run(Command::new("gzip").arg("--force").arg(&changelog))?;
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&root)
        .arg(path))?;
    Ok(())
}

fn rpm(folder: &Path, name: &str, version: &str) -> Result<()> {
    let (number, release) = version.split_once('-').unwrap_or((version, "1"));
    let spec = folder.join(format!("{name}-{version}.spec"));
    fs::write(
        &spec,
        format!(
            "Name: {name}\nVersion: {number}\nRelease: {release}\nSummary: next to nothing\n\
             License: MIT\nBuildArch: noarch\n%description\nNext to nothing.\n%files\n"
        ),
    )?;
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", folder.display()))
        .arg(&spec))?;
    Ok(())
}
