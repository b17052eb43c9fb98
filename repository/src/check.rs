//! Whether a machine that comes to the repository today, or in two months, is served.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use crate::index::Suite;
use crate::key::{listed, spaced};
use crate::keyring::BINARY;
use crate::keys::Keys;
use crate::latest::Latest;
use crate::options::Options;
use crate::signature::{verify, verify_inline};
use crate::tool::{output, tool};
use crate::{dnf, placement, tree};

/// A key that expires sooner has to be followed by another: machines learn of it when they update.
const KEY_NOTICE: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Indexes that expire sooner have to be signed anew.
const INDEX_NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Says what is wrong with the repository in `tree`, and what will be soon. It is an error if the tree is
/// not as it was published.
pub fn check(tree: &Path, keys: &Keys, options: &Options) -> Result<ExitCode> {
    let _lock = File::open(tree)
        .and_then(|folder| folder.lock_shared().map(|()| folder))
        .with_context(|| format!("there is no repository in {}", tree.display()))?;
    placement::ensure_finished(tree)?;
    let work = tempfile::tempdir()?;
    let checksums = tree::verify(tree, &keys.pinned(work.path())?)?
        .with_context(|| format!("there is no repository in {}", tree.display()))?;
    Latest::new(keys).accept(tree, Some(&checksums), options)?;
    // From here on as a client, whose keys are those that were published.
    let keyring = tree.join(BINARY);
    let mut warnings = expiry(&keyring)?;
    for suite in Suite::ALL {
        let release = tree.join("apt/dists").join(suite.name()).join("Release");
        verify(&keyring, &release.with_extension("gpg"), &release)?;
        verify_inline(&keyring, &release.with_file_name("InRelease"))?;
        warnings.extend(validity(&release)?);
        for repodata in metadata(tree, suite)? {
            let head = repodata.join("repomd.xml");
            verify(&keyring, &head.with_extension("xml.asc"), &head)?;
        }
    }
    for warning in &warnings {
        eprintln!("publish: {warning}");
    }
    if !warnings.is_empty() {
        return Ok(ExitCode::from(2));
    }
    println!(
        "{}: every file is as it was published, signatures are good, and nothing expires soon",
        tree.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// What is to be said about the keys.
fn expiry(keyring: &Path) -> Result<Vec<String>> {
    let home = tempfile::tempdir()?;
    let show = tool("gpg", home.path()).args(["--batch", "--with-colons", "--show-keys"]);
    let listing = output(show.args([keyring]), || {
        format!("reading {}", keyring.display())
    })?;
    let keys = listed(&listing);
    let last = keys.iter().map(|key| key.expires.unwrap_or(i64::MAX)).max();
    let Some(last) = last else {
        return Ok(vec![format!(
            "{} holds no key that is valid; make one, publish, and tell every machine's administrator",
            keyring.display()
        )]);
    };
    let mut warnings = Vec::new();
    let limit = (Timestamp::now() + KEY_NOTICE).as_second();
    for key in keys
        .iter()
        .filter(|key| key.expires.is_some_and(|end| end < limit))
    {
        let date = Timestamp::from_second(key.expires.unwrap_or(0))?.strftime("%Y-%m-%d");
        let next = if last < limit {
            "make its successor now and publish: scripts/publish --new-key".to_string()
        } else {
            format!(
                "its successor is published; delete it: scripts/publish --retire-key {}",
                key.fingerprint
            )
        };
        warnings.push(format!(
            "the key {} expires on {date}; {next}",
            spaced(&key.fingerprint)
        ));
    }
    Ok(warnings)
}

/// What is to be said about when apt stops to trust an index.
fn validity(release: &Path) -> Result<Option<String>> {
    let text =
        fs::read_to_string(release).with_context(|| format!("reading {}", release.display()))?;
    let end = text
        .lines()
        .find_map(|line| line.strip_prefix("Valid-Until: "));
    let end = end.with_context(|| format!("{} has no Valid-Until", release.display()))?;
    let end = rfc2822::parse(end)
        .with_context(|| format!("the Valid-Until of {}", release.display()))?
        .timestamp();
    let warning = format!(
        "apt trusts {} until {} only; sign it anew: scripts/publish --resign",
        release.display(),
        end.strftime("%Y-%m-%d %H:%M UTC")
    );
    Ok((end < Timestamp::now() + INDEX_NOTICE).then_some(warning))
}

/// The folders that `mirrorlist` names, and that for mirrors.
fn metadata(tree: &Path, suite: Suite) -> Result<[PathBuf; 2]> {
    let folder = tree.join("rpm").join(suite.name());
    let list = folder.join("mirrorlist");
    let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let own = dnf::own(&text).with_context(|| format!("reading {}", list.display()))?;
    Ok([folder.join(own).join("repodata"), folder.join("repodata")])
}
