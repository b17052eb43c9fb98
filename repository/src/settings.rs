//! How to publish.

use std::convert::Infallible;

use anyhow::{Result, ensure};

use crate::index::Suite;

/// How to publish, and which tree to go on from.
#[derive(Debug)]
pub struct Settings {
    /// The suite that packages go into.
    pub suite: Suite,
    /// Where machines reach the tree, without a slash at its end; as published before if not given.
    pub address: Option<String>,
    /// How many versions of a package to keep.
    pub keep: usize,
    /// How many days apt trusts the indexes.
    pub valid_days: u16,
    /// Whether to sign although nothing else changes.
    pub resign: bool,
    /// Whether to go on from a signed tree that is not the latest of this address.
    pub adopt: bool,
}

/// The address that `text` is, without a slash at its end.
pub fn address(text: &str) -> Result<String> {
    let address = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    ensure!(
        (address.starts_with("https://") || address.starts_with("http://"))
            && address.chars().all(plain),
        "{text:?} is not the address of a web server, such as https://packages.example.org/covalent"
    );
    Ok(address.to_string())
}

/// A fingerprint as GnuPG lists it, from one that a person may have copied in groups.
pub fn fingerprint(text: &str) -> Result<String, Infallible> {
    let digits = text.chars().filter(|c| !c.is_whitespace());
    Ok(digits.map(|c| c.to_ascii_uppercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_may_be_grouped() {
        assert_eq!(fingerprint(" 0123 4567\u{a0}89ab").unwrap(), "0123456789AB");
    }
}
