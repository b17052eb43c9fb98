//! A web host that changes what it holds, and waits for the publisher to sign it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use machine::Output;

use crate::apt::Apt;
use crate::fixture::{Fixture, copy, output, run, said};
use crate::manipulation::{contents, manipulations};
use crate::tiny;

/// What the publisher does with a tree.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// `--check`.
    Check,
    /// `--resign`.
    Resign,
    /// Another publication.
    Publish,
}

impl Verb {
    /// All of it.
    pub const ALL: [Verb; 3] = [Verb::Check, Verb::Resign, Verb::Publish];

    /// Done to `tree`, whatever comes of it.
    pub fn run(self, fixture: &Fixture, tree: &Path, packages: &[PathBuf]) -> Result<Output> {
        let mut publisher = fixture.publisher();
        match self {
            Verb::Check => publisher.arg("--check").arg(tree),
            Verb::Resign => publisher.arg("--resign").arg(tree),
            Verb::Publish => publisher.arg(tree).args(packages),
        };
        output(&mut publisher)
    }
}

#[test]
fn no_file_is_taken_on_the_hosts_word() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (tree, older) = (fixture.tree(), fixture.path("older"));
    copy(&tree, &older)?;
    fixture.publish_tiny("2-1")?;
    let next = tiny::packages(&fixture.path(""), "tiny", "3-1")?;
    let manipulations = manipulations(&tree, &older)?;
    let pristine = contents(&tree)?;

    // Those that are refused and name the path, of all.
    let attempt = |verb: Verb| -> Result<(usize, usize)> {
        let tree = fixture.path(&format!("{verb:?}"));
        copy(&fixture.tree(), &tree)?;
        let (mut attempts, mut refusals) = (0, 0);
        for (path, manipulation) in &manipulations {
            manipulation.apply(&tree.join(path))?;
            let output = verb.run(&fixture, &tree, &next)?;
            let said = said(&output);
            attempts += 1;
            if output.code() == Some(1) && said.contains(&path.display().to_string()) {
                refusals += 1;
            } else {
                println!("{verb:?} of {manipulation:?} {}: {said}", path.display());
            }
            match pristine.get(path) {
                Some(content) => {
                    let _ = fs::remove_file(tree.join(path));
                    fs::write(tree.join(path), content)?;
                }
                None => fs::remove_file(tree.join(path))?,
            }
            // Nothing else was done to it.
            ensure!(
                contents(&tree)? == pristine,
                "{verb:?} of {manipulation:?} {}: the tree is another: {said}",
                path.display()
            );
        }
        Ok((attempts, refusals))
    };
    let (mut attempts, mut refusals) = (0, 0);
    thread::scope(|scope| {
        let threads = Verb::ALL.map(|verb| scope.spawn(move || attempt(verb)));
        for thread in threads {
            let counts = thread.join().expect("a thread")?;
            attempts += counts.0;
            refusals += counts.1;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    println!(
        "{attempts} attempts on {} files, {refusals} refusals",
        pristine.len()
    );
    ensure!(attempts > 0 && refusals == attempts, "see above");

    // A tree that all of it was done to, and undone.
    for verb in Verb::ALL {
        let output = verb.run(&fixture, &fixture.path("Check"), &next)?;
        ensure!(output.success(), "{verb:?}: {}", said(&output));
    }
    Ok(())
}

/// Adds a package to the indexes of the suite stable, which are not signed by that.
fn add_without_a_key(fixture: &Fixture) -> Result<()> {
    let evil = &tiny::packages(&fixture.path(""), "evil", "6-6")?[0];
    let apt = fixture.tree().join("apt");
    fs::create_dir(apt.join("pool/main/e"))?;
    fs::copy(evil, apt.join("pool/main/e/evil_6-6_all.deb"))?;
    let stanza = run(Command::new("apt-ftparchive")
        .args(["packages", "pool/main/e"])
        .current_dir(&apt))?;
    for index in fixture.find(&["apt/dists/stable/main/binary-", "/Packages"])? {
        if index.extension().is_some() {
            fs::remove_file(index)?;
        } else {
            let text = fs::read_to_string(&index)?;
            fs::write(index, text + &stanza)?;
        }
    }
    Ok(())
}

/// What the publisher did once: signs what the indexes say.
fn sign_unseen(fixture: &Fixture) -> Result<()> {
    let folder = fixture.tree().join("apt/dists/stable");
    let options = [
        "Origin=Covalent",
        "Label=Covalent",
        "Suite=stable",
        "Codename=stable",
        "Architectures=amd64",
        "Components=main",
    ];
    let options = options.map(|option| format!("APT::FTPArchive::Release::{option}"));
    let options = options.iter().flat_map(|option| ["-o", option]);
    let release = run(Command::new("apt-ftparchive")
        .args(options)
        .arg("release")
        .arg(&folder))?;
    fs::write(folder.join("Release"), release)?;
    let [release, signed] =
        ["Release", "InRelease"].map(|name| folder.join(name).display().to_string());
    fixture
        .gpg(&["--output", &signed, "--clear-sign", &release])
        .map(drop)
}

#[test]
fn a_package_that_a_host_has_added_is_not_signed() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    add_without_a_key(&fixture)?;
    let whole = contents(&fixture.tree())?;
    for verb in Verb::ALL {
        let output = verb.run(&fixture, &fixture.tree(), &[])?;
        let said = said(&output);
        for words in [
            "\"apt/pool/main/e/evil_6-6_all.deb\" was added",
            "\"apt/dists/stable/main/binary-amd64/Packages\" was changed",
        ] {
            ensure!(
                output.code() == Some(1) && said.contains(words),
                "{verb:?}: {said}"
            );
        }
    }
    ensure!(contents(&fixture.tree())? == whole, "the tree is another");
    // A signature is all that it takes.
    let apt = Apt::new(&fixture, "apt")?;
    apt.update()?;
    ensure!(
        !apt.download("evil")?.success(),
        "apt knows it before it was signed"
    );
    sign_unseen(&fixture)?;
    apt.update()?;
    let output = apt.download("evil")?;
    ensure!(output.success(), "{}", said(&output));
    apt.downloaded("evil").map(drop)
}

#[test]
fn a_package_is_signed_anew_only_if_it_was_published() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    fixture.publish(&["--new-key", "--no-passphrase"])?;
    fixture.publish_tiny("1-1")?;
    fixture.publish(&["--retire-key", &fixture.fingerprints()?[0]])?;
    // With the key that has signed it gone, this one's has to be found good by other means.
    let package = fixture.only(&["rpm/stable/packages", "tiny-1-1.noarch.rpm"])?;
    let before = fs::read(&package)?;
    let unsigned = &tiny::packages(&fixture.path(""), "tiny", "1-1")?[1];
    fs::copy(unsigned, &package)?;
    for verb in [Verb::Resign, Verb::Publish] {
        let output = verb.run(&fixture, &fixture.tree(), &[])?;
        let words = "tiny-1-1.noarch.rpm\" was changed";
        ensure!(
            output.code() == Some(1) && said(&output).contains(words),
            "{verb:?}: {}",
            said(&output)
        );
    }
    fs::write(&package, before)?;
    let key = fixture.fingerprints()?[0][24..].to_string();
    let signed = fixture
        .tree()
        .join(format!("rpm/stable/packages/{key}/tiny-1-1.noarch.rpm"));
    ensure!(!signed.exists(), "{} was signed", signed.display());
    fixture.publish_tiny("1-1")?;
    ensure!(signed.exists(), "{} is missing", signed.display());
    fixture
        .publish(&[Path::new("--check"), &fixture.tree()])
        .map(drop)
}

