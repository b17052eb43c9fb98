//! Whether a signature is good.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::tool::{output, tool};

/// Fails unless `signature` holds one over `file` by a key in `keyring`, which are the publisher's own.
///
/// With gpgv, since it knows a key whose expiry was changed after it had signed: GnuPG keeps only the
/// latest signature of a key over itself, and sqv asks for the one of that time. Other keys' signatures
/// may stand beside it: one that has retired since.
pub fn verify_own(keyring: &Path, signature: &Path, file: &Path) -> Result<()> {
    let gpgv = tool("gpgv", Path::new("/"))
        .args(["--status-fd", "1", "--weak-digest", "SHA1"])
        .args([Path::new("--keyring"), keyring, signature, file])
        .output()?;
    let mut lines = gpgv.stdout.lines();
    ensure!(
        lines.any(|line| line.starts_with("[GNUPG:] VALIDSIG ")),
        "{} is not a signature over {} by a key of the publisher's:\n{}",
        signature.display(),
        file.display(),
        gpgv.stderr.trim_end()
    );
    Ok(())
}

/// Fails unless `signature` is one over `file`, by a key in `keyring`, as clients see it.
///
/// With Sequoia's sqv, which knows which algorithms are safe today; apt uses it from Debian 13 on.
pub fn verify(keyring: &Path, signature: &Path, file: &Path) -> Result<()> {
    let sqv = tool("sqv", Path::new("/")).args([Path::new("--keyring"), keyring, signature, file]);
    output(sqv, || {
        format!("{} does not fit {}", signature.display(), file.display())
    })?;
    Ok(())
}

/// Fails unless `signed` is a text with a signature in it, by a key in `keyring`.
pub fn verify_inline(keyring: &Path, signed: &Path) -> Result<()> {
    let gpgv = tool("gpgv", Path::new("/")).args([Path::new("--keyring"), keyring, signed]);
    output(gpgv, || format!("{} is not signed", signed.display()))?;
    Ok(())
}
