//! Publishing, beside clients that read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::dnf::Dnf;
use crate::fixture::{Fixture, output, run, said};
use crate::tiny;

/// So many that several fall into one update, and every kind of pause between two of them.
const PUBLICATIONS: usize = 40;

/// Every file with its content and its times.
fn snapshot(fixture: &Fixture) -> Result<BTreeMap<PathBuf, (Vec<u8>, SystemTime)>> {
    let files = fixture.find(&[])?.into_iter().map(|path| {
        let modified = fs::metadata(&path)?.modified()?;
        Ok((path.clone(), (fs::read(path)?, modified)))
    });
    files.collect()
}

#[test]
fn clients_never_see_a_half() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (apt, dnf) = (Apt::new(&fixture, "apt")?, Dnf::new(&fixture, "dnf")?);
    let versions: Vec<String> = (2..PUBLICATIONS + 2)
        .map(|number| format!("{number}-1"))
        .collect();
    let mut packages = Vec::new();
    for version in &versions {
        packages.push(tiny::packages(&fixture.path(""), "tiny", version)?);
    }
    let done = AtomicBool::new(false);
    // Until everything is published; counts.
    let repeat = |update: &dyn Fn() -> Result<()>| -> Result<usize> {
        let mut count = 0;
        while !done.load(Ordering::Relaxed) {
            update()?;
            count += 1;
        }
        Ok(count)
    };
    let updates = thread::scope(|scope| {
        let apts = scope.spawn(|| repeat(&|| apt.update()));
        let dnfs = scope.spawn(|| repeat(&|| dnf.update()));
        let mut published = packages.iter().map(|pair| fixture.add(&[], pair));
        let published = published.try_for_each(|said| said.map(drop));
        done.store(true, Ordering::Relaxed);
        let counts = (
            apts.join().expect("a thread"),
            dnfs.join().expect("a thread"),
        );
        published?;
        Ok::<_, anyhow::Error>((counts.0?, counts.1?))
    })?;
    ensure!(
        updates.0 > 10 && updates.1 > 10,
        "too few updates: {updates:?}"
    );
    let newest = format!("{}-1", PUBLICATIONS + 1);
    apt.update()?;
    dnf.update()?;
    ensure!(
        apt.versions("tiny")?.contains(&newest),
        "{:?}",
        apt.versions("tiny")
    );
    ensure!(
        dnf.versions("tiny")?.contains(&newest),
        "{:?}",
        dnf.versions("tiny")
    );
    Ok(())
}

#[test]
fn a_publication_while_a_client_reads_is_no_trouble() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (apt, dnf) = (Apt::new(&fixture, "apt")?, Dnf::new(&fixture, "dnf")?);
    apt.update()?;
    dnf.update()?;
    // dnf asks for the metadata once more when their signature is bad: one publication is not enough.
    let names = [
        "InRelease",
        "mirrorlist",
        "repomd.xml",
        "repomd.xml.asc",
        "primary.xml.gz",
    ];
    let events = 4;
    for (name, major) in names.into_iter().zip(2..) {
        fixture.publish_tiny(&format!("{major}-1"))?;
        let mut next: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for minor in 2..2 + events {
            let mut publisher = fixture.publisher();
            publisher.arg(fixture.tree());
            publisher.args(tiny::packages(
                &fixture.path(""),
                "tiny",
                &format!("{major}-{minor}"),
            )?);
            next.push(Box::new(move || {
                let output = output(&mut publisher).expect("a publication");
                assert!(output.status.success(), "{}", said(&output));
            }));
        }
        fixture.server.at_requests(name, next);
        match name {
            "InRelease" => apt.update(),
            _ => dnf.update(),
        }
        .with_context(|| format!("published at requests for {name}"))?;
        ensure!(fixture.server.left() < events, "nobody asked for {name}");
        fixture.only(&["rpm/stable/packages", &format!("tiny-{major}-2.noarch.rpm")])?;
    }
    Ok(())
}

#[test]
fn publishing_again_changes_nothing() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let before = snapshot(&fixture)?;
    let said = fixture.publish_tiny("1-1")?;
    ensure!(said.starts_with("nothing changed"), "{said}");
    ensure!(snapshot(&fixture)? == before, "files changed");
    // What was pruned is not published anew either.
    let old = tiny::packages(&fixture.path(""), "tiny", "0.9-1")?;
    fixture.publish_tiny("2-1")?;
    fixture.add(&["--keep", "2"], &old)?;
    let before = snapshot(&fixture)?;
    fixture.add(&["--keep", "2"], &old)?;
    ensure!(snapshot(&fixture)? == before, "files changed");
    Ok(())
}

