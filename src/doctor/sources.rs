//! Where the wheels of the next environment would come from.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::verdict::{Verdict, bad, doubtful, from_error, good, skipped};
use crate::environment::interpreter::{self, Probes};
use crate::environment::requirement;
use crate::environment::requirement_file::Files;
use crate::environment::source::{Source, without_credentials};
use crate::environment::uv::uv;
use crate::settings::{Index, Network, Settings};
use crate::system::command::CommandFailed;
use crate::system::connection::connect;
use crate::system::failure;
use crate::system::file;
use crate::system::host::Host;

/// One page of an index, and the start of uv: a second over a good network.
const INDEX_LIMIT: Duration = Duration::from_secs(20);

/// Seconds that uv waits for a server to go on.
const UV_PATIENCE: &str = "10";

/// A proxy is near.
const PROXY_LIMIT: Duration = Duration::from_secs(3);

/// The ports of the proxies' schemes where an address names none.
const PROXY_PORTS: [(&str, u16); 3] = [("http", 80), ("https", 443), ("socks5", 1080)];

/// Whether the wheels that were tested are on this machine.
pub(super) fn wheels(host: &Host) -> Verdict {
    let never = Settings::read(host).is_ok_and(|settings| settings.network == Network::Never);
    if host.wheelhouse().is_dir() {
        good(format!(
            "{}; no network is needed",
            host.wheelhouse().display()
        ))
    } else if never {
        bad(
            format!(
                "{} is missing and network = \"never\": no environment can be built",
                host.wheelhouse().display()
            ),
            "install covalent-wheels",
        )
    } else {
        doubtful(
            "covalent-wheels is not installed; the next environment needs a package index",
            "install covalent-wheels, unless that is meant",
        )
    }
}

/// Whether the package index answers, if one is needed: uv asks it as it would for a build.
pub(super) fn index(host: &Host) -> Verdict {
    let (settings, files) = match (Settings::read(host), Files::find(host)) {
        (Ok(settings), Ok(files)) => (settings, files),
        (Err(error), _) | (_, Err(error)) => return from_error(&error),
    };
    if settings.network == Network::Never {
        return good("none is asked: network = \"never\"");
    }
    let needed = !host.wheelhouse().is_dir();
    if !needed && files.requirements.is_empty() {
        return good("none is needed");
    }
    let Ok(python) = interpreter::find(host, &settings, &mut Probes::new()) else {
        return skipped("uv needs an interpreter to query it");
    };
    let Err(error) = ask(host, &python.path, &settings.index) else {
        return good("it answers");
    };
    let (cause, correction) = diagnose(&error, &settings.index);
    let cure = format!(
        "{correction} below [index] in {}",
        host.settings().display()
    );
    if needed {
        bad(cause, cure + ", or install covalent-wheels")
    } else {
        doubtful(
            cause,
            cure + "; it is asked for what no folder of wheels on this machine has",
        )
    }
}

/// Has uv look up the first package of the lock, which every index for Covalent must have.
fn ask(host: &Host, python: &Path, index: &Index) -> Result<()> {
    let lock = host.shipped_lock();
    let text = fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let pins = requirement::pins(&text);
    let pin = pins
        .first()
        .with_context(|| format!("{} is empty", lock.display()))?;
    // A cache of its own: what was answered earlier does not count. In a folder of root's: TMPDIR may name
    // one of tasks.
    let own = host.path("/run/covalentctl");
    file::make_folder(&own, 0o755)?;
    let folder = tempfile::Builder::new().prefix("index-").tempdir_in(&own);
    let folder = folder.context("making a folder for what the index answers")?;
    let wish = folder.path().join("wish.txt");
    file::write(
        &wish,
        format!("{}=={}\n", pin.name, pin.version).as_bytes(),
        0o600,
    )?;
    let command = uv(host, INDEX_LIMIT)
        .env("UV_HTTP_TIMEOUT", UV_PATIENCE)
        .env("UV_HTTP_RETRIES", "0")
        .args(["pip", "compile", "--no-deps", "--quiet", "--python"])
        .args([python, &wish]);
    let source = Source::Index(Vec::new(), index.clone());
    source.apply(command, folder.path()).run().map(drop)
}

/// What is wrong, and which setting to correct: uv's words tell, as the version that is shipped
/// writes them.
fn diagnose(error: &anyhow::Error, index: &Index) -> (String, &'static str) {
    let said = match error.downcast_ref::<CommandFailed>() {
        Some(failed) if failed.output.status.is_none() => {
            format!("no answer within {} s", INDEX_LIMIT.as_secs())
        }
        Some(failed) => failed.output.stderr.trim().replace('\n', "\n      "),
        None => failure::describe(error),
    };
    let words = said.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let proxy = index
        .proxy
        .as_deref()
        .map(|proxy| (without_credentials(proxy), reach(proxy)));
    match proxy {
        Some((proxy, Err(error))) => (
            format!("the proxy {proxy} does not answer: {error:#}"),
            "correct proxy = ...",
        ),
        _ if says(&["certificate", "unknownissuer"]) => (
            format!("the package index is not trusted: {said}"),
            "name the authority's file with certificates = ...",
        ),
        _ if says(&["401 unauthorized", "403 forbidden"]) => (
            format!("the package index asks for a login: {said}"),
            "correct username = ... and password = ...",
        ),
        Some((proxy, Ok(()))) => (
            format!("the package index does not answer properly through the proxy {proxy}: {said}"),
            "correct url = ... or proxy = ...",
        ),
        None => (
            format!("the package index does not answer properly: {said}"),
            "correct url = ..., or set the proxy with proxy = ...",
        ),
    }
}

/// Whether something listens at the proxy's address.
fn reach(proxy: &str) -> Result<()> {
    let (scheme, rest) = proxy.split_once("://").context("it is not a URL")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    let default = PROXY_PORTS.iter().find(|(name, _)| *name == scheme);
    let place = match (place.rsplit_once(':'), default) {
        (None, Some((_, port))) => format!("{place}:{port}"),
        _ => place.to_string(),
    };
    connect(place, PROXY_LIMIT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::command::Command;
    use std::net::TcpListener;

    /// What is made of these words of uv.
    fn made_of(words: &str, proxy: Option<&str>) -> (String, &'static str) {
        let script = format!("echo '{words}' >&2; exit 2");
        let command = Command::new("/bin/sh", INDEX_LIMIT).args(["-c", &script]);
        let index = Index {
            proxy: proxy.map(String::from),
            ..Index::default()
        };
        diagnose(&command.run().unwrap_err(), &index)
    }

    #[test]
    fn what_uv_says_decides_what_to_correct() {
        for (words, cure) in [
            ("invalid peer certificate: UnknownIssuer", "certificates"),
            ("HTTP status client error (401 Unauthorized)", "password"),
            ("dns error: Name or service not known", "url"),
        ] {
            let (said, next) = made_of(words, None);
            assert!(said.contains(words) && next.contains(cure), "{said} {next}");
        }
    }

    #[test]
    fn a_proxy_is_tried_itself_and_its_password_is_not_shown() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = format!("http://me:s3cret@{address}/");
        let (said, next) = made_of("timed out", Some(&proxy));
        assert!(
            said.contains(&format!("through the proxy http://{address}/")),
            "{said}"
        );
        assert!(!said.contains("s3cret") && next.contains("proxy"), "{said}");
        drop(listener);
        let (said, _) = made_of("timed out", Some(&proxy));
        assert!(
            said.contains("does not answer") && !said.contains("s3cret"),
            "{said}"
        );
    }
}
