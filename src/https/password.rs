//! Passwords, which the machine makes and nobody types as an argument.

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::rand::{GetRandomFlags, getrandom};
use sha_crypt::{PasswordHasher, ShaCrypt};

/// Characters of a password: of five bits each, a hundred bits, which nobody guesses.
const LENGTH: usize = 20;

/// Those that nobody takes for one another. As many as a power of two: each is as likely.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Bytes of a salt: as many as SHA-512's form in crypt(5) takes.
const SALT_LENGTH: usize = 12;

/// Bytes of the key of a cookie.
const KEY_LENGTH: usize = 32;

/// A password, to be shown once.
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").finish_non_exhaustive()
    }
}

impl Password {
    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A new password and its hash, as crypt(5) has it.
pub fn make() -> Result<(Password, String)> {
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    let password: String = random(LENGTH)?.iter().map(letter).collect();
    let salt = random(SALT_LENGTH)?;
    let hash = ShaCrypt::SHA512
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("computing the hash of a password: {error}"))?;
    Ok((Password(password), hash.to_string()))
}

/// A new key in hexadecimal digits, which are base64 as well, as HAProxy wants it.
pub fn key() -> Result<String> {
    let bytes = random(KEY_LENGTH)?;
    let digits = |text: String, byte: &u8| text + &format!("{byte:02x}");
    Ok(bytes.iter().fold(String::new(), digits))
}

/// Bytes of the kernel's own (random(7)).
fn random(length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let action = "asking the kernel for random bytes";
    // Up to 256 bytes come all at once (getrandom(2)).
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).context(action)?;
    ensure!(got == length, "{action}: {got} of {length} came");
    Ok(bytes)
}
