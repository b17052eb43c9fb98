//! Digests of SHA-256.

use sha2::{Digest as _, Sha256};

/// A digest of parts, each with its length, so that two parts can't be read as one.
#[derive(Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Adds a part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The digest in hexadecimal digits.
    pub fn hexadecimal(self) -> String {
        digits(&self.0.finalize())
    }
}

/// The plain SHA-256 of `bytes` in hexadecimal digits, as sha256sum(1) prints it.
pub fn of(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

fn digits(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
