//! Private keys.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use rcgen::{KeyPair, PublicKeyData, SigningKey};

/// How openssl(1) writes a key that has a password.
const ENCRYPTED: &str = "BEGIN ENCRYPTED PRIVATE KEY";

/// How it wrote keys before PKCS #8.
const EARLIER: [&str; 2] = ["BEGIN EC PRIVATE KEY", "BEGIN RSA PRIVATE KEY"];

/// A private key. Never shown.
pub struct Key(KeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Key {
    /// A new one, on the curve P-256: every TLS library has it.
    pub fn generate() -> Result<Key> {
        Ok(Key(KeyPair::generate()?))
    }

    /// A key in PEM (PKCS #8), as openssl(1) writes it.
    pub fn from_pem(text: &str) -> Result<Key> {
        if text.contains(ENCRYPTED) {
            bail!("the key has a password; without one: openssl pkcs8 -in KEY -out NEW");
        }
        if EARLIER.iter().any(|form| text.contains(form)) {
            bail!(
                "the key is not in the form PKCS #8; to convert it: openssl pkcs8 -topk8 -nocrypt \
                 -in KEY -out NEW"
            );
        }
        // What the parser says may quote the text.
        KeyPair::from_pem(text)
            .map(Key)
            .map_err(|_| anyhow!("it is not a private key in PEM (PKCS #8)"))
    }

    /// A key in DER (PKCS #8).
    pub fn from_der(der: &[u8]) -> Result<Key> {
        KeyPair::try_from(der)
            .map(Key)
            .map_err(|_| anyhow!("it is not a private key in DER (PKCS #8)"))
    }

    /// The key in PEM.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The key in DER.
    pub fn der(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// Its signature of a text.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.sign(text)?)
    }

    /// Its public half as certificates hold it (RFC 5280, `SubjectPublicKeyInfo`).
    pub(super) fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// For the library that signs.
    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_written_and_is_not_shown() {
        let key = Key::generate().unwrap();
        let pem = key.pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(Key::from_pem(&pem).unwrap().der(), key.der());
        assert_eq!(Key::from_der(key.der()).unwrap().public(), key.public());
        assert_eq!(format!("{key:?}"), "Key { .. }");
    }

    #[test]
    fn a_key_in_another_form_is_refused_with_what_converts_it() {
        let refused = |text: &str| Key::from_pem(text).unwrap_err().to_string();
        assert!(refused("-----BEGIN EC PRIVATE KEY-----\n").contains("-topk8 -nocrypt"));
        assert!(refused("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").contains("password"));
        let broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        for text in ["", "secret", broken] {
            let said = refused(text);
            assert!(said.contains("not a private key"), "{said}");
            assert!(!said.contains("secret") && !said.contains("c2Vj"), "{said}");
        }
        Key::from_der(b"secret").unwrap_err();
    }
}
