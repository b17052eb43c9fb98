//! The whole of a publication.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::index::Suite;
use crate::keyring::Keyring;
use crate::keys::Keys;
use crate::package::{Family, Package};
use crate::publication::Publication;
use crate::settings::Settings;
use crate::{apt, dnf, front};

/// Adds `packages` to the repository in `tree`, which is made if it is not there.
pub fn publish(tree: &Path, packages: &[PathBuf], keys: &Keys, settings: &Settings) -> Result<()> {
    let signing = keys.signing()?;
    let packages: Vec<Package> = packages
        .iter()
        .map(|path| Package::read(path))
        .collect::<Result<_>>()?;
    let mut publication = Publication::begin(tree)?;
    let address = address(&publication, settings)?;

    let work = tempfile::tempdir()?;
    let keyring = Keyring::new(keys, &signing, work.path())?;
    let successors = keyring.packages(publication.tree(), &signing, work.path())?;
    let mut additions: Vec<(Package, Vec<Suite>)> = Vec::new();
    additions.extend(
        packages
            .into_iter()
            .map(|package| (package, vec![settings.suite])),
    );
    additions.extend(
        successors
            .into_iter()
            .map(|package| (package, Suite::ALL.to_vec())),
    );
    let (debs, rpms): (Vec<_>, Vec<_>) = additions
        .into_iter()
        .partition(|(package, _)| package.family == Family::Deb);

    let before = named(publication.tree())?;
    apt::prepare(&mut publication, &debs, (keys, &signing), settings)?;
    dnf::prepare(
        &mut publication,
        &rpms,
        (keys, &signing),
        settings,
        &address,
    )?;
    let mut changed = publication.place()?;
    keyring.prepare(&mut publication)?;
    changed |= publication.place()?;
    // It describes what is in its place.
    front::prepare(&mut publication, &address, &signing)?;
    if !(publication.place()? || changed) {
        println!("nothing changed in {}", tree.display());
        return Ok(());
    }
    let now = named(publication.tree())?;
    for folder in ["apt", "rpm"] {
        publication.forget(folder, &before, &now)?;
    }
    println!("published in {}", tree.display());
    Ok(())
}

fn named(tree: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut named = apt::named(tree)?;
    named.extend(dnf::named(tree)?);
    Ok(named)
}

/// The address without a slash at its end.
fn address(publication: &Publication, settings: &Settings) -> Result<String> {
    let address = match &settings.address {
        Some(address) => address.clone(),
        None => front::address(publication.tree()).with_context(|| {
            let tree = publication.tree().display();
            format!("{tree} is new; say where machines will reach it: --address https://...")
        })?,
    };
    let address = address.trim_end_matches('/').to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    ensure!(
        (address.starts_with("https://") || address.starts_with("http://"))
            && address.chars().all(plain),
        "{address:?} is no address of a web server, such as https://packages.example.org/covalent"
    );
    Ok(address)
}
