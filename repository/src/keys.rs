//! The signing keys: GnuPG's, so that passphrases and hardware are the business of its agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use covalentctl::system::command::Command;
use covalentctl::system::file::make_folder;

/// The name on a key.
const USER: &str = "Covalent package repository";

/// RSA, since rpm 4.14 of RHEL 8 cannot check Ed25519; every apt and rpm checks RSA.
const ALGORITHM: &str = "rsa4096";

/// How long a key lives, until a later signature by itself says otherwise.
const LIFETIME: &str = "3y";

/// The digest of all signatures.
const DIGEST: &str = "SHA512";

/// A folder of GnuPG's, and which keys in it sign.
#[derive(Debug)]
pub struct Keys {
    folder: PathBuf,
    chosen: Vec<String>,
}

/// A key that can sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its fingerprint, 40 hexadecimal digits.
    pub fingerprint: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it expires, likewise.
    pub expires: Option<i64>,
}

impl Keys {
    /// The keys in `folder` that sign: those in `chosen`, or all if that is empty.
    pub fn new(folder: PathBuf, chosen: Vec<String>) -> Result<Keys> {
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("the folder of the keys, {}", folder.display()))?;
        Ok(Keys { folder, chosen })
    }

    /// Makes one more key.
    pub fn create(&self, passphrase: bool) -> Result<()> {
        make_folder(&self.folder, 0o700)?;
        let mut gpg = self.gpg();
        if !passphrase {
            gpg = gpg.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        }
        let before = self.all()?;
        gpg.args([
            "--quick-generate-key",
            &format!("{USER} {}", before.len() + 1),
        ])
        .args([ALGORITHM, "sign", LIFETIME])
        .run()
        .with_context(|| format!("making a key in {}", self.folder.display()))?;
        let after = self.all()?;
        let made = after.iter().find(|key| !before.contains(key));
        let made = made.context("gpg made a key, and does not list it")?;
        println!(
            "made the key {} in {}",
            spaced(&made.fingerprint),
            self.folder.display()
        );
        if let Some(old) = before.first() {
            println!(
                "it signs beside the old one from the next publication on; once every machine"
            );
            println!(
                "has had time to update: scripts/publish --retire-key {}",
                old.fingerprint
            );
        }
        println!("keep a copy of the folder where nobody else can read it");
        Ok(())
    }

    /// Deletes a key, unless it is the last.
    pub fn retire(&self, fingerprint: &str) -> Result<()> {
        let keys = self.all()?;
        ensure!(
            keys.iter().any(|key| key.fingerprint == fingerprint),
            "{} has no signing key {fingerprint}; it has: {}",
            self.folder.display(),
            fingerprints(&keys).join(", ")
        );
        ensure!(
            keys.len() > 1,
            "{fingerprint} is the only key; make its successor first: scripts/publish --new-key"
        );
        self.gpg()
            .args(["--yes", "--delete-secret-and-public-key", fingerprint])
            .run()
            .with_context(|| format!("deleting the key {fingerprint}"))?;
        println!("deleted the key {fingerprint}; publish now, to sign all with the other");
        Ok(())
    }

    /// The keys that sign, the oldest first. It is an error if there are none.
    pub fn signing(&self) -> Result<Vec<Key>> {
        let keys = self.all()?;
        if self.chosen.is_empty() {
            if keys.is_empty() {
                bail!(
                    "{} has no key that can sign; make one: scripts/publish --new-key",
                    self.folder.display()
                );
            }
            return Ok(keys);
        }
        let find = |wanted: &String| {
            let found = keys.iter().find(|key| key.fingerprint == *wanted).cloned();
            found.with_context(|| format!("{} has no signing key {wanted}", self.folder.display()))
        };
        self.chosen.iter().map(find).collect()
    }

    /// Every key of the folder that can sign today, the oldest first.
    fn all(&self) -> Result<Vec<Key>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let listing = self
            .gpg()
            .args(["--with-colons", "--list-secret-keys"])
            .run();
        let listing = listing.with_context(|| format!("listing {}", self.folder.display()))?;
        let mut keys = listed(&listing.stdout);
        keys.sort_by_key(|key| key.created);
        Ok(keys)
    }

    /// Writes the public keys to `path`, as apt reads them.
    pub fn export(&self, keys: &[Key], path: &Path) -> Result<()> {
        self.export_as(keys, path, &[])
    }

    /// Writes the public keys to `path`, each in a block of its own, as rpm reads them.
    pub fn export_armored(&self, keys: &[Key], path: &Path) -> Result<()> {
        self.export_as(keys, path, &["--armor"])
    }

    fn export_as(&self, keys: &[Key], path: &Path, options: &[&str]) -> Result<()> {
        let mut all = Vec::new();
        for key in keys {
            let one = tempfile::NamedTempFile::new()?;
            let export = self
                .gpg()
                .args(["--yes", "--export-options", "export-minimal"]);
            let export = export.args(options).args(["--output"]).args([one.path()]);
            export.args(["--export", &key.fingerprint]).run()?;
            all.extend(fs::read(one.path())?);
        }
        fs::write(path, all).with_context(|| format!("writing {}", path.display()))
    }

    /// Signs `file` with each of the keys; `signature` is a file beside it.
    pub fn sign(&self, keys: &[Key], file: &Path, signature: &Path) -> Result<()> {
        self.sign_as("--detach-sign", keys, file, signature)
    }

    /// Signs `file` with each of the keys; `signed` holds its text as well.
    pub fn sign_text(&self, keys: &[Key], file: &Path, signed: &Path) -> Result<()> {
        self.sign_as("--clear-sign", keys, file, signed)
    }

    fn sign_as(&self, verb: &str, keys: &[Key], file: &Path, result: &Path) -> Result<()> {
        let mut gpg = self.gpg().args(["--armor", "--digest-algo", DIGEST]);
        for key in keys {
            gpg = gpg.args(["--local-user", &key.fingerprint]);
        }
        gpg.args([Path::new("--output"), result, Path::new(verb), file])
            .run()
            .with_context(|| format!("signing {}", file.display()))?;
        Ok(())
    }

    /// Puts a signature into the RPM package at `path`, in the place of one that is there.
    pub fn sign_package(&self, key: &Key, path: &Path) -> Result<()> {
        Command::in_place("rpmsign")
            .args(["--define", &format!("_gpg_path {}", self.folder.display())])
            .args(["--define", &format!("_gpg_name {}", key.fingerprint)])
            // Debian's rpm looks for a gpg2.
            .args(["--define", "__gpg /usr/bin/gpg"])
            .args([
                "--define",
                &format!("_gpg_sign_cmd_extra_args --digest-algo {DIGEST}"),
            ])
            .args(["--addsign"])
            .args([path])
            .run()
            .with_context(|| format!("signing {}", path.display()))?;
        Ok(())
    }

    /// In the caller's environment, where the agent finds the terminal to ask for a passphrase, and
    /// without a time limit, since a person may answer.
    fn gpg(&self) -> Command {
        Command::in_place("gpg")
            .env("LC_ALL", "C.UTF-8")
            .args([
                "--batch",
                "--quiet",
                "--no-auto-check-trustdb",
                "--cert-digest-algo",
                DIGEST,
            ])
            .args([Path::new("--homedir"), &self.folder])
    }
}

