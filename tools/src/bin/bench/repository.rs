//! What one more version costs in a large repository, beside a small one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use machine::packages::in_project;

use crate::report::{report, time, verdict};

/// Packages of each family in the two repositories: ten, and a thousand.
const SIZES: [usize; 2] = [5, 500];

/// The most that a version may cost in the large one, in times of the small one.
const GOAL: f64 = 1.5;

/// Measures both.
pub fn compare() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let packages = packages(folder.path(), SIZES[1])?;
    let publish = |arguments: &[&str], packages: &[PathBuf]| {
        run(Command::new(in_project("scripts/publish"))
            .arg("--keys")
            .arg(folder.path().join("keys"))
            .args(arguments)
            .args(packages))
    };
    publish(&["--new-key", "--no-passphrase"], &[])?;
    let version = files(&in_project("dist"), &["deb", "rpm"])?;
    let mut taken = Vec::new();
    for size in SIZES {
        let name = format!("of-{size}");
        let tree = folder.path().join(&name).display().to_string();
        // One address is published from one tree.
        let address = format!("https://localhost/{name}/");
        let held: Vec<PathBuf> = packages.iter().flat_map(|of| of[..size].to_vec()).collect();
        publish(&["--address", &address, &tree], &held)?;
        let step = time("add a version of covalent and covalent-wheels", || {
            publish(&[&tree], &version)
        })?;
        taken.push(report(&format!("{} packages", held.len()), &[step]));
    }
    verdict(
        "a thousand packages, in times of ten",
        taken[1] / taken[0],
        GOAL,
    );
    let mut gpgconf = Command::new("gpgconf");
    run(gpgconf
        .arg("--homedir")
        .arg(folder.path().join("keys"))
        .args(["--kill", "all"]))
}

/// So many packages of each family, with next to nothing in them.
fn packages(folder: &Path, count: usize) -> Result<[Vec<PathBuf>; 2]> {
    let mut spec = String::from(
        "Name: tiny\nVersion: 1\nRelease: 1\nSummary: t\nLicense: MIT\nBuildArch: noarch\n%description\nt\n",
    );
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("DEBIAN"))?;
    for number in 0..count {
        let name = format!("tiny-{number:03}");
        spec += &format!(
            "%package -n {name}\nSummary: t\n%description -n {name}\nt\n%files -n {name}\n"
        );
        let control = format!(
            "Package: {name}\nVersion: 1-1\nArchitecture: all\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: t\n"
        );
        fs::write(tree.join("DEBIAN/control"), control)?;
        run(Command::new("dpkg-deb")
            .arg("--build")
            .args([&tree, &folder.join(format!("{name}_1-1_all.deb"))]))?;
    }
    let file = folder.join("tiny.spec");
    fs::write(&file, spec)?;
    let top = format!("_topdir {}", folder.display());
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define", &top])
        .arg(&file))?;
    Ok([
        files(folder, &["deb"])?,
        files(&folder.join("RPMS/noarch"), &["rpm"])?,
    ])
}

/// The files of a folder with one of these endings.
fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| endings.contains(&ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
