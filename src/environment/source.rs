//! Where wheels come from, in uv's terms.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::settings::{Index, Network, Settings};
use crate::system::command::{Command, CommandFailed};
use crate::system::failure::{self, Failure, Kind};
use crate::system::host::Host;
use crate::system::space;

/// The name that uv knows the index by; its credentials are passed in variables of that name.
const INDEX_NAME: &str = "COVALENT";

/// What a manifest says of an environment whose wheels came from an index.
pub const INDEX: &str = "the package index";

/// A way to get wheels.
#[derive(Clone, Debug)]
pub enum Source {
    /// Folders on this machine; no network.
    Wheelhouse(Vec<PathBuf>),
    /// A package index, and folders on this machine.
    Index(Vec<PathBuf>, Index),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Wheelhouse(_) => "the wheelhouse",
            Source::Index(..) => INDEX,
        })
    }
}

impl Source {
    /// What to try, in this order; empty if there is nothing that may be tried.
    pub fn all(host: &Host, settings: &Settings) -> Vec<Source> {
        let mut folders = vec![
            host.own_wheels(),
            host.wheelhouse(),
            host.plugin_wheelhouse(),
        ];
        folders.extend(settings.index.wheels.iter().map(|path| host.path(path)));
        folders.retain(|folder| folder.is_dir());
        let has_wheelhouse = folders.iter().any(|folder| *folder != host.own_wheels());
        let mut sources = Vec::new();
        if has_wheelhouse {
            sources.push(Source::Wheelhouse(folders.clone()));
        }
        if settings.network == Network::Allowed {
            sources.push(Source::Index(folders, settings.index.clone()));
        }
        sources
    }

    /// Tells uv to use this source, with `cache` as its cache.
    pub fn apply(&self, command: Command, cache: &Path) -> Command {
        let command = command.env("UV_CACHE_DIR", cache);
        match self {
            Source::Wheelhouse(folders) => {
                find_links(command.args(["--offline", "--no-index"]), folders)
            }
            Source::Index(folders, index) => with_index(find_links(command, folders), index),
        }
    }
}

fn find_links(command: Command, folders: &[PathBuf]) -> Command {
    folders.iter().fold(command, |command, folder| {
        command.args(["--find-links".as_ref(), folder.as_os_str()])
    })
}

/// Credentials go through the environment: a command line is readable by everyone.
fn with_index(mut command: Command, index: &Index) -> Command {
    if let Some(url) = &index.url {
        command = command.env("UV_DEFAULT_INDEX", format!("{INDEX_NAME}={url}"));
    }
    if let Some(username) = &index.username {
        command = command.env(format!("UV_INDEX_{INDEX_NAME}_USERNAME"), username);
    }
    if let Some(password) = &index.password {
        command = command.env(format!("UV_INDEX_{INDEX_NAME}_PASSWORD"), password);
    }
    command = match &index.certificates {
        Some(certificates) => command.env("SSL_CERT_FILE", certificates),
        // The machine's own store, so that what its administrator trusts counts here too.
        None => command.env("UV_SYSTEM_CERTS", "1"),
    };
    if let Some(proxy) = &index.proxy {
        command = command.env("ALL_PROXY", proxy).env("HTTPS_PROXY", proxy);
    }
    command
        .secret(index.password.as_deref())
        .secret(index.proxy.as_deref().and_then(credentials))
        .secret(index.url.as_deref().and_then(credentials))
}

/// `user:password` of an address that holds them.
fn credentials(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    authority
        .rsplit_once('@')
        .map(|(credentials, _)| credentials)
}

/// The address as it may be shown.
pub fn without_credentials(address: &str) -> String {
    match credentials(address) {
        Some(credentials) => address.replace(&format!("{credentials}@"), ""),
        None => address.into(),
    }
}

/// Turns a failed run of uv into the error that an administrator can act on.
///
/// uv has one exit status for everything, so its words have to tell; each was seen with the
/// version that the package ships, and the whole output stays in the message.
pub fn diagnose(error: anyhow::Error, source: &Source) -> anyhow::Error {
    let error = space::diagnose(error);
    let Some(failed) = error.downcast_ref::<CommandFailed>() else {
        return error;
    };
    let words = failed.output.stderr.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&["hash mismatch", "no `--hash`"]) || damaged(&words) {
        Failure::error(
            Kind::Wheel,
            format!(
                "{} from {source} is damaged or is not the wheel in the lock: {failed}",
                requirement(&failed.output.stderr).unwrap_or("a file")
            ),
            match source {
                Source::Wheelhouse(_) => {
                    "install the package that holds it again (apt-get install --reinstall \
                     covalent-wheels, or dnf reinstall covalent-wheels)"
                }
                Source::Index(..) => {
                    "ask whoever runs the package index why it serves another file"
                }
            },
        )
    } else if contradicts(&words) {
        Failure::error(
            Kind::Settings,
            format!("the requirement files can't be met: {failed}"),
            "correct the requirement that is named above, in the .txt files of \
             /etc/covalent/requirements.d, then: covalentctl apply",
        )
    } else {
        Failure::error(
            Kind::Source,
            format!("the wheels could not be had from {source}: {failed}"),
            "install covalent-wheels (apt-get install covalent-wheels, or dnf install \
             covalent-wheels) and with plugins covalent-plugin-wheels, or correct [index] in \
             /etc/covalent/covalentctl.toml, then: covalentctl apply",
        )
    }
}

