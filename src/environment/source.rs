//! Where wheels come from, in uv's terms.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::settings::{Index, Network, Settings};
use crate::system::command::Command;
use crate::system::host::Host;

/// The name that uv knows the index by; its credentials are passed in variables of that name.
const INDEX_NAME: &str = "COVALENT";

/// What a manifest says of an environment whose wheels came from an index.
pub const INDEX: &str = "index";

/// What it says where none was asked.
const WHEELHOUSE: &str = "wheelhouse";

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
        f.write_str(described(self.name()))
    }
}

/// A source's name in a sentence.
pub fn described(name: &str) -> &str {
    match name {
        INDEX => "the package index",
        WHEELHOUSE => "the wheelhouse",
        other => other,
    }
}

impl Source {
    /// Its name in a manifest and in `status --json`.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Wheelhouse(_) => WHEELHOUSE,
            Source::Index(..) => INDEX,
        }
    }

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
