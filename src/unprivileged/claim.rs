//! Texts that the account wrote.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::system::failure::{Failure, Kind};

/// Characters of a revision at most; Alembic's own have twelve.
const LONGEST: usize = 64;

/// The revision of a database (Alembic): the account's word, and part of file names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Revision {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Revision {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Revision> {
        let is_one = (1..=LONGEST).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_one {
            return Ok(Revision(text));
        }
        let start: String = text.chars().take(LONGEST).collect();
        Err(Failure::error(
            Kind::Database,
            format!(
                "{start:?} is not the revision of a database: that has 1 to {LONGEST} letters, \
                 digits and underscores, and somebody has written something else into the table \
                 alembic_version"
            ),
            "covalentctl status names the newest backup; sudo covalentctl restore BACKUP brings \
             it back",
        ))
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Opens a file for reading in a folder of the account's: not through a link, no pipe, and none
/// that has a second name, which may be somebody else's.
pub(crate) fn open(path: &Path) -> Result<File> {
    let action = || format!("opening {}", path.display());
    let folder = open_parent(path)?;
    let name = path.file_name().with_context(action)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, name, flags, Mode::empty()).with_context(action)?;
    let file = File::from(file);
    let metadata = file.metadata().with_context(action)?;
    ensure!(
        metadata.is_file() && metadata.nlink() == 1,
        "{} is not a plain file of its own",
        path.display()
    );
    Ok(file)
}

/// The folder of `path`, whose own place only root can change.
fn open_parent(path: &Path) -> Result<File> {
    let parent = path.parent().unwrap_or(path);
    File::options()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(parent)
        .with_context(|| format!("opening {}", parent.display()))
}

/// The text of a file of the account's. One that has more than `limit` bytes is refused.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String> {
    let mut text = String::new();
    let read = open(path)?
        .take(limit + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", path.display()))?;
    ensure!(
        read as u64 <= limit,
        "{} has more than {limit} bytes",
        path.display()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType};

    #[test]
    fn a_revision_is_a_word_of_a_file_name_or_is_refused() {
        let parse = |text: &str| Revision::try_from(text.to_string());
        for good in ["f64ecaa040d5", "A_1", &"a".repeat(LONGEST)] {
            assert_eq!(parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "x/../../etc/ld.so.preload",
            "..",
            "a\u{1b}[31m",
            "é",
            "a\n",
            &"a".repeat(LONGEST + 1),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.chars().any(char::is_control), "{error:?}");
            assert!(serde_json::from_value::<Revision>(bad.into()).is_err());
        }
    }

    #[test]
    fn nothing_but_a_file_of_its_own_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "content").unwrap();
        assert_eq!(read(&path("file"), 7).unwrap(), "content");
        read(&path("file"), 6).unwrap_err();

        symlink(path("file"), path("link")).unwrap();
        rustix::fs::mknodat(CWD, path("pipe"), FileType::Fifo, 0o600.into(), 0).unwrap();
        for name in ["link", "pipe", "missing"] {
            open(&path(name)).unwrap_err();
        }
        fs::hard_link(path("file"), path("second name")).unwrap();
        open(&path("file")).unwrap_err();
    }
}
