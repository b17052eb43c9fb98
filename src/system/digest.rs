//! Digests of SHA-256.

use sha2::{Digest, Sha256};

/// The digest in hexadecimal digits.
pub fn hexadecimal(digest: Sha256) -> String {
    let bytes = digest.finalize();
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
