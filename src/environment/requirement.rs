//! Requirements in pip's format, as far as covalentctl has to understand them: the names, and the
//! entries of a lock. Everything else is uv's business.

use std::collections::BTreeMap;

/// Versions by normalized names.
pub type Versions = BTreeMap<String, String>;

/// A package's name in the form that compares equal for every spelling of it (PEP 503).
pub fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut separated = false;
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            separated = true;
            continue;
        }
        if std::mem::take(&mut separated) {
            normal.push('-');
        }
        normal.push(c.to_ascii_lowercase());
    }
    normal
}

/// The normalized name that a requirement such as `pennylane[gpu]<1` starts with (PEP 508), if it
/// starts with one.
pub fn name(requirement: &str) -> Option<String> {
    let requirement = requirement.trim();
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let proper = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let follows = rest.trim_start().chars().next();
    let sensible = follows.is_none_or(|c| "[<>=!~;@#(".contains(c));
    let is_name = proper(name.chars().next()) && proper(name.chars().next_back());
    (is_name && sensible).then(|| normalize(name))
}

/// The requirements of a file with their lines, counted from 1, comments and options left out.
///
/// Only lines that start with a name are found; an address of a file has none.
pub fn in_file(text: &str) -> impl Iterator<Item = (usize, &str, String)> {
    let text = text.trim_start_matches('\u{feff}');
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = without_comment(line).trim();
        name(line).map(|name| (index + 1, line, name))
    })
}

/// A requirement as it may be shown: an address may hold a password.
pub fn shown(requirement: &str) -> &str {
    requirement
        .split_once('@')
        .map_or(requirement, |(name, _)| name.trim_end())
}

/// These options at the start of a line and what follows them, as in `-r other.txt`.
pub fn options<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().filter_map(move |line| {
        let line = without_comment(line).trim();
        let (option, value) = line.split_once([' ', '=']).or_else(|| {
            // `-rother.txt`
            (line.starts_with('-') && !line.starts_with("--")).then(|| line.split_at_checked(2))?
        })?;
        names.contains(&option).then_some((option, value.trim()))
    })
}

/// The line up to a comment, which a blank has to stand before (pip's requirement file format).
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    match line.find(" #").or_else(|| line.find("\t#")) {
        Some(comment) => &line[..comment],
        None => line,
    }
}

/// An entry of a lock: one version of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The normalized name.
    pub name: String,
    /// The version; empty for an entry that is an address.
    pub version: String,
    /// Each `--hash=…`.
    pub hashes: Vec<String>,
    /// The entry without its hashes, a marker included.
    pub line: String,
}

impl Pin {
    /// The entry as a lock has it, without a marker.
    pub fn text(&self) -> String {
        let mut text = if self.version.is_empty() {
            self.line.clone()
        } else {
            format!("{}=={}", self.name, self.version)
        };
        for hash in &self.hashes {
            text.push_str(" \\\n    ");
            text.push_str(hash);
        }
        text.push('\n');
        text
    }
}

/// The entries of a lock, as `uv pip compile` writes it.
pub fn pins(lock: &str) -> Vec<Pin> {
    let joined = lock.replace("\\\n", " ");
    let mut pins = Vec::new();
    for (_, line, name) in in_file(&joined) {
        let (hashes, words): (Vec<&str>, Vec<&str>) = line
            .split_whitespace()
            .partition(|word| word.starts_with("--hash="));
        let line = words.join(" ");
        let version = line
            .split_once("==")
            .map(|(_, rest)| rest.split([' ', ';']).next().unwrap_or_default());
        pins.push(Pin {
            name,
            version: version.unwrap_or_default().to_string(),
            hashes: hashes.into_iter().map(String::from).collect(),
            line,
        });
    }
    pins
}

/// The versions of a lock by their names: several where markers tell them apart.
pub fn versions(pins: &[Pin]) -> BTreeMap<&str, Vec<&Pin>> {
    let mut versions: BTreeMap<&str, Vec<&Pin>> = BTreeMap::new();
    for pin in pins {
        versions.entry(&pin.name).or_default().push(pin);
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_the_same() {
        for spelling in ["Foo.Bar", "foo-bar", "FOO__bar", "foo-.-bar"] {
            assert_eq!(normalize(spelling), "foo-bar", "{spelling}");
        }
    }

    #[test]
    fn the_name_of_a_requirement_is_found_and_nothing_is_taken_for_one() {
        for (requirement, expected) in [
            ("numpy", Some("numpy")),
            ("pennylane <1", Some("pennylane")),
            ("Foo_Bar[a,b]>=1,<2 ; python_version > '3'", Some("foo-bar")),
            ("x @ file:///srv/x.whl", Some("x")),
            ("--index-url x", None),
            ("-r other.txt", None),
            ("./x.whl", None),
            ("git+https://example.org/x", None),
            ("two words", None),
            ("=nonsense=", None),
            ("", None),
        ] {
            assert_eq!(name(requirement).as_deref(), expected, "{requirement}");
        }
    }

    #[test]
    fn comments_and_options_of_a_file_are_left_out() {
        let text = "# numpy\nnumpy<3 # for me\n\n--pre\nfoo#bar\n  six\n";
        let found: Vec<_> = in_file(text).collect();
        assert_eq!(found[0], (2, "numpy<3", "numpy".into()));
        assert_eq!(found.last().unwrap(), &(6, "six", "six".into()));
    }

    #[test]
    fn options_are_found_in_every_spelling() {
        let text = "-r a.txt\n-rb.txt\n--requirement=c.txt # x\n--requirement d.txt\nnumpy\n-c e\n";
        let found: Vec<_> = options(text, &["-r", "--requirement"])
            .map(|(_, value)| value)
            .collect();
        assert_eq!(found, ["a.txt", "b.txt", "c.txt", "d.txt"]);
    }

    #[test]
    fn an_address_is_not_shown() {
        assert_eq!(shown("x @ https://u:s3cret@h/x.whl"), "x");
        assert_eq!(shown("x[a]@https://u:s3cret@h/x.whl"), "x[a]");
        assert_eq!(shown("numpy<2"), "numpy<2");
    }

    #[test]
    fn a_lock_is_read_with_its_hashes_and_markers() {
        let lock = "# why\nclick==8.5.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n\
                    numpy==2.2.6 ; python_full_version < '3.11' \\\n    --hash=sha256:cc\n\
                    numpy==2.4.6 ; python_full_version >= '3.11' \\\n    --hash=sha256:dd\n\
                    mine @ file:///srv/mine.whl\n";
        let pins = pins(lock);
        let by_name = versions(&pins);
        assert_eq!(by_name["numpy"].len(), 2);
        assert_eq!(by_name["numpy"][1].version, "2.4.6");
        assert_eq!(
            by_name["click"][0].text(),
            "click==8.5.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        );
        assert_eq!(by_name["mine"][0].text(), "mine @ file:///srv/mine.whl\n");
    }
}
