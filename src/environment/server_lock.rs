//! The packages that the workers of a fleet have from its server: those of the server's environment
//! that the shipped lock does not have.
//!
//! They come by way of both machines' accounts, which tasks share. So the server's root signs them
//! with the key of the fleet's authority, and the worker's root believes nothing else. The text
//! begins with a comment, as no certificate does: what is signed for one can't stand for the other.
//! Its next line says when it was made, so that nobody brings an older one back: one with a package
//! that was replaced for its faults, say.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::generation::Generation;
use super::requirement::{self, Pin, pins};
use super::requirement_file::{Files, RequirementFile};
use crate::certificates::{Authority, Certificate};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::unprivileged;

/// How the text begins.
const HEAD: &str = "# Packages of the server's environment, for its workers (covalentctl).\n";

/// How its second line begins; a time in RFC 3339 follows.
const MADE: &str = "# made: ";

/// How its last line begins; the signature of all before it follows in base64.
const SIGNATURE: &str = "# signature: ";

/// Bytes of it that are read; the shipped lock, with hashes for every platform, has a twentieth.
const SIZE_LIMIT: u64 = 4 << 20;

/// How a hash begins; 64 hexadecimal digits follow.
const HASH: &str = "--hash=sha256:";

/// What the workers of this server need, signed by the authority: `before`, if it still is that. No
/// two signatures are alike, and workers take another text for news.
pub fn compose(
    host: &Host,
    authority: &Authority,
    before: Option<&str>,
    progress: &Progress,
) -> Result<String> {
    let packages = packages(host, progress)?;
    let is_it = |before: &&str| {
        signed_part(before, authority.certificate()).is_ok_and(|signed| signed.packages == packages)
    };
    if let Some(before) = before.filter(is_it) {
        return Ok(before.into());
    }
    let text = format!("{HEAD}{MADE}{}\n{packages}", Timestamp::now());
    let signature = STANDARD.encode(authority.key().sign(text.as_bytes())?);
    Ok(format!("{text}{SIGNATURE}{signature}\n"))
}

fn packages(host: &Host, progress: &Progress) -> Result<String> {
    let mut text = String::new();
    if let Some(active) = Generation::active(host) {
        let files = Files::find(host)?;
        let mut known = pins(
            &RequirementFile::read(&active.own_lock())
                .map_or_else(|_| String::new(), |file| file.text),
        );
        let (shipped, plugins) = files.locks.split_first().context("there is no lock")?;
        for lock in plugins {
            known.extend(pins(&RequirementFile::read(lock)?.text));
        }
        let shipped = pins(&RequirementFile::read(shipped)?.text);
        let mut missing = Vec::new();
        for (name, version) in &active.manifest.packages {
            let is_it = |pin: &&Pin| pin.name == *name && pin.version == *version;
            if shipped.iter().any(|pin| pin.name == *name) {
                continue;
            }
            match known
                .iter()
                .find(|pin| is_it(pin) && !pin.hashes.is_empty())
            {
                Some(pin) => text += &pin.text(),
                None => missing.push(name.as_str()),
            }
        }
        if !missing.is_empty() {
            progress.warn(&format!(
                "{} came from an address or was installed by hand, so the workers of other machines \
                 do not get it",
                missing.join(", ")
            ));
        }
    }
    Ok(text)
}

/// Takes over what the worker's launcher has got from its server, if it is the server's. What is
/// not is told, and changes nothing.
pub fn adopt(host: &Host, progress: &Progress) -> Result<()> {
    let offered = match unprivileged::read(&host.offered_lock(), SIZE_LIMIT) {
        Ok(text) => text,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => {
            progress.warn(&format!("the server's packages can't be read: {error:#}"));
            return Ok(());
        }
    };
    match genuine(host, &offered) {
        Ok((made, entries)) => keep(host, made, &entries),
        Err(error) => {
            progress.warn(&format!(
                "what came as the server's packages is not used: {error:#}"
            ));
            Ok(())
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let of_a_folder = cause.downcast_ref::<std::io::Error>();
        of_a_folder.is_some_and(|error| error.kind() == ErrorKind::NotFound)
            || cause.downcast_ref() == Some(&rustix::io::Errno::NOENT)
    })
}

/// When the text was made, and its entries, if the authority of this machine's fleet has signed it
/// and it is no older than what this machine has had.
fn genuine(host: &Host, text: &str) -> Result<(Timestamp, String)> {
    let path = host.fleet().join("ca.crt");
    let authority = fs::read_to_string(&path);
    let authority = authority.with_context(|| format!("reading {}", path.display()))?;
    let authority = Certificate::from_pem(&authority)?;
    let signed = signed_part(text, &authority)?;
    if let Some(newest) = newest(host)? {
        ensure!(
            signed.made >= newest,
            "it was made at {:.0}, and this machine has had one of {newest:.0}; if the server's clock \
             was wrong then: on the server, sudo covalentctl worker add NAME; here, sudo covalentctl join",
            signed.made
        );
    }
    let shipped = pins(&RequirementFile::read(&host.shipped_lock())?.text);
    Ok((signed.made, entries(signed.packages, &shipped)?))
}

