//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgGroup, Parser};

use crate::check;
use crate::index::Suite;
use crate::keys::Keys;
use crate::options::{Options, address, fingerprint};
use crate::publish::publish;

/// Put packages into an apt and a dnf repository that any static web server can serve
#[derive(Debug, Parser)]
#[command(name = "scripts/publish")]
#[command(group = ArgGroup::new("verb").args(["new_key", "retire_key", "resign", "check"]))]
pub struct Arguments {
    /// The repository; what a web server serves
    #[arg(required_unless_present_any = ["new_key", "retire_key"])]
    directory: Option<PathBuf>,

    /// Packages to add: .deb and .rpm
    #[arg(conflicts_with = "verb")]
    packages: Vec<PathBuf>,

    /// The suite they go into
    #[arg(long, value_enum, default_value_t = Suite::Stable)]
    suite: Suite,

    /// Where machines reach the repository: https://... [default: as published before]
    #[arg(long, value_name = "URL")]
    address: Option<String>,

    /// Take an http:// address: anyone on the way can replace install.sh, which root runs
    #[arg(long, requires = "address")]
    insecure_http: bool,

    /// How many versions of a package to keep in a suite
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,

    /// How many days apt trusts the indexes; --resign before they are over
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    valid_days: u16,

    /// GnuPG's folder with the signing keys [default: ~/.local/share/covalent-repository]
    #[arg(long, value_name = "DIRECTORY")]
    keys: Option<PathBuf>,

    /// Sign with this key alone; may be given twice, the older key first [default: all of the folder]
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    key: Vec<String>,

    /// Make a signing key. If there is one already, both sign from now on
    #[arg(long, conflicts_with = "directory")]
    new_key: bool,

    /// With --new-key: a key without a passphrase, for a machine that publishes by itself
    #[arg(long, requires = "new_key")]
    no_passphrase: bool,

    /// Delete a signing key, once every machine has had time to learn of the new one
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint, conflicts_with = "directory")]
    retire_key: Option<String>,

    /// Sign the indexes anew, without any other change, if all is as it was published
    #[arg(long)]
    resign: bool,

    /// Check that every file is as it was published, and (status 2) that nothing expires soon
    #[arg(long)]
    check: bool,

    /// Go on from a signed tree that is not the latest: one from a backup, or from another address
    #[arg(long)]
    adopt: bool,
}

impl Arguments {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        let folder = match self.keys {
            Some(folder) => folder,
            None => std::env::home_dir()
                .context("there is no home directory; give the folder of the keys with --keys")?
                .join(".local/share/covalent-repository"),
        };
        let keys = Keys::new(folder, self.key)?;
        let Some(directory) = self.directory else {
            match self.retire_key {
                Some(fingerprint) => keys.retire(&fingerprint)?,
                None => keys.create(!self.no_passphrase)?,
            }
            return Ok(ExitCode::SUCCESS);
        };
        let address = self.address.map(|text| address(&text, self.insecure_http));
        let options = Options {
            suite: self.suite,
            address: address.transpose()?,
            keep: usize::from(self.keep),
            valid_days: self.valid_days,
            resign: self.resign,
            adopt: self.adopt,
        };
        if self.check {
            return check::check(&directory, &keys, &options);
        }
        publish(&directory, &self.packages, &keys, &options)?;
        Ok(ExitCode::SUCCESS)
    }
}
