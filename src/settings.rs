//! `covalentctl.toml`, in which every value that the rest of the program sees can be used.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use toml::{Table, Value};

use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;

/// Whether a package index may be asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// When the wheels on the machine don't suffice.
    #[default]
    Allowed,
    /// Under no circumstances.
    Never,
}

/// When the server is restarted after a change of its environment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// At once; workflows that run are cancelled.
    #[default]
    Now,
    /// As soon as no workflow runs.
    WhenIdle,
    /// When the administrator restarts it.
    Manual,
}

impl RestartPolicy {
    /// As it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            RestartPolicy::Now => "now",
            RestartPolicy::WhenIdle => "when-idle",
            RestartPolicy::Manual => "manual",
        }
    }
}

/// The settings, each with its default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The interpreter to use, instead of the one that would be found.
    pub interpreter: Option<PathBuf>,
    /// How many generations to keep; at least 1.
    pub generations: usize,
    /// Whether a package index may be asked.
    pub network: Network,
    /// When the server is restarted after a change of its environment.
    pub restart: RestartPolicy,
    /// How many backups to keep of those that are made without a name; at least 1.
    pub backups: usize,
    /// Where wheels come from beside the packages' own folders.
    pub index: Index,
}

/// The package index and how to reach it; what is `None` is uv's default.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Index {
    /// Address of the index (PEP 503).
    pub url: Option<String>,
    /// The user's name there.
    pub username: Option<String>,
    /// The user's password there. Never shown.
    pub password: Option<String>,
    /// A file of certificates (PEM) to trust.
    pub certificates: Option<PathBuf>,
    /// Address of an HTTP proxy. May hold a password; never shown.
    pub proxy: Option<String>,
    /// Folders of wheels.
    pub wheels: Vec<PathBuf>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interpreter: None,
            // The active one, and one to go back to.
            generations: 2,
            network: Network::default(),
            restart: RestartPolicy::default(),
            // A working week.
            backups: 5,
            index: Index::default(),
        }
    }
}

impl Settings {
    /// Reads the file; a missing one means every default.
    pub fn read(host: &Host) -> Result<Settings> {
        let path = host.settings();
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                let valid = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..valid]
                    .split(|byte| *byte == b'\n')
                    .count()
                    - 1;
                failure(format!("{}:{line}: a byte is not UTF-8", path.display()))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(failure(format!(
                    "{}: can't be read: {error}",
                    path.display()
                )));
            }
        };
        parse(&path, &text)
    }
}

fn parse(path: &Path, text: &str) -> Result<Settings> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let span = error.span();
        let place = span.clone().map_or_else(String::new, |span| {
            let (line, column) = position(text, span.start);
            format!(":{line}:{column}")
        });
        let name = span.and_then(|span| text.get(span));
        let misplaced = name.and_then(|name| misplaced(text, name.trim_matches(['"', '\''])));
        // The parser's long form quotes the line, which may hold a password.
        let reason = misplaced.unwrap_or_else(|| error.message().replace('\n', " "));
        failure(format!("{}{place}: {reason}", path.display()))
    })?;
    match wrong(&settings) {
        Some(reason) => Err(failure(format!("{}: {reason}", path.display()))),
        None => Ok(settings),
    }
}

/// Which value can't be used, and why.
fn wrong(settings: &Settings) -> Option<String> {
    let index = &settings.index;
    let files = settings
        .interpreter
        .iter()
        .map(|path| ("interpreter", path));
    let files = files.chain(index.certificates.iter().map(|path| ("certificates", path)));
    let files = files.chain(index.wheels.iter().map(|path| ("wheels", path)));
    for (name, path) in files {
        if !path.is_absolute() {
            return Some(format!(
                "{name} = {path:?} must be an absolute path, such as \"/usr/…\""
            ));
        }
    }
    for (name, value, schemes) in [
        ("url", &index.url, &["https://", "http://", "file://"][..]),
        ("proxy", &index.proxy, &["http://", "https://", "socks5://"]),
    ] {
        // The value is not repeated: it may hold a password.
        if value.as_ref().is_some_and(|value| {
            !schemes.iter().any(|scheme| value.starts_with(scheme))
                || value.contains(|c: char| c.is_whitespace() || c.is_control())
        }) {
            return Some(format!(
                "{name} must be an address that starts with {} and holds no blanks",
                schemes.join(" or ")
            ));
        }
    }
    if index.password.is_some() && index.username.is_none() {
        return Some("password is set without username".into());
    }
    if settings.generations == 0 {
        return Some("generations = 0 must be at least 1: the active one stays".into());
    }
    if settings.backups == 0 {
        return Some("backups = 0 must be at least 1: the one just made stays".into());
    }
    None
}

