//! The certificate that clients are shown: by an authority of this machine's own, or of the
//! administrator's.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::OFlags;

use super::settings::Settings;
use super::{names, proxy, write};
use crate::certificates::{Authority, Certificate, Key, Leaf, Name, Purpose};
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

/// The certificate and those above it, and the key: what HAProxy reads.
const SERVER: &str = "server.pem";

/// Where it lies while HAProxy looks at it for the first time.
const DRAFT: &str = "server.pem.new";

/// The certificate of this machine's own authority, and its key.
const AUTHORITY: &str = "ca.pem";
const AUTHORITY_KEY: &str = "ca.key";

/// As long as browsers accept.
const DAYS: u32 = 398;

/// Ten years: whoever trusts the authority has to be told of a new one.
const AUTHORITY_DAYS: u32 = 3652;

/// When a new certificate is made, before the end of the old one.
pub const RENEWED_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 60);

/// Bytes of a file with certificates; a chain has some thousand.
const LONGEST_FILE: u64 = 1 << 20;

/// What is in force.
#[derive(Debug)]
pub struct InForce {
    /// What clients are shown.
    pub certificate: Certificate,
    /// The one of this machine's own authority, if that has signed it.
    pub authority: Option<Certificate>,
}

/// What is in force; none before anything is made.
pub fn in_force(host: &Host) -> Result<Option<InForce>> {
    let Some(text) = file::read_text(&host.https().join(SERVER))? else {
        return Ok(None);
    };
    let certificate =
        Certificate::from_pem(&text).map_err(|error| unusable(host, SERVER, &error))?;
    let authority = authority_certificate(host)?;
    let authority = authority.filter(|authority| certificate.is_signed_by(authority));
    Ok(Some(InForce {
        certificate,
        authority,
    }))
}

/// The certificate of this machine's own authority, for whoever is to trust it.
pub fn authority_certificate(host: &Host) -> Result<Option<Certificate>> {
    let text = file::read_text(&host.https().join(AUTHORITY))?;
    let certificate = text.map(|text| Certificate::from_pem(&text));
    certificate
        .transpose()
        .map_err(|error| unusable(host, AUTHORITY, &error))
}

