//! When each repository was last published: kept beside the keys, where no web host can change it.
//!
//! A signature says that a tree was published once, and not that it is the latest one. What can be told
//! of a tree that its host, or a backup, has put back is told here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use covalentctl::system::file;
use jiff::{SignedDuration, Timestamp};

use crate::checksums::{Checksums, SUMS};
use crate::keys::Keys;
use crate::options::Options;

/// The file's name in the folder of the keys. Each line holds an address and a time.
const NAME: &str = "covalent-published";

/// When each repository was last published with the keys of a folder.
#[derive(Debug)]
pub struct Latest {
    folder: PathBuf,
}

impl Latest {
    /// What is kept beside `keys`.
    pub fn new(keys: &Keys) -> Latest {
        Latest {
            folder: keys.folder().to_owned(),
        }
    }

    /// The address of the repository that `tree` is, or is to be. It is an error if what was verified
    /// of it, `before`, is not the latest publication at that address.
    pub fn accept(
        &self,
        tree: &Path,
        before: Option<&Checksums>,
        options: &Options,
    ) -> Result<String> {
        let published = before.map(|before| before.address.clone());
        let address = options.address.clone().or_else(|| published.clone());
        let address = address.with_context(|| {
            let tree = tree.display();
            format!("{tree} is new; say where machines will reach it: --address https://...")
        })?;
        if options.adopt {
            return Ok(address);
        }
        let sums = tree.join(SUMS);
        let sums = sums.display();
        let adopt = "to publish it all the same, add --adopt";
        if let Some(published) = published {
            ensure!(
                published == address,
                "{sums} says that it was published for {published}, and not for {address}; {adopt}"
            );
        }
        match (before, self.read()?.get(&address)) {
            (Some(before), Some(latest)) => ensure!(
                before.published >= *latest,
                "{sums} is of {}, but {address} was published again on {}: an older tree was put \
                 back. Take the latest one; {adopt}",
                date(before.published),
                date(*latest)
            ),
            (None, Some(latest)) => bail!(
                "{address} was published on {}, and {} is empty. Take the latest tree; {adopt}",
                date(*latest),
                tree.display()
            ),
            // As long as apt trusts its indexes, whoever keeps a tree can hand it out without us.
            (Some(before), None) => ensure!(
                before.published + days(options.valid_days) >= Timestamp::now(),
                "{sums} is of {}, more than {} days ago, and {} does not say whether that was the \
                 last publication. Make sure that it was; {adopt}",
                date(before.published),
                options.valid_days,
                self.path().display()
            ),
            (None, None) => {}
        }
        Ok(address)
    }

    /// Remembers that the latest publication at `address` is that of `time`.
    pub fn remember(&self, address: &str, time: Timestamp) -> Result<()> {
        // Another publication may write it for another address.
        let _lock = File::open(&self.folder)
            .and_then(|folder| folder.lock().map(|()| folder))
            .with_context(|| format!("locking {}", self.folder.display()))?;
        let mut all = self.read()?;
        if all.insert(address.to_string(), time) == Some(time) {
            return Ok(());
        }
        let lines = all
            .iter()
            .map(|(address, time)| format!("{address} {time}\n"));
        file::write(&self.path(), lines.collect::<String>().as_bytes(), 0o600)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    fn read(&self) -> Result<BTreeMap<String, Timestamp>> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let line = |line: &str| {
            let (address, time) = line.split_once(' ').context("a line with one word")?;
            Ok((address.to_string(), time.parse()?))
        };
        let lines: Result<_> = text.lines().map(line).collect();
        lines.with_context(|| format!("reading {}", path.display()))
    }
}

fn days(days: u16) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

/// A time as people read it.
pub fn date(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%d %H:%M:%S UTC")
}