/// The requirement that uv's words are about, such as `click==8.5.1`.
fn requirement(words: &str) -> Option<&str> {
    words
        .split('`')
        .find(|word| word.contains("==") && !word.contains(char::is_whitespace))
}

fn damaged(words: &str) -> bool {
    [
        "failed to read",
        "failed to extract",
        "failed to unzip",
        "invalid zip",
        "zip archive",
        "zip file",
    ]
    .iter()
    .any(|part| words.contains(part))
}

/// One error out of those of two sources: what the first one lacked is named in its own.
pub fn neither(first: anyhow::Error, second: anyhow::Error) -> anyhow::Error {
    match (failure::find(&first), failure::find(&second)) {
        (Some(lack), Some(last)) if last.kind == Kind::Source => Failure::error(
            Kind::Source,
            format!("{}\n  {}", lack.message, last.message),
            last.next.clone(),
        ),
        _ => second,
    }
}

/// Whether the requirements contradict each other or the lock, or are no requirements, which no
/// source can help with. A package that a source lacks reads much the same.
fn contradicts(words: &str) -> bool {
    let lacks = [
        "was not found",
        "no versions of",
        "was disabled",
        "there is no version",
    ];
    let malformed = [
        "couldn't parse requirement",
        "or the start of a requirement",
    ];
    malformed.iter().any(|part| words.contains(part))
        || (words.contains("no solution found") && !lacks.iter().any(|part| words.contains(part)))
}

/// The error where nothing may be tried.
pub fn none_allowed(host: &Host) -> anyhow::Error {
    Failure::error(
        Kind::Source,
        format!(
            "there are no wheels in {}, and {} says network = \"never\"",
            host.wheelhouse().display(),
            host.settings().display()
        ),
        "install covalent-wheels (apt-get install covalent-wheels, or dnf install \
         covalent-wheels), or allow the network, then: covalentctl apply",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn settings(network: Network) -> Settings {
        Settings {
            network,
            ..Settings::default()
        }
    }

    #[test]
    fn the_wheelhouse_comes_first_and_the_network_only_if_allowed() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.own_wheels()).unwrap();
        assert!(Source::all(&host, &settings(Network::Never)).is_empty());
        let sources = Source::all(&host, &settings(Network::Allowed));
        assert!(matches!(&sources[..], [Source::Index(folders, _)] if folders.len() == 1));

        fs::create_dir_all(host.wheelhouse()).unwrap();
        let sources = Source::all(&host, &settings(Network::Allowed));
        assert!(matches!(
            &sources[..],
            [Source::Wheelhouse(_), Source::Index(..)]
        ));
        let sources = Source::all(&host, &settings(Network::Never));
        assert!(matches!(&sources[..], [Source::Wheelhouse(folders)] if folders.len() == 2));
    }

    #[test]
    fn credentials_are_found_in_an_address() {
        assert_eq!(credentials("http://u:p@proxy:3128/x@y"), Some("u:p"));
        assert_eq!(credentials("http://proxy:3128/"), None);
        assert_eq!(credentials("proxy"), None);
    }

    #[test]
    fn what_uv_says_decides_the_kind() {
        let source = Source::Wheelhouse(Vec::new());
        for (words, kind, part) in [
            (
                "Failed to download `click==8.5.1`\n  Hash mismatch for",
                Kind::Wheel,
                "click==8.5.1 from",
            ),
            (
                "Failed to extract archive: a.whl",
                Kind::Wheel,
                "a file from the wheelhouse",
            ),
            (
                "Failed to download `click==8.5.1`\n  No space left on device (os error 28)",
                Kind::Space,
                "ran full",
            ),
            (
                "No solution found when resolving dependencies:\n  Because zipstream-ng was not \
                 found in the provided package locations",
                Kind::Source,
                "zipstream-ng was not",
            ),
            (
                "No solution found when resolving dependencies:\n  Because you require click<1 \
                 and click==8.5.1, we can conclude that your requirements are unsatisfiable.",
                Kind::Settings,
                "can't be met",
            ),
            (
                "Unexpected '=', expected '-c', '-e', '-r' or the start of a requirement: local.txt:1:1",
                Kind::Settings,
                "local.txt",
            ),
            (
                "Because click was not found in the provided",
                Kind::Source,
                "click was not found",
            ),
        ] {
            let script = format!("cat >&2 <<'END'\n{words}\nEND\nexit 1");
            let command = Command::new("/bin/sh", std::time::Duration::from_secs(5));
            let error = diagnose(command.args(["-c", &script]).run().unwrap_err(), &source);
            assert_eq!(
                crate::system::failure::find(&error).unwrap().kind,
                kind,
                "{words}"
            );
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn credentials_are_in_no_argument_and_no_debug_output() {
        let index = Index {
            url: Some("https://u:p4ss@packages.example.org/simple".into()),
            username: Some("me".into()),
            password: Some("s3cret".into()),
            ..Index::default()
        };
        let source = Source::Index(Vec::new(), index);
        assert!(!format!("{source:?}").contains("s3cret"));
        let script = "echo $UV_INDEX_COVALENT_PASSWORD $UV_DEFAULT_INDEX";
        let command =
            Command::new("/bin/sh", std::time::Duration::from_secs(5)).args(["-c", script]);
        let output = source.apply(command, Path::new("/x")).run().unwrap();
        assert_eq!(
            output.stdout,
            "**** COVALENT=https://****@packages.example.org/simple\n"
        );
    }
}
