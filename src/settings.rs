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

/// What a value must be, beside having the type of its field.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// An absolute path, or several.
    Path,
    /// An address that starts with one of these. May hold a password.
    Address(&'static [&'static str]),
    /// At least 1, for the reason given.
    Count(&'static str),
    /// Anything of that type.
    Any,
}

/// The file as it is shipped.
pub const SHIPPED: &str = include_str!("../systemd/covalentctl.toml");

/// Every setting, those below the line `[index]` included, with the rule that its value is checked by.
/// The manual page is made from them and from [`SHIPPED`].
pub const SETTINGS: &[(&str, Rule)] = &[
    ("interpreter", Rule::Path),
    ("generations", Rule::Count("the active one stays")),
    ("network", Rule::Any),
    ("restart", Rule::Any),
    ("backups", Rule::Count("the one just made stays")),
    ("url", Rule::Address(&["https://", "http://", "file://"])),
    ("username", Rule::Any),
    ("password", Rule::Any),
    ("certificates", Rule::Path),
    (
        "proxy",
        Rule::Address(&["http://", "https://", "socks5://"]),
    ),
    ("wheels", Rule::Path),
];

impl Rule {
    /// What the value must be, to follow "must be"; nothing if its type says all.
    pub fn expected(self) -> Option<String> {
        match self {
            Rule::Path => Some("an absolute path".into()),
            Rule::Address(schemes) => Some(format!(
                "an address that starts with {} and holds no blanks",
                schemes.join(" or ")
            )),
            Rule::Count(_) => Some("at least 1".into()),
            Rule::Any => None,
        }
    }

    fn allows(self, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        match self {
            Rule::Path => text.starts_with('/'),
            Rule::Address(schemes) => {
                schemes.iter().any(|scheme| text.starts_with(scheme))
                    && !text.contains(|c: char| c.is_whitespace() || c.is_control())
            }
            Rule::Count(_) => value.as_integer().is_some_and(|count| count >= 1),
            Rule::Any => true,
        }
    }

    fn refusal(self, name: &str, value: &Value) -> String {
        let expected = self.expected().unwrap_or_default();
        match self {
            Rule::Path => {
                let path = value.as_str().unwrap_or_default();
                format!("{name} = {path:?} must be {expected}, such as \"/usr/…\"")
            }
            Rule::Count(reason) => {
                let count = value.as_integer().unwrap_or_default();
                format!("{name} = {count} must be {expected}: {reason}")
            }
            // The value is not repeated: it may hold a password.
            Rule::Address(_) | Rule::Any => format!("{name} must be {expected}"),
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
    // What has the form of settings is a table.
    match toml::from_str(text).ok().as_ref().and_then(wrong) {
        Some(reason) => Err(failure(format!("{}: {reason}", path.display()))),
        None => Ok(settings),
    }
}

/// Which value can't be used, and why.
fn wrong(file: &Table) -> Option<String> {
    let value = |name: &str| {
        let below = || file.get("index").and_then(|index| index.get(name));
        file.get(name).or_else(below)
    };
    for (name, rule) in SETTINGS {
        let Some(value) = value(name) else { continue };
        let one = std::slice::from_ref(value);
        let all = value.as_array().map_or(one, Vec::as_slice);
        if let Some(wrong) = all.iter().find(|value| !rule.allows(value)) {
            return Some(rule.refusal(name, wrong));
        }
    }
    (value("password").is_some() && value("username").is_none())
        .then(|| "password is set without username".into())
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
        "correct the file (covalentctl.toml(5) explains every setting), then: covalentctl apply",
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
        parse(Path::new("x"), SHIPPED).unwrap();
        let in_force: String = SHIPPED
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
        for (name, _) in SETTINGS {
            assert!(in_force.contains(&format!("\n{name} = ")), "{name}");
        }
    }

    #[test]
    fn every_setting_has_a_rule() {
        for unknown in ["x = 1", "[index]\nx = 1"] {
            let refused = refusal(unknown);
            let (_, fields) = refused.split_once("expected one of ").unwrap();
            for field in fields.split(", ").map(|field| field.trim_matches('`')) {
                let known = SETTINGS.iter().any(|(name, _)| *name == field);
                assert!(known || field == "index", "{field}");
            }
        }
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
        let refused = refusal(&format!("{SHIPPED}interpreter = \"/usr/bin/python3.12\"\n"));
        let line = SHIPPED.lines().count() + 1;
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
        assert!(
            refusal("[index]\nwheels = [\"/srv\", \"srv\"]").contains("wheels = \"srv\" must be")
        );
        let refused = refusal("[index]\npassword = s3cret");
        assert!(
            refused.contains(":2:") && !refused.contains("s3cret"),
            "{refused}"
        );
    }
}