/// What this machine is called, by its settings and by its own knowledge.
pub fn wanted_names(settings: &Settings) -> Vec<Name> {
    let mut wanted = Vec::new();
    for name in settings.names.iter().cloned().chain(names::of_machine()) {
        if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    wanted
}

/// The name by which this machine is shown to people: one that the certificate is for.
pub fn shown_name(host: &Host, settings: &Settings) -> Result<Name> {
    let wanted = wanted_names(settings);
    let in_force = in_force(host)?;
    let is_fit =
        |name: &&Name| (in_force.as_ref()).is_none_or(|found| found.certificate.is_for(name));
    let name = wanted.iter().find(is_fit).or(wanted.first());
    name.cloned().ok_or_else(nameless)
}

/// Makes the authority and the certificate, if they are missing or it is time. Returns whether HAProxy
/// has something new to read. A certificate of the administrator's stays.
pub fn renew(host: &Host, settings: &Settings, progress: &Progress) -> Result<bool> {
    let _turn = Turn::acquire(host, progress)?;
    let now = Timestamp::now();
    let in_force = in_force(host)?;
    if in_force
        .as_ref()
        .is_some_and(|found| found.authority.is_none())
    {
        return Ok(false);
    }
    let wanted = wanted_names(settings);
    if wanted.is_empty() {
        return Err(nameless());
    }
    let (authority, is_new) = match usable_authority(host, settings, &wanted, now)? {
        Some(authority) => (authority, false),
        None => (new_authority(&wanted)?, true),
    };
    let permitted: Vec<Name> = wanted
        .into_iter()
        .filter(|name| authority.certificate().permits(name))
        .collect();
    let is_due = is_new
        || in_force.is_none_or(|InForce { certificate, .. }| {
            certificate.names != permitted || certificate.end < now + RENEWED_BEFORE
        });
    if !is_due {
        return Ok(false);
    }
    let made = authority.issue(&Leaf {
        common_name: &common_name(&permitted),
        names: &permitted,
        purposes: &[Purpose::Server],
        days: DAYS,
    })?;
    if is_new {
        replace_authority(host, &authority)?;
        progress.say("there is a new authority; what clients have to import: covalentctl https ca");
    }
    let text = made.certificate.pem() + &made.key.pem();
    write(host, SERVER, &text)?;
    progress.say(&format!(
        "there is a new certificate for {}, valid until {}",
        list(&permitted),
        day(made.certificate.end)
    ));
    Ok(true)
}

/// Puts a certificate of the administrator's in force.
pub fn install(host: &Host, chain: &Path, key: &Path, progress: &Progress) -> Result<()> {
    let settings = Settings::read(host)?;
    let certificates = read_given(chain)
        .and_then(|text| Certificate::all_from_pem(&text))
        .map_err(|error| refused(chain, &error))?;
    let key_read = read_given(key)
        .and_then(|text| Key::from_pem(&text))
        .map_err(|error| refused(key, &error))?;
    let leaf = &certificates[0];
    objection(leaf, &key_read, &wanted_names(&settings), Timestamp::now())
        .map_or(Ok(()), |error| Err(refused(chain, &error)))?;
    let _turn = Turn::acquire(host, progress)?;
    let text: String = certificates.iter().map(Certificate::pem).collect();
    write(host, DRAFT, &(text + &key_read.pem()))?;
    let draft = host.https().join(DRAFT);
    if let Err(error) = proxy::check(host, &settings, &draft) {
        file::remove(&draft)?;
        return Err(refused(chain, &error));
    }
    let place = host.https().join(SERVER);
    fs::rename(&draft, &place)
        .with_context(|| format!("moving {} to {}", draft.display(), place.display()))?;
    proxy::reload(host)?;
    progress.say(&format!(
        "the certificate for {} is in force until {}; when it is renewed, type this again",
        list(&leaf.names),
        day(leaf.end)
    ));
    Ok(())
}

/// Why this certificate can't be the server's, if it can't.
fn objection(
    leaf: &Certificate,
    key: &Key,
    wanted: &[Name],
    now: Timestamp,
) -> Option<anyhow::Error> {
    if !leaf.belongs_to(key) {
        Some(anyhow!(
            "the first certificate in it is not that of the key; the server's own has to come \
             first, and those above it after it"
        ))
    } else if now < leaf.begin || leaf.end < now {
        Some(anyhow!(
            "it is valid from {} to {}, and it is {now:.0} by this machine's clock",
            leaf.begin,
            leaf.end
        ))
    } else if !leaf.purposes.is_empty() && !leaf.purposes.contains(&Purpose::Server) {
        Some(anyhow!("it is not a server's (its extended key usage)"))
    } else if !wanted.iter().any(|name| leaf.is_for(name)) {
        Some(anyhow!(
            "it is for {}, and this machine is known as {}; if clients call it by a name of the \
             certificate: COVALENT_HTTPS_NAMES=NAME in /etc/covalent/https.env",
            list(&leaf.names),
            list(wanted)
        ))
    } else {
        None
    }
}

/// The authority, if it may sign for all that it is asked for and lives longer than what it signs.
fn usable_authority(
    host: &Host,
    settings: &Settings,
    wanted: &[Name],
    now: Timestamp,
) -> Result<Option<Authority>> {
    let Some(certificate) = authority_certificate(host)? else {
        return Ok(None);
    };
    let Some(key) = file::read_text(&host.https().join(AUTHORITY_KEY))? else {
        return Ok(None);
    };
    let lifetime = SignedDuration::from_hours(24 * i64::from(DAYS));
    let permits = |name: &Name| certificate.permits(name);
    // An address may come and go: it is no reason for clients to import another authority.
    if !settings.names.iter().all(permits)
        || !wanted.iter().any(permits)
        || certificate.end < now + lifetime
    {
        return Ok(None);
    }
    let key = Key::from_pem(&key).map_err(|error| unusable(host, AUTHORITY_KEY, &error))?;
    Authority::new(certificate, key)
        .map(Some)
        .map_err(|error| unusable(host, AUTHORITY, &error))
}

/// An authority that can sign for these names and for no other: whoever trusts it trusts this machine
/// with its own names alone.
fn new_authority(names: &[Name]) -> Result<Authority> {
    // Two of one name would be taken for each other.
    let name = format!("Covalent {} {}", common_name(names), day(Timestamp::now()));
    let name: String = name.chars().take(64).collect();
    Authority::create(&name, AUTHORITY_DAYS, Some(names))
}

/// Puts an authority in the place of the one that was there. The certificate goes first: one that is not by
/// the authority beside it is taken for the administrator's, also after a power cut, and never renewed.
fn replace_authority(host: &Host, authority: &Authority) -> Result<()> {
    let folder = host.https();
    file::make_folder(&folder, 0o755)?;
    file::remove(&folder.join(SERVER))?;
    let (key, certificate) = (authority.key().pem(), authority.certificate().pem());
    file::write(&folder.join(AUTHORITY_KEY), key.as_bytes(), 0o600)?;
    file::write(&folder.join(AUTHORITY), certificate.as_bytes(), 0o644)
}

/// The first name that fits into the field.
fn common_name(names: &[Name]) -> String {
    let mut names = names.iter().map(ToString::to_string);
    names
        .find(|name| name.len() <= 40)
        .unwrap_or_else(|| "server".into())
}

/// A list for a sentence.
pub fn list(names: &[Name]) -> String {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "no name".into()
    } else {
        names.join(", ")
    }
}

