//! The whole of a publication.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::index::Suite;
use crate::keyring::Keyring;
use crate::keys::Keys;
use crate::latest::Latest;
use crate::options::Options;
use crate::package::{Family, Package};
use crate::publication::Publication;
use crate::{apt, dnf, front};

/// Adds `packages` to the repository in `tree`, which is made if it is not there.
pub fn publish(tree: &Path, packages: &[PathBuf], keys: &Keys, options: &Options) -> Result<()> {
    let signing = keys.signing()?;
    let work = tempfile::tempdir()?;
    let mut publication = Publication::begin(tree, keys.pinned(work.path())?)?;
    let latest = Latest::new(keys);
    let address = latest.accept(publication.tree(), publication.before(), options)?;
    ensure!(
        publication.before().is_some() || !options.resign,
        "there is no repository in {} to sign anew",
        tree.display()
    );

    let packages: Vec<Package> = packages
        .iter()
        .map(|path| Package::read(path))
        .collect::<Result<_>>()?;
    let (debs, rpms) = (
        apt::read(publication.tree())?,
        dnf::read(publication.tree())?,
    );
    let keyring = Keyring::new(keys, &signing, work.path())?;
    let entries = debs.values().chain(rpms.values()).flatten();
    let successors = keyring.packages(publication.tree(), entries, &signing, work.path())?;
    let additions = packages
        .into_iter()
        .map(|package| (package, vec![options.suite]));
    let successors = successors
        .into_iter()
        .map(|package| (package, Suite::ALL.to_vec()));
    let (new_debs, new_rpms): (Vec<_>, Vec<_>) = additions
        .chain(successors)
        .partition(|(package, _)| package.family == Family::Deb);

    let by = (keys, signing.as_slice());
    let debs = apt::prepare(&mut publication, debs, &new_debs, by, options)?;
    let rpms = dnf::prepare(&mut publication, rpms, &new_rpms, by, options, &address)?;
    keyring.prepare(&mut publication)?;
    front::prepare(&mut publication, &address, &signing, (&debs, &rpms))?;

    let mut named: BTreeSet<PathBuf> = front::FILES.iter().map(PathBuf::from).collect();
    named.extend(apt::named(&publication, &debs)?);
    named.extend(dnf::named(&publication, &rpms)?);
    let before = publication.before().map(|before| before.published);
    let now = publication.now();
    if publication.place(&address, &named, by)? {
        latest.remember(&address, now)?;
        println!("published in {}", tree.display());
    } else {
        // It may have been published elsewhere.
        latest.remember(&address, before.unwrap_or(now))?;
        println!("nothing changed in {}", tree.display());
    }
    Ok(())
}