#[test]
fn a_published_package_never_changes() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let before = snapshot(&fixture)?;
    let folder = fixture.path("other");
    fs::create_dir(&folder)?;
    let [deb, rpm] = tiny::packages(&folder, "tiny", "1-1")?;
    let tree = folder.join("tiny-1-1.tree");
    fs::write(tree.join("more"), "more")?;
    run(Command::new("dpkg-deb").arg("--build").args([&tree, &deb]))?;
    let spec = fs::read_to_string(folder.join("tiny-1-1.spec"))?;
    fs::write(
        folder.join("tiny-1-1.spec"),
        spec.replace("Next to nothing", "Something else"),
    )?;
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", folder.display()))
        .arg(folder.join("tiny-1-1.spec")))?;
    // Not in a suite that does not have it either.
    for (package, suite) in [
        (&deb, "stable"),
        (&deb, "testing"),
        (&rpm, "stable"),
        (&rpm, "testing"),
    ] {
        let suite = format!("--suite={suite}");
        let output = fixture.try_publish(&[Path::new(&suite), &fixture.tree(), package])?;
        ensure!(
            !output.status.success() && said(&output).contains("build it with a higher revision"),
            "{suite} {}: {}",
            package.display(),
            said(&output)
        );
    }
    ensure!(snapshot(&fixture)? == before, "files changed");
    Ok(())
}

#[test]
fn a_damaged_package_is_refused() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    for package in tiny::packages(&fixture.path(""), "tiny", "2-1")? {
        let content = fs::read(&package)?;
        fs::write(&package, &content[..content.len() - 20])?;
        let output = fixture.try_publish(&[fixture.tree(), package.clone()])?;
        ensure!(
            !output.status.success(),
            "{} was published",
            package.display()
        );
    }
    Ok(())
}

#[test]
fn the_newest_versions_are_kept() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (apt, dnf) = (Apt::new(&fixture, "apt")?, Dnf::new(&fixture, "dnf")?);
    for version in ["1-10", "1-9", "1-2"] {
        fixture.add(
            &["--keep", "3"],
            &tiny::packages(&fixture.path(""), "tiny", version)?,
        )?;
    }
    let update = || -> Result<[BTreeSet<String>; 2]> {
        apt.update()?;
        dnf.update()?;
        Ok([apt.versions("tiny")?, dnf.versions("tiny")?])
    };
    let expected = BTreeSet::from(["1-10", "1-9", "1-2"].map(String::from));
    ensure!(update()? == [expected.clone(), expected], "{:?}", update()?);
    // Whoever has read an older index finds what it names for some days more.
    for name in ["tiny_1-1_all.deb", "tiny-1-1.noarch.rpm"] {
        fixture.only(&[name])?;
    }
    fixture.age(&fixture.tree(), false)?;
    fixture.add(
        &["--keep", "1"],
        &tiny::packages(&fixture.path(""), "tiny", "1-11")?,
    )?;
    for name in ["tiny_1-1_all.deb", "tiny-1-1.noarch.rpm"] {
        ensure!(fixture.find(&[name])?.is_empty(), "{name} is still there");
    }
    for name in ["tiny_1-10_all.deb", "tiny-1-10.noarch.rpm"] {
        fixture.only(&[name])?;
    }
    let expected = BTreeSet::from(["1-11".to_string()]);
    ensure!(update()? == [expected.clone(), expected], "{:?}", update()?);
    // Signatures: this publication's, and the one's before.
    ensure!(fixture.find(&["rpm/stable/", "repomd.xml.asc"])?.len() == 3);
    Ok(())
}

#[test]
fn a_suite_is_a_line_of_its_own() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (apt, dnf) = (Apt::new(&fixture, "apt")?, Dnf::new(&fixture, "dnf")?);
    let next = tiny::packages(&fixture.path(""), "tiny", "2-1")?;
    let mut expected = BTreeSet::from(["1-1".to_string()]);
    for suite in ["testing", "stable"] {
        fixture.add(&["--suite", suite], &next)?;
        apt.update()?;
        dnf.update()?;
        if suite == "stable" {
            expected.insert("2-1".to_string());
        }
        ensure!(
            apt.versions("tiny")? == expected,
            "{suite}: {:?}",
            apt.versions("tiny")
        );
        ensure!(
            dnf.versions("tiny")? == expected,
            "{suite}: {:?}",
            dnf.versions("tiny")
        );
    }
    Ok(())
}

#[test]
fn the_web_server_reads_all_of_it_whatever_the_umask() -> Result<()> {
    let fixture = Fixture::new()?;
    fs::remove_dir(fixture.tree())?;
    let packages = tiny::packages(&fixture.path(""), "tiny", "1-1")?;
    run(Command::new("sh")
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_publish"))
        .arg("--keys")
        .arg(fixture.keys())
        .args(["--insecure-http", "--address", &fixture.address])
        .arg(fixture.tree())
        .args(packages))?;
    let mode =
        |path: &Path| -> Result<u32> { Ok(fs::metadata(path)?.permissions().mode() & 0o777) };
    for file in fixture.find(&[])? {
        ensure!(mode(&file)? == 0o644, "{}", file.display());
        let folders = file.ancestors().skip(1);
        for folder in folders.take_while(|folder| folder.starts_with(fixture.tree())) {
            ensure!(mode(folder)? == 0o755, "{}", folder.display());
        }
    }
    Ok(())
}