/// A day for a sentence.
pub fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// A file of the administrator's. A pipe in its place would be waited for.
fn read_given(path: &Path) -> Result<String> {
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    ensure!(file.metadata()?.is_file(), "it is not a file");
    let mut text = String::new();
    let read = file.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    ensure!(
        read as u64 <= LONGEST_FILE,
        "it has more than {LONGEST_FILE} bytes"
    );
    Ok(text)
}

fn refused(path: &Path, error: &anyhow::Error) -> anyhow::Error {
    Failure::error(
        Kind::Settings,
        format!("{} is not used: {error:#}", path.display()),
        "correct it, then type this again; until then the certificate stays as it was",
    )
}

fn unusable(host: &Host, name: &str, error: &anyhow::Error) -> anyhow::Error {
    let folder = host.https();
    Failure::error(
        Kind::Settings,
        format!("{}: {error:#}", folder.join(name).display()),
        format!(
            "put one of yours in force: sudo covalentctl https certificate CHAIN KEY; or let the \
             machine make all anew: sudo rm {0}/ca.pem {0}/ca.key {0}/server.pem; sudo systemctl \
             restart covalent-https",
            folder.display()
        ),
    )
}

fn nameless() -> anyhow::Error {
    Failure::error(
        Kind::Settings,
        "this machine has no name and no address that a certificate could be for",
        "give it a name (hostnamectl), or set COVALENT_HTTPS_NAMES in /etc/covalent/https.env; then: \
         sudo systemctl restart covalent-https",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ends_after_the_new_authority_leaves_no_certificate_that_is_taken_for_ones_own() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        let (settings, progress) = (Settings::read(&host).unwrap(), Progress::plain());
        assert!(renew(&host, &settings, &progress).unwrap());
        assert!(!renew(&host, &settings, &progress).unwrap());

        let another = new_authority(&wanted_names(&settings)).unwrap();
        replace_authority(&host, &another).unwrap();
        assert!(in_force(&host).unwrap().is_none());
        assert!(renew(&host, &settings, &progress).unwrap());
        let found = in_force(&host).unwrap().unwrap();
        let authority = found.authority.map(|authority| authority.fingerprint());
        assert_eq!(authority, Some(another.certificate().fingerprint()));
    }
}
