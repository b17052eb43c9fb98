//! What clients say to a repository that is not as it was published. Each test prints their words.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::dnf::Dnf;
use crate::fixture::{Fixture, run, said};

/// A way to spoil a file's content.
type Change = fn(Vec<u8>) -> Vec<u8>;

/// What is spoilt, its files, how, who is asked, and the words that are expected.
type Case<'a> = (
    &'a str,
    &'a [PathBuf],
    Change,
    &'a dyn Fn() -> Result<String>,
    &'a str,
);

/// As long as before, with one bit less that is right.
fn flipped(mut content: Vec<u8>) -> Vec<u8> {
    let middle = content.len() / 2;
    content[middle] ^= 1;
    content
}

fn truncated(mut content: Vec<u8>) -> Vec<u8> {
    content.truncate(content.len() / 2);
    content
}

/// Spoils files, asks the client, and puts the files back.
fn asked(files: &[PathBuf], change: Change, ask: &dyn Fn() -> Result<String>) -> Result<String> {
    let mut before = Vec::new();
    for file in files {
        let content = fs::read(file).with_context(|| file.display().to_string())?;
        fs::write(file, change(content.clone()))?;
        before.push((file, content));
    }
    let words = ask();
    for (file, content) in before {
        fs::write(file, content)?;
    }
    words
}

/// Checks and shows what a client said.
fn expect(what: &str, words: &str, expected: &str) -> Result<()> {
    ensure!(
        words.contains(expected),
        "{what}: not {expected:?}: {words}"
    );
    let line = words
        .lines()
        .find(|line| line.contains(expected))
        .unwrap_or_default();
    println!("{what}: {}", line.trim());
    Ok(())
}

#[test]
fn apt_refuses_what_was_changed() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let release = |name: &str| fixture.tree().join("apt/dists/stable").join(name);
    let indexes = fixture.find(&["apt/dists/stable/main/binary-amd64"])?;
    let pool = [fixture.only(&["tiny_1-1_all.deb"])?];
    let update = || Apt::new(&fixture, "new")?.refusal();
    let download = || {
        let apt = Apt::new(&fixture, "new")?;
        apt.update()?;
        let output = apt.download("tiny")?;
        ensure!(!output.status.success(), "{}", said(&output));
        Ok(said(&output))
    };
    let cases: [Case; 6] = [
        (
            "a changed index",
            &indexes,
            flipped,
            &update,
            "Hash Sum mismatch",
        ),
        (
            "a truncated index",
            &indexes,
            truncated,
            &update,
            "File has unexpected size",
        ),
        (
            "a changed package",
            &pool,
            flipped,
            &download,
            "Hash Sum mismatch",
        ),
        (
            "a truncated package",
            &pool,
            truncated,
            &download,
            "File has unexpected size",
        ),
        (
            "a truncated signature",
            &[release("InRelease")],
            truncated,
            &update,
            "is not signed",
        ),
        (
            "a changed release",
            &[release("InRelease")],
            |content| {
                String::from_utf8_lossy(&content)
                    .replace("Origin: C", "Origin: K")
                    .into()
            },
            &update,
            "BADSIG",
        ),
    ];
    for (what, files, change, ask, expected) in cases {
        let words = asked(files, change, ask).with_context(|| what.to_string())?;
        expect(what, &words, expected)?;
        fs::remove_dir_all(fixture.path("new"))?;
    }
    Apt::new(&fixture, "new")?.update()
}

#[test]
fn apt_refuses_another_key() -> Result<()> {
    let (fixture, other) = (Fixture::with_tiny()?, Fixture::of_another()?);
    let apt = Apt::new(&fixture, "apt")?;
    let release = fixture.tree().join("apt/dists/stable/InRelease");
    fs::write(release, other.read("apt/dists/stable/InRelease")?)?;
    expect("another key", &apt.refusal()?, "NO_PUBKEY")
}

#[test]
fn apt_refuses_what_has_expired() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let apt = Apt::new(&fixture, "apt")?;
    let [release, signed] =
        ["Release", "InRelease"].map(|name| fixture.tree().join("apt/dists/stable").join(name));
    let before = [fs::read(&release)?, fs::read(&signed)?];
    let lines = fixture.text("apt/dists/stable/Release")?;
    let past: String = lines
        .lines()
        .map(|line| match line.split_once(": ") {
            Some(("Date", _)) => "Date: Mon, 05 Jan 2026 00:00:00 +0000\n".to_string(),
            Some(("Valid-Until", _)) => {
                "Valid-Until: Tue, 06 Jan 2026 00:00:00 +0000\n".to_string()
            }
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(&release, past)?;
    let [to, from] = [&signed, &release].map(|path| path.display().to_string());
    fixture.gpg(&["--output", &to, "--clear-sign", &from])?;
    expect("expired", &apt.refusal()?, "is expired")?;
    // What the publisher does about it, with the tree that he has published.
    fs::write(&release, &before[0])?;
    fs::write(&signed, &before[1])?;
    fixture.publish(&[Path::new("--resign"), &fixture.tree()])?;
    ensure!(fs::read(&signed)? != before[1], "nothing was signed anew");
    apt.update()
}

#[test]
fn apt_refuses_an_index_of_another_publication() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let old: Vec<PathBuf> = fixture.find(&["binary-amd64/by-hash"])?;
    let (new, late) = (Apt::new(&fixture, "new")?, Apt::new(&fixture, "late")?);
    let release = fixture.read("apt/dists/stable/InRelease")?;
    fixture.publish_tiny("2-1")?;
    late.update()?;
    for file in fixture.find(&["apt/dists/stable/main/binary-amd64/by-hash"])? {
        if !old.contains(&file) {
            fs::write(&file, fs::read(&old[0])?)?;
        }
    }
    expect("another publication's", &new.refusal()?, "Failed to fetch")?;
    // A mirror that is late, to a machine that knows better.
    fs::write(fixture.tree().join("apt/dists/stable/InRelease"), release)?;
    let output = late.run(&["update"])?;
    println!("late: {}", said(&output));
    ensure!(late.versions("tiny")?.contains("2-1"), "{}", said(&output));
    Ok(())
}