/// When the newest list was made that this machine has had.
fn newest(host: &Host) -> Result<Option<Timestamp>> {
    let path = host.server_lock_made();
    let text = file::read_text(&path)?;
    text.map(|text| text.trim().parse())
        .transpose()
        .with_context(|| format!("{} is not a time", path.display()))
}

/// What the signature is for.
struct Signed<'a> {
    made: Timestamp,
    packages: &'a str,
}

/// What stands before the signature, if that is the authority's.
fn signed_part<'a>(text: &'a str, authority: &Certificate) -> Result<Signed<'a>> {
    let (signed, signature) = text.rsplit_once(SIGNATURE).context("it is not signed")?;
    let signature = STANDARD.decode(signature.trim()).unwrap_or_default();
    let content = signed.strip_prefix(HEAD);
    let content = content.filter(|_| authority.has_signed(signed.as_bytes(), &signature));
    let content = content.context("it was not signed by the server's root")?;
    let (first, packages) = content.split_once('\n').context("it has no lines")?;
    let made = first.strip_prefix(MADE).and_then(|time| time.parse().ok());
    let made = made.context("it does not say when it was made")?;
    Ok(Signed { made, packages })
}

/// The entries, each of which has to be a version with hashes: no address, no option, no marker, and
/// nothing that the shipped lock has.
fn entries(text: &str, shipped: &[Pin]) -> Result<String> {
    let mut entries = String::new();
    for line in text.replace("\\\n", " ").lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let pin = words.next().unwrap_or_default();
        let hashes: Vec<&str> = words.collect();
        if !is_pin(pin) || hashes.is_empty() || !hashes.iter().all(|word| is_hash(word)) {
            bail!("{line:?} is not a name with a version and hashes");
        }
        let name = requirement::name(pin).unwrap_or_default();
        ensure!(
            !shipped.iter().any(|shipped| shipped.name == name),
            "{name} is in the lock of this machine's package, too: server and worker have \
             different versions of covalent-common"
        );
        entries += &format!("{pin} {}\n", hashes.join(" "));
    }
    Ok(entries)
}

fn is_pin(text: &str) -> bool {
    let is_word = |text: &str, more: &str| {
        let first = |c: char| c.is_ascii_alphanumeric();
        text.starts_with(first) && text.chars().all(|c| first(c) || more.contains(c))
    };
    text.split_once("==")
        .is_some_and(|(name, version)| is_word(name, "-_.") && is_word(version, "-_.+!"))
}

