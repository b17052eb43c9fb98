//! The signing keys: GnuPG's, so that passphrases and hardware are the business of its agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use covalentctl::system::command::Command;
use covalentctl::system::file::make_folder;

use crate::key::{Key, fingerprints, listed, secret, spaced};
use crate::tool::output;

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

impl Keys {
    /// The keys in `folder` that sign: those in `chosen`, or all if that is empty.
    pub fn new(folder: PathBuf, chosen: Vec<String>) -> Result<Keys> {
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("the folder of the keys, {}", folder.display()))?;
        Ok(Keys { folder, chosen })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes one more key.
    pub fn create(&self, passphrase: bool) -> Result<()> {
        make_folder(&self.folder, 0o700)?;
        let mut gpg = self.gpg();
        if !passphrase {
            gpg = gpg.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        }
        let before = self.all()?;
        // Those that have expired have a name, too.
        let number = secret(&self.listing()?).len() + 1;
        gpg.args(["--quick-generate-key", &format!("{USER} {number}")])
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
        let mut keys = listed(&self.listing()?);
        keys.sort_by_key(|key| key.created);
        Ok(keys)
    }

    fn listing(&self) -> Result<String> {
        let list = self.gpg().args(["--with-colons", "--list-secret-keys"]);
        output(list, || format!("listing {}", self.folder.display()))
    }

    /// A file in `folder` with the public keys that a tree is verified with: those that were chosen, or
    /// all that have a secret part. One that has expired since it signed is among them.
    pub fn pinned(&self, folder: &Path) -> Result<PathBuf> {
        let mut pinned = self.chosen.clone();
        if pinned.is_empty() && self.folder.exists() {
            pinned = secret(&self.listing()?);
        }
        ensure!(
            !pinned.is_empty(),
            "{} has no key of the publisher's to verify with; name its folder: --keys DIRECTORY",
            self.folder.display()
        );
        let path = folder.join("pinned.gpg");
        self.export_as(&pinned, &path, &[])?;
        Ok(path)
    }

    /// Writes the public keys to `path`, as apt reads them.
    pub fn export(&self, keys: &[Key], path: &Path) -> Result<()> {
        self.export_as(&fingerprints(keys), path, &[])
    }

    /// Writes the public keys to `path`, each in a block of its own, as rpm reads them.
    pub fn export_armored(&self, keys: &[Key], path: &Path) -> Result<()> {
        self.export_as(&fingerprints(keys), path, &["--armor"])
    }

    fn export_as(&self, fingerprints: &[String], path: &Path, options: &[&str]) -> Result<()> {
        let mut all = Vec::new();
        for fingerprint in fingerprints {
            let one = tempfile::NamedTempFile::new()?;
            let export = self
                .gpg()
                .args(["--yes", "--export-options", "export-minimal"]);
            let export = export.args(options).args(["--output"]).args([one.path()]);
            export.args(["--export", fingerprint]).run()?;
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