/// The keys that can sign in a listing of GnuPG's (its doc/DETAILS).
pub fn listed(listing: &str) -> Vec<Key> {
    let mut blocks: Vec<Vec<Vec<&str>>> = Vec::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        match (fields[0], blocks.last_mut()) {
            ("sec" | "pub", _) => blocks.push(vec![fields]),
            (_, Some(block)) => block.push(fields),
            (_, None) => {}
        }
    }
    blocks.iter().filter_map(|block| key(block)).collect()
}

/// The key that the lines of one tell of, if it can sign.
fn key(block: &[Vec<&str>]) -> Option<Key> {
    let valid = |line: &[&str]| !matches!(line.get(1), Some(&("e" | "r" | "d" | "i" | "n")));
    let can = |line: &[&str], what| line.get(11).is_some_and(|all| all.contains(what));
    let time = |line: &[&str], index: usize| line.get(index).and_then(|text| text.parse().ok());
    let (primary, rest) = block.split_first()?;
    // A capital stands for the key with its subkeys.
    if !valid(primary) || !can(primary, 'S') {
        return None;
    }
    let mut expires = time(primary, 6);
    if !can(primary, 's') {
        let subkeys = rest
            .iter()
            .filter(|line| matches!(line[0], "ssb" | "sub") && valid(line) && can(line, 's'));
        // No subkey outlives its key.
        let ends = subkeys.map(|line| time(line, 6).or(expires));
        expires = ends.max_by_key(|end| end.unwrap_or(i64::MAX))?;
    }
    let fingerprint = rest.iter().find(|line| line[0] == "fpr")?.get(9)?;
    Some(Key {
        fingerprint: (*fingerprint).to_string(),
        created: time(primary, 5).unwrap_or(0),
        expires,
    })
}

