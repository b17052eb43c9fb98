//! Keys: passphrases, expiry, and one that follows another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::apt::Apt;
use crate::cut_off::cut_off;
use crate::dnf::Dnf;
use crate::fixture::{Fixture, run, said, stop_agent};
use crate::tiny;

/// Publishes one more version, and both machines update and take the newest keyring package.
fn publish_and_update(fixture: &Fixture, version: &str, apt: &Apt, dnf: &Dnf) -> Result<()> {
    fixture.publish_tiny(version)?;
    update(fixture, apt, dnf)?;
    ensure!(
        apt.versions("tiny")?.contains(version),
        "{:?}",
        apt.versions("tiny")
    );
    ensure!(
        dnf.versions("tiny")?.contains(version),
        "{:?}",
        dnf.versions("tiny")
    );
    Ok(())
}

/// apt has no root to install into: the keyring package is downloaded, and its content put in place.
fn update(fixture: &Fixture, apt: &Apt, dnf: &Dnf) -> Result<()> {
    apt.update()?;
    let output = apt.download("covalent-archive-keyring")?;
    ensure!(output.status.success(), "{}", said(&output));
    let packages = apt.downloaded("covalent-archive-keyring")?;
    let content = fixture.path("keyring");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(packages)
        .arg(&content))?;
    apt.learn_keys(&content.join("usr/share/keyrings/covalent-archive-keyring.gpg"))?;
    dnf.ok(&["upgrade", "--refresh"]).map(drop)
}

#[test]
fn one_key_follows_another() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (apt, dnf) = (Apt::new(&fixture, "apt")?, Dnf::new(&fixture, "dnf")?);
    dnf.ok(&["install", "tiny", "covalent-archive-keyring"])?;
    update(&fixture, &apt, &dnf)?;

    fixture.publish(&["--new-key", "--no-passphrase"])?;
    publish_and_update(&fixture, "2-1", &apt, &dnf)?;
    publish_and_update(&fixture, "3-1", &apt, &dnf)?;
    // Who comes now, and who has not updated for long.
    Apt::new(&fixture, "new-apt")?.update()?;
    Dnf::new(&fixture, "new-dnf")?.ok(&["install", "tiny"])?;

    let keys = fixture.fingerprints()?;
    ensure!(keys.len() == 2, "{keys:?}");
    let refused = fixture.try_publish(&["--retire-key", "0123 4567"])?;
    ensure!(
        !refused.status.success()
            && said(&refused).contains("key 01234567; it has: ")
            && said(&refused).contains(&keys[0]),
        "{}",
        said(&refused)
    );
    // As people copy it.
    let grouped = format!("{} {}", &keys[0][..20], &keys[0][20..].to_lowercase());
    fixture.publish(&["--retire-key", &grouped])?;
    ensure!(
        fixture.fingerprints()? == keys[1..],
        "{:?}",
        fixture.fingerprints()
    );
    publish_and_update(&fixture, "4-1", &apt, &dnf)?;
    publish_and_update(&fixture, "5-1", &apt, &dnf)?;
    Apt::new(&fixture, "newest-apt")?.update()?;
    // Versions from before, too, are signed with the key that is left.
    Dnf::new(&fixture, "newest-dnf")?.ok(&["install", "tiny-1"])?;
    let last = fixture.try_publish(&["--retire-key", &keys[1]])?;
    ensure!(said(&last).contains("is the only key"), "{}", said(&last));
    fixture
        .publish(&[Path::new("--check"), &fixture.tree()])
        .map(drop)
}

#[test]
fn what_expires_is_said_in_time() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let check = || fixture.try_publish(&[Path::new("--check"), &fixture.tree()]);
    let expect = |status: i32, words: &str| -> Result<()> {
        let output = check()?;
        let said = said(&output);
        ensure!(
            output.status.code() == Some(status) && said.contains(words),
            "{said}"
        );
        Ok(())
    };
    expect(0, "nothing expires soon")?;
    let key = &fixture.fingerprints()?[0];
    for (lifetime, status, words) in [
        ("61d", 0, "nothing expires soon"),
        ("59d", 2, "scripts/publish --new-key"),
    ] {
        fixture.gpg(&["--quick-set-expire", key, lifetime])?;
        fixture.publish_tiny("1-1")?;
        expect(status, words)?;
    }
    // With its successor published, there is something else to do.
    fixture.publish(&["--new-key", "--no-passphrase"])?;
    fixture.publish_tiny("1-1")?;
    expect(2, &format!("scripts/publish --retire-key {key}"))?;
    fixture.publish(&["--retire-key", key])?;
    fixture.publish_tiny("1-1")?;
    expect(0, "nothing expires soon")?;

    fixture.publish(&[
        "--resign",
        "--valid-days",
        "6",
        &fixture.tree().display().to_string(),
    ])?;
    expect(2, "scripts/publish --resign")?;
    fixture.publish(&[Path::new("--resign"), &fixture.tree()])?;
    expect(0, "nothing expires soon")?;

    let release = fixture.tree().join("apt/dists/stable/Release");
    fs::write(
        &release,
        fixture.text("apt/dists/stable/Release")? + "more\n",
    )?;
    expect(1, "\"apt/dists/stable/Release\" was changed")
}

