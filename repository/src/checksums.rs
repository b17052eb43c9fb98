//! `SHA256SUMS`: the whole of what the publisher has put into a tree, under one signature.
//!
//! `sha256sum --check` reads it. Comments say for which address the tree was published and when, and
//! since when files have been there, or have been superseded; nothing is taken from the times of the
//! files themselves, which are not signed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

/// Its name, at the top of the tree.
pub const SUMS: &str = "SHA256SUMS";

/// The name of the signature over it, by every key that signs.
pub const SIGNATURE: &str = "SHA256SUMS.asc";

/// What a tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// Where machines reach the tree.
    pub address: String,
    /// When the tree became as it is.
    pub published: Timestamp,
    /// Every other file, by its path from the top of the tree.
    pub files: BTreeMap<PathBuf, Listed>,
}

/// A file of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Whether it is part of the latest publication.
    pub state: State,
}

/// Whether a file is part of the latest publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is, and has been since then.
    Published(Timestamp),
    /// It has not been since then, and is there for clients that began to read before.
    Superseded(Timestamp),
}

impl Checksums {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Checksums> {
        let mut lines = text.lines();
        let head = lines.next().and_then(|line| line.strip_prefix("# "));
        let head = head.and_then(|line| line.split_once(' '));
        let (address, published) = head.context("the first line has no address and date")?;
        let mut checksums = Checksums {
            address: address.to_string(),
            published: published.parse()?,
            files: BTreeMap::new(),
        };
        let mut state = None;
        for line in lines {
            let parts = line.split_once(' ').zip(line.rsplit_once(' '));
            let Some(((digest, _), (comment, last))) = parts else {
                bail!("a line with one word: {line}");
            };
            match comment {
                "# published" => state = Some(State::Published(last.parse()?)),
                "# superseded" => state = Some(State::Superseded(last.parse()?)),
                _ => {
                    let listed = Listed {
                        sha256: digest.to_string(),
                        state: state.context("a file before the first date")?,
                    };
                    checksums.files.insert(last.into(), listed);
                }
            }
        }
        Ok(checksums)
    }

    /// The file's text.
    pub fn text(&self) -> Result<String> {
        let mut groups: BTreeMap<State, String> = BTreeMap::new();
        for (path, listed) in &self.files {
            let path = path.to_str().filter(|path| path.chars().all(is_plain));
            let path = path.context("a path that no publication has")?;
            let group = groups.entry(listed.state).or_default();
            writeln!(group, "{}  {path}", listed.sha256)?;
        }
        let mut text = format!("# {} {}\n", self.address, self.published);
        for (state, lines) in groups {
            match state {
                State::Published(time) => writeln!(text, "# published {time}")?,
                State::Superseded(time) => writeln!(text, "# superseded {time}")?,
            }
            text += &lines;
        }
        Ok(text)
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() && c != '\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# https://packages.example.org/covalent 2026-11-26T10:00:00.5Z
# published 2026-11-20T00:00:00Z
aa  apt/pool/main/t/tiny/tiny_1-1_all.deb
# published 2026-11-26T10:00:00.5Z
bb  index.html
cc  rpm/stable/mirrorlist
# superseded 2026-11-26T10:00:00.5Z
dd  rpm/stable/0123456789abcdef/repodata/repomd.xml
";

    #[test]
    fn it_is_read_as_it_was_written() {
        let checksums = Checksums::parse(TEXT).unwrap();
        assert_eq!(checksums.address, "https://packages.example.org/covalent");
        assert_eq!(checksums.files.len(), 4);
        let superseded =
            &checksums.files[&PathBuf::from("rpm/stable/0123456789abcdef/repodata/repomd.xml")];
        assert_eq!(superseded.sha256, "dd");
        assert_eq!(superseded.state, State::Superseded(checksums.published));
        assert_eq!(checksums.text().unwrap(), TEXT);
    }

    #[test]
    fn nothing_stands_before_its_date_and_no_path_is_odd() {
        let head = TEXT.lines().next().unwrap();
        for text in ["", "aa  index.html\n", head.trim_end_matches('Z')] {
            Checksums::parse(text).unwrap_err();
        }
        Checksums::parse(&format!("{head}\naa  index.html\n")).unwrap_err();
        let mut checksums = Checksums::parse(TEXT).unwrap();
        let listed = checksums.files.values().next().unwrap().clone();
        checksums.files.insert("a\nb".into(), listed);
        checksums.text().unwrap_err();
    }
}
