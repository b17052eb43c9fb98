//! Certificates (X.509): an authority of this machine's own, what it signs, and what they say.
//!
//! rcgen makes them and x509-parser reads them. Whoever connects has its TLS library check them
//! once more: what is checked here is what a person is to be told.

mod authority;
mod certificate;
mod key;

pub use self::authority::{Authority, Identity, Leaf};
pub use self::certificate::{Certificate, Name, Purpose};
pub use self::key::Key;