/// Where the setting `name` belongs, if it stands on the wrong side of the line `[index]`.
fn misplaced(text: &str, name: &str) -> Option<String> {
    let file: Table = toml::from_str(text).ok()?;
    let alone = |value: &Value| Table::from_iter([(name.to_string(), value.clone())]);
    let below = file.get("index").and_then(|index| index.get(name));
    let above = file.get(name);
    if below.is_some_and(|value| alone(value).try_into::<Settings>().is_ok()) {
        Some(format!(
            "{name} belongs above the line [index], not below it"
        ))
    } else if above.is_some_and(|value| alone(value).try_into::<Index>().is_ok()) {
        Some(format!(
            "{name} belongs below the line [index], not above it"
        ))
    } else {
        None
    }
}

/// Line and column of a byte, both counted from 1, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..byte.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn failure(message: String) -> anyhow::Error {
    Failure::error(
        Kind::Settings,
        message,
        "correct the file (covalentctl(1) lists every setting), then: covalentctl apply",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::failure::describe;

    fn refusal(text: &str) -> String {
        describe(&parse(Path::new("/etc/covalent/covalentctl.toml"), text).unwrap_err())
    }

    #[test]
    fn an_empty_file_means_every_default() {
        let settings = parse(Path::new("x"), "").unwrap();
        assert_eq!((settings.generations, settings.backups), (2, 5));
        assert_eq!(settings.network, Network::Allowed);
        assert!(settings.interpreter.is_none() && settings.index.url.is_none());
    }

    #[test]
    fn the_shipped_file_is_accepted_as_it_is_and_with_every_line_in_force() {
        let shipped = include_str!("../systemd/covalentctl.toml");
        parse(Path::new("x"), shipped).unwrap();
        let in_force: String = shipped
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|rest| !rest.starts_with(' '))
                    .unwrap_or(line)
            })
            .fold(String::new(), |text, line| text + line + "\n");
        let settings = parse(Path::new("x"), &in_force).unwrap();
        assert_eq!(settings.restart, RestartPolicy::WhenIdle);
        assert!(settings.interpreter.is_some() && settings.index.proxy.is_some());
    }

    #[test]
    fn a_malformed_file_is_refused_with_line_and_column() {
        for (text, start, reason) in [
            (
                "generations = \"two\"",
                ":1:15: ",
                "invalid type: string \"two\", expected usize",
            ),
            ("\ninterpreter = /usr", ":2:15: ", "string"),
            (
                "[index]\nurll = \"x\"",
                ":2:1: ",
                "unknown field `urll`, expected one of `url`",
            ),
            (
                "network = \"maybe\"",
                ":1:11: ",
                "expected `allowed` or `never`",
            ),
        ] {
            let refused = refusal(text);
            let start = format!("/etc/covalent/covalentctl.toml{start}");
            assert!(
                refused.starts_with(&start) && refused.contains(reason),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_setting_on_the_wrong_side_of_index_is_told_where_it_belongs() {
        let shipped = include_str!("../systemd/covalentctl.toml");
        let refused = refusal(&format!("{shipped}interpreter = \"/usr/bin/python3.12\"\n"));
        let line = shipped.lines().count() + 1;
        assert_eq!(
            refused,
            format!(
                "/etc/covalent/covalentctl.toml:{line}:1: interpreter belongs above the line \
                 [index], not below it"
            )
        );
        let refused = refusal("proxy = \"http://me:s3cret@proxy\"\n[index]\n");
        assert!(refused.contains(":1:1: proxy belongs below"), "{refused}");
        // Neither here nor there.
        assert!(refusal("[index]\ninterpretor = 1").contains("unknown field"));
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_told_with_its_line() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.etc()).unwrap();
        fs::write(host.settings(), b"# caf\xc3\xa9\n# caf\xe9\n").unwrap();
        let refused = describe(&Settings::read(&host).unwrap_err());
        assert!(
            refused.ends_with("covalentctl.toml:2: a byte is not UTF-8"),
            "{refused}"
        );
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused_without_repeating_a_secret() {
        assert!(refusal("generations = 0").contains("at least 1"));
        assert!(refusal("interpreter = \"python3\"").contains("absolute path"));
        let refused = refusal("[index]\nproxy = \"user:s3cret@proxy\"");
        assert!(refused.contains("proxy must be an address") && !refused.contains("s3cret"));
        let refused = refusal("[index]\npassword = s3cret");
        assert!(
            refused.contains(":2:") && !refused.contains("s3cret"),
            "{refused}"
        );
    }
}