#[test]
fn a_change_that_a_host_has_made_up_is_not_finished() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (tree, change) = (fixture.tree(), fixture.tree().join(".publication"));
    fs::create_dir(&change)?;
    for name in ["SHA256SUMS", "SHA256SUMS.asc"] {
        fs::copy(tree.join(name), change.join(name))?;
    }
    let pristine = contents(&tree)?;
    let refused = |words: &str| -> Result<()> {
        for verb in [Verb::Resign, Verb::Publish] {
            let output = verb.run(&fixture, &tree, &[])?;
            let said = said(&output);
            ensure!(
                output.code() == Some(1) && said.contains(words),
                "{verb:?}: {said}"
            );
        }
        Ok(())
    };
    let attempts = [
        ("index.html", "\"index.html\" was changed"),
        ("apt/added", "\"apt/added\" was added"),
        (
            "SHA256SUMS",
            ".publication/SHA256SUMS.asc is not a signature",
        ),
    ];
    for (path, words) in attempts {
        let path = change.join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let before = fs::read(&path).ok();
        fs::write(&path, "evil")?;
        refused(words)?;
        match before {
            Some(content) => fs::write(&path, content)?,
            None => fs::remove_file(&path)?,
        }
        ensure!(contents(&tree)? == pristine, "{words}: the tree is another");
    }
    // What would be moved there, or removed, lies elsewhere.
    let (elsewhere, rpm) = (fixture.path("elsewhere"), tree.join("rpm"));
    fs::rename(&rpm, &elsewhere)?;
    symlink(&elsewhere, &rpm)?;
    refused("\"rpm\" in ")?;
    fs::remove_file(&rpm)?;
    fs::rename(&elsewhere, &rpm)?;
    // With nothing made up in it, it is what a publication that was cut off at its end has left.
    let output = Verb::Publish.run(&fixture, &tree, &[])?;
    ensure!(output.success() && !change.exists(), "{}", said(&output));
    Ok(())
}