#[test]
fn dnf_refuses_what_was_changed() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let list = fixture.text("rpm/stable/mirrorlist")?;
    let publication = list
        .trim()
        .rsplit('/')
        .nth(1)
        .context("a publication")?
        .to_string();
    let metadata = |name: &str| fixture.only(&[&format!("{publication}/repodata/"), name]);
    let signature = metadata("repomd.xml.asc")?;
    let (head, primary) = (
        [signature.with_extension("")],
        [metadata("primary.xml.gz")?],
    );
    let signature = [signature];
    let packages = [fixture.only(&["rpm/stable/packages", "tiny-1-1.noarch.rpm"])?];
    let update = || Dnf::new(&fixture, "new")?.refusal();
    let install = || {
        let dnf = Dnf::new(&fixture, "new")?;
        let output = dnf.run(&["install", "tiny"])?;
        ensure!(!output.status.success(), "{}", said(&output));
        Ok(said(&output))
    };
    let bad = "Bad GPG signature";
    let checksum = "checksum doesn't match";
    let cases: [Case; 7] = [
        ("a changed index", &primary, flipped, &update, checksum),
        ("a truncated index", &primary, truncated, &update, checksum),
        ("changed metadata", &head, flipped, &update, bad),
        ("truncated metadata", &head, truncated, &update, bad),
        (
            "a truncated signature",
            &signature,
            truncated,
            &update,
            "signature",
        ),
        ("a changed package", &packages, flipped, &install, checksum),
        (
            "a truncated package",
            &packages,
            truncated,
            &install,
            "Inconsistent server data",
        ),
    ];
    for (what, files, change, ask, expected) in cases {
        let words = asked(files, change, ask).with_context(|| what.to_string())?;
        expect(what, &words, expected)?;
        fs::remove_dir_all(fixture.path("new"))?;
    }
    Dnf::new(&fixture, "new")?.update()
}

#[test]
fn dnf_refuses_another_key() -> Result<()> {
    let (fixture, other) = (Fixture::with_tiny()?, Fixture::of_another()?);
    let dnf = Dnf::new(&fixture, "dnf")?;
    for path in fixture.find(&["rpm/stable/", "repomd.xml.asc"])? {
        let [head, signature] =
            [path.with_extension(""), path].map(|path| path.display().to_string());
        other.gpg(&["--output", &signature, "--armor", "--detach-sign", &head])?;
    }
    expect(
        "another key",
        &dnf.refusal()?,
        "GPG signature verification error",
    )
}

#[test]
fn dnf_refuses_a_package_that_another_has_signed() -> Result<()> {
    let (fixture, other) = (Fixture::with_tiny()?, Fixture::of_another()?);
    // With metadata that are in order.
    let path = fixture.only(&["rpm/stable/packages", "tiny-1-1.noarch.rpm"])?;
    fs::copy(
        other.only(&["rpm/stable/packages", "tiny-1-1.noarch.rpm"])?,
        &path,
    )?;
    let folder = fixture.tree().join("rpm/stable");
    run(Command::new("createrepo_c")
        .args(["--quiet", "--no-database"])
        .arg(&folder))?;
    let head = folder.join("repodata/repomd.xml").display().to_string();
    let signature = format!("{head}.asc");
    fixture.gpg(&["--output", &signature, "--armor", "--detach-sign", &head])?;
    fs::write(
        folder.join("mirrorlist"),
        format!("{}/rpm/stable/\n", fixture.address),
    )?;
    let output = Dnf::new(&fixture, "dnf")?.run(&["install", "tiny"])?;
    ensure!(!output.status.success(), "{}", said(&output));
    expect(
        "another's package",
        &said(&output),
        "Import of key(s) didn't help, wrong key(s)?",
    )
}

#[test]
fn dnf_refuses_metadata_of_another_publication() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let old = fixture.find(&["rpm/stable/", "repomd.xml"])?;
    fixture.publish_tiny("2-1")?;
    for path in fixture.find(&["rpm/stable/", "repomd.xml"])? {
        let new = !old.contains(&path);
        if new && path.extension().is_some_and(|extension| extension == "xml") {
            fs::write(path, fs::read(&old[0])?)?;
        }
    }
    let dnf = Dnf::new(&fixture, "dnf")?;
    expect(
        "another publication's",
        &dnf.refusal()?,
        "Bad GPG signature",
    )
}
