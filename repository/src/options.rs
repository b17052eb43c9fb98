//! How to publish.

use std::convert::Infallible;

use anyhow::{Result, ensure};

use crate::index::Suite;

/// How to publish, and which tree to go on from.
#[derive(Debug)]
pub struct Options {
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

/// The address that `text` is, without a slash at its end. Plain HTTP has to be asked for.
pub fn address(text: &str, insecure_http: bool) -> Result<String> {
    let address = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    ensure!(
        (address.starts_with("https://") || is_insecure(address)) && address.chars().all(plain),
        "{text:?} is not the address of a web server, such as https://packages.example.org/covalent"
    );
    ensure!(
        insecure_http || !is_insecure(address),
        "{address} has no TLS: anyone on the way can replace install.sh, which root runs, and the \
         keys that all else is checked with. Serve it at an https:// address, or, on a network \
         where you trust everyone, add --insecure-http"
    );
    Ok(address.to_string())
}

/// Whether anyone between a machine and this address can change what is fetched.
pub fn is_insecure(address: &str) -> bool {
    address.starts_with("http://")
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
    fn an_address_has_tls_unless_it_is_asked_for_without() {
        let https = "https://packages.example.org/covalent";
        assert_eq!(address(&format!("{https}//"), false).unwrap(), https);
        assert_eq!(address(https, true).unwrap(), https);
        for text in ["http://localhost", "http://[::1]:8000/a"] {
            let error = address(text, false).unwrap_err().to_string();
            assert!(error.contains("--insecure-http"), "{error}");
            assert_eq!(address(text, true).unwrap(), text);
        }
        for text in [
            "ftp://x",
            "https://x/$(id)",
            "https://x/a b",
            "file:///x",
            "x",
        ] {
            address(text, true).unwrap_err();
        }
    }

    #[test]
    fn a_fingerprint_may_be_grouped() {
        assert_eq!(fingerprint(" 0123 4567\u{a0}89ab").unwrap(), "0123456789AB");
    }
}