#[test]
fn signatures_and_keys_are_of_todays_algorithms() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let packets =
        |path: &str| fixture.gpg(&["--list-packets", "--verbose", &path_of(&fixture, path)]);
    let metadata = fixture.find(&["rpm/stable/", "repomd.xml.asc"])?;
    let mut all = vec![
        "covalent-archive-keyring.gpg".to_string(),
        "apt/dists/stable/Release.gpg".into(),
    ];
    all.extend(metadata.iter().map(|path| path.display().to_string()));
    for path in &all {
        let packets = packets(path)?;
        // RFC 4880, section 9.4: 10 is SHA-512.
        let digests: Vec<&str> = packets
            .lines()
            .filter(|line| line.contains("digest algo"))
            .collect();
        ensure!(
            !digests.is_empty() && digests.iter().all(|line| line.contains("digest algo 10,")),
            "{path}: {packets}"
        );
    }
    let package = fixture.only(&["rpm/stable/packages", "tiny-1-1.noarch.rpm"])?;
    let said = run(Command::new("rpm")
        .args([
            "--query",
            "--package",
            "--nosignature",
            "--queryformat",
            "%{RSAHEADER:pgpsig}",
        ])
        .arg(package))?;
    ensure!(said.starts_with("RSA/SHA512"), "{said}");
    let release = fixture.text("apt/dists/stable/Release")?;
    ensure!(
        !release.contains("SHA1") && !release.contains("MD5"),
        "{release}"
    );
    let packages = fixture.text("apt/dists/stable/main/binary-amd64/Packages")?;
    ensure!(
        !packages.contains("SHA1") && !packages.contains("MD5"),
        "{packages}"
    );
    Ok(())
}

fn path_of(fixture: &Fixture, path: &str) -> String {
    fixture.tree().join(path).display().to_string()
}

/// A machine of each family installs from a repository that a key of this kind signs.
fn serves(fixture: &Fixture) -> Result<()> {
    fixture.publish_tiny("1-1")?;
    let apt = Apt::new(fixture, "apt")?;
    apt.update()?;
    ensure!(apt.download("tiny")?.success(), "apt");
    Dnf::new(fixture, "dnf")?.ok(&["install", "tiny"])?;
    fixture
        .publish(&[Path::new("--check"), &fixture.tree()])
        .map(drop)
}

#[test]
fn a_key_of_ed25519_signs() -> Result<()> {
    serves(&Fixture::with_key("ed25519", "sign")?)
}

#[test]
fn a_subkey_signs_for_a_key_that_certifies_only() -> Result<()> {
    let fixture = Fixture::with_key("rsa4096", "cert")?;
    let key = fixture.fingerprints()?[0].clone();
    let publish = || {
        fixture.try_publish(&[
            "--insecure-http",
            "--address",
            &fixture.address,
            &fixture.tree().display().to_string(),
        ])
    };
    let refused = publish()?;
    ensure!(
        said(&refused).contains("has no key that can sign"),
        "{}",
        said(&refused)
    );
    let add = [
        "--passphrase",
        "",
        "--quick-add-key",
        &key,
        "rsa4096",
        "sign",
    ];
    fixture.gpg(&[&add[..], &["59d"]].concat())?;
    fixture.publish_tiny("1-1")?;
    let soon = fixture.try_publish(&[Path::new("--check"), &fixture.tree()])?;
    ensure!(
        soon.status.code() == Some(2) && said(&soon).contains("expires on"),
        "{}",
        said(&soon)
    );
    fixture.gpg(&[&add[..], &["1y"]].concat())?;
    serves(&fixture)
}

#[test]
fn what_was_cut_off_brings_the_next_key_all_the_same() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (apt, dnf) = (Apt::new(&fixture, "apt")?, Dnf::new(&fixture, "dnf")?);
    // With more to publish the first time: covalent-archive-keyring.
    fixture.publish(&["--new-key", "--no-passphrase"])?;
    let mut arguments = vec![fixture.tree()];
    arguments.extend(tiny::packages(&fixture.path(""), "tiny", "2-1")?);
    let killed = cut_off(&fixture, &arguments, 20)?;
    ensure!(killed.code().is_none(), "{}", said(&killed));
    publish_and_update(&fixture, "3-1", &apt, &dnf)?;
    // That machines of both families learn of the new key.
    let learnt = fs::read(fixture.path("keyring/usr/share/keyrings/covalent-archive-keyring.gpg"))?;
    ensure!(
        learnt == fixture.read("covalent-archive-keyring.gpg")?,
        "apt's keys are old"
    );
    let versions = dnf.versions("covalent-archive-keyring")?;
    ensure!(versions.len() == 2, "{versions:?}");
    Ok(())
}

#[test]
fn the_agent_knows_the_passphrase() -> Result<()> {
    let fixture = Fixture::new()?;
    fs::remove_dir_all(fixture.keys())?;
    fs::create_dir(fixture.keys())?;
    fs::set_permissions(fixture.keys(), fs::Permissions::from_mode(0o700))?;
    // In the place of the person at a pinentry.
    let (pinentry, asked) = (fixture.path("pinentry"), fixture.path("asked"));
    let script = format!(
        "#!/bin/sh\necho OK\nwhile read -r word rest; do\n  case $word in\n    \
         GETPIN) echo >>{}; echo 'D correct horse' ;;\n    BYE) echo OK; exit ;;\n  esac\n  \
         echo OK\ndone\n",
        asked.display()
    );
    fs::write(&pinentry, script)?;
    fs::set_permissions(&pinentry, fs::Permissions::from_mode(0o755))?;
    fs::write(
        fixture.keys().join("gpg-agent.conf"),
        format!("pinentry-program {}\n", pinentry.display()),
    )?;
    fixture.publish(&["--new-key"])?;
    // Nobody remembers it any more.
    stop_agent(&fixture.keys());
    fs::remove_file(&asked)?;
    fixture.publish_tiny("1-1")?;
    ensure!(
        fs::read(&asked)?.len() == 1,
        "the passphrase was not asked for once"
    );
    Apt::new(&fixture, "apt")?.update()?;
    Dnf::new(&fixture, "dnf")?
        .ok(&["install", "tiny"])
        .map(drop)
}