/// The fingerprints of keys.
pub fn fingerprints(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| key.fingerprint.clone()).collect()
}

/// A fingerprint as GnuPG lists it, from one that a person may have copied in groups.
pub fn joined(fingerprint: &str) -> String {
    let digits = fingerprint.chars().filter(|c| !c.is_whitespace());
    digits.map(|c| c.to_ascii_uppercase()).collect()
}

/// A fingerprint in groups of four, for people.
pub fn spaced(fingerprint: &str) -> String {
    let digits: Vec<char> = fingerprint.chars().collect();
    let groups: Vec<String> = digits
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_can_sign_are_found_in_a_listing() {
        let listing = "\
sec:u:4096:1:D444C837EB88CC25:1795600243:1858672243::u:::scSC:::+:::23::0:
fpr:::::::::2217570190761D7D2A7CB825D444C837EB88CC25:
grp:::::::::AAAA:
uid:u::::1795600243::BBBB::Test::::::::::0:
sec:e:4096:1:0000000000000001:1:2::u:::sc:::+:::23::0:
fpr:::::::::EXPIRED:
";
        assert_eq!(
            listed(listing),
            [Key {
                fingerprint: "2217570190761D7D2A7CB825D444C837EB88CC25".into(),
                created: 1795600243,
                expires: Some(1858672243),
            }]
        );
    }

    #[test]
    fn a_subkey_may_sign_for_a_key_and_says_until_when() {
        let listing = "\
pub:u:255:22:0000000000000001:1:90::u:::cSC:::+:::23::0:
fpr:::::::::FIRST:
uid:u::::1::BBBB::Test::::::::::0:
sub:e:255:22:0000000000000002:1:10:::::s:::+:::23:
fpr:::::::::ITS-EXPIRED:
sub:u:255:22:0000000000000003:1:70:::::s:::+:::23:
fpr:::::::::ITS-SIGNING:
sub:u:255:18:0000000000000004:1:80:::::e:::+:::23:
fpr:::::::::ITS-ENCRYPTING:
pub:u:255:22:0000000000000005:2:::u:::cC:::+:::23::0:
fpr:::::::::CERTIFIES-ONLY:
";
        assert_eq!(
            listed(listing),
            [Key {
                fingerprint: "FIRST".into(),
                created: 1,
                expires: Some(70),
            }]
        );
    }

    #[test]
    fn a_fingerprint_is_grouped() {
        assert_eq!(spaced("0123456789AB"), "0123 4567 89AB");
        assert_eq!(joined(" 0123 4567\u{a0}89ab"), "0123456789AB");
    }
}