fn is_hash(text: &str) -> bool {
    text.strip_prefix(HASH)
        .is_some_and(|digits| digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Makes the entries part of what is wanted here, and lets in none that were made earlier. Without
/// entries, nothing is wanted.
fn keep(host: &Host, made: Timestamp, entries: &str) -> Result<()> {
    file::make_folder(&host.state(), 0o755)?;
    if entries.is_empty() {
        file::remove(&host.server_lock())?;
    } else {
        replace(&host.server_lock(), entries)?;
    }
    replace(&host.server_lock_made(), &format!("{made}\n"))
}

fn replace(path: &Path, text: &str) -> Result<()> {
    if file::read_text(path)?.is_some_and(|there| there == text) {
        return Ok(());
    }
    file::write(path, text.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use crate::certificates::Key;

    const NUMPY: &str = "numpy==2.4.6";

    fn hash(digit: char) -> String {
        format!("{HASH}{}", digit.to_string().repeat(64))
    }

    struct Worker {
        _tree: tempfile::TempDir,
        host: Host,
        authority: Authority,
    }

    impl Worker {
        fn new() -> Worker {
            let tree = tempfile::tempdir().unwrap();
            let host = Host::at(tree.path());
            let authority = Authority::create("Test", 10, None).unwrap();
            let write = |path: std::path::PathBuf, text: &str| {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write(host.fleet().join("ca.crt"), &authority.certificate().pem());
            write(
                host.shipped_lock(),
                &format!("covalent==0.240.0 {}\n", hash('a')),
            );
            write(host.offered_lock(), "");
            Worker {
                _tree: tree,
                host,
                authority,
            }
        }

        fn offer(&self, lines: &str, key: &Key) {
            self.offer_of("2026-11-26T12:00:00Z", lines, key);
        }

        fn offer_of(&self, made: &str, lines: &str, key: &Key) {
            let text = format!("{HEAD}{MADE}{made}\n{lines}");
            let signature = STANDARD.encode(key.sign(text.as_bytes()).unwrap());
            fs::write(
                self.host.offered_lock(),
                format!("{text}{SIGNATURE}{signature}\n"),
            )
            .unwrap();
        }

        fn adopted(&self) -> Option<String> {
            adopt(&self.host, &Progress::plain()).unwrap();
            fs::read_to_string(self.host.server_lock()).ok()
        }
    }

    #[test]
    fn what_the_servers_root_has_signed_is_wanted_and_nothing_else_is() {
        let worker = Worker::new();
        assert_eq!(worker.adopted(), None);
        let line = format!("{NUMPY} {}\n", hash('0'));
        // Anybody's key will not do, nor a text that was changed, nor no signature at all.
        worker.offer(&line, &Key::generate().unwrap());
        assert_eq!(worker.adopted(), None);
        worker.offer(&line, worker.authority.key());
        let text = fs::read_to_string(worker.host.offered_lock()).unwrap();
        fs::write(worker.host.offered_lock(), text.replace("2.4.6", "2.4.7")).unwrap();
        assert_eq!(worker.adopted(), None);
        fs::write(worker.host.offered_lock(), format!("{HEAD}{line}")).unwrap();
        assert_eq!(worker.adopted(), None);
        fs::write(worker.host.offered_lock(), &text).unwrap();
        assert_eq!(worker.adopted(), Some(line.clone()));
        // What is refused later leaves what was taken over; a list without packages does not.
        worker.offer("", &Key::generate().unwrap());
        assert_eq!(worker.adopted(), Some(line));
        worker.offer("", worker.authority.key());
        assert_eq!(worker.adopted(), None);
    }

    #[test]
    fn an_older_list_is_not_brought_back() {
        let worker = Worker::new();
        let key = worker.authority.key();
        let [old, new] = ["2.4.5", "2.4.6"].map(|it| format!("numpy=={it} {}\n", hash('0')));
        worker.offer_of("2026-11-26T12:00:00.1Z", &old, key);
        assert_eq!(worker.adopted().as_ref(), Some(&old));
        let offered = fs::read_to_string(worker.host.offered_lock()).unwrap();
        worker.offer_of("2026-11-26T12:00:00.2Z", &new, key);
        assert_eq!(worker.adopted().as_ref(), Some(&new));
        fs::write(worker.host.offered_lock(), &offered).unwrap();
        assert_eq!(worker.adopted().as_ref(), Some(&new));
        // Not while none is wanted, either.
        worker.offer_of("2026-11-26T12:00:01Z", "", key);
        assert_eq!(worker.adopted(), None);
        fs::write(worker.host.offered_lock(), &offered).unwrap();
        assert_eq!(worker.adopted(), None);
        // The same is taken by a machine that has had no newer one.
        fs::remove_file(worker.host.server_lock_made()).unwrap();
        assert_eq!(worker.adopted().as_ref(), Some(&old));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let worker = Worker::new();
        worker.offer(&format!("{NUMPY} {}\n", hash('0')), worker.authority.key());
        let elsewhere = worker.host.path("/run/covalent/elsewhere");
        fs::rename(worker.host.offered_lock(), &elsewhere).unwrap();
        symlink(&elsewhere, worker.host.offered_lock()).unwrap();
        assert_eq!(worker.adopted(), None);
        fs::remove_file(worker.host.offered_lock()).unwrap();
        fs::rename(&elsewhere, worker.host.offered_lock()).unwrap();
        assert!(worker.adopted().is_some());
    }

    #[test]
    fn an_entry_is_a_version_with_hashes() {
        let shipped = pins("covalent==0.240.0\n");
        let read = |text: &str| entries(text, &shipped);
        let good = format!(
            "a-b==1.0+local \\\n    {} \\\n    {}\n",
            hash('0'),
            hash('f')
        );
        assert_eq!(
            read(&good).unwrap(),
            format!("a-b==1.0+local {} {}\n", hash('0'), hash('f'))
        );
        let (h, short) = (hash('0'), format!("{HASH}00"));
        for bad in [
            NUMPY.to_string(),
            format!("numpy {h}"),
            format!("numpy>=1 {h}"),
            format!("numpy==1,>2 {h}"),
            format!("numpy==1; {h}"),
            format!("numpy @ https://example.org/x.whl {h}"),
            format!("numpy==1 ; python_version<'4' {h}"),
            format!("{NUMPY} {short}"),
            format!("{NUMPY} {h} --config-settings=x"),
            format!("{NUMPY} {h}x"),
            "--index-url https://example.org/".into(),
            "-r /etc/passwd".into(),
            format!("./x.whl {h}"),
            format!("covalent==0.240.0 {h}"),
            format!("Covalent==0.1 {h}"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
