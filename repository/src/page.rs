//! The page at the address of the repository.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;

use crate::index::{Entry, Suite};
use crate::key::{Key, spaced};
use crate::keyring;
use crate::options::is_insecure;
use crate::package::Family;
use crate::publication::Publication;
use crate::tool::{output, tool};

const TEMPLATE: &str = include_str!("../web/index.html");

// How `install.sh` comes to a machine, where TLS keeps it whole on the way, and where nothing does.
const FETCH: &str = include_str!("../web/fetch.html");
const BRING: &str = include_str!("../web/bring.html");

/// What `install.sh` does, to be typed. It begins with keys that only TLS keeps whole on the way.
const BY_HAND: &str = include_str!("../web/by-hand.html");

/// The package whose changelog is shown.
const MAIN: &str = "covalent";

/// What the page tells.
#[derive(Debug)]
pub struct Page<'a> {
    /// The publication that it describes.
    pub publication: &'a Publication,
    /// Where machines reach the tree.
    pub address: &'a str,
    /// The keys that sign.
    pub keys: &'a [Key],
    /// The packages.
    pub listings: &'a [Listing],
}

/// The packages of a family in a suite.
#[derive(Debug)]
pub struct Listing {
    /// The family.
    pub family: Family,
    /// The suite.
    pub suite: Suite,
    /// The packages by name, the newest version first.
    pub entries: Vec<Item>,
}

/// A package of a listing.
#[derive(Debug)]
pub struct Item {
    /// Its path from the top of the tree.
    pub path: String,
    /// When it was published.
    pub published: Timestamp,
    /// What the index says.
    pub entry: Entry,
}

/// The page's text.
pub fn render(page: &Page) -> Result<String> {
    let fingerprints: String = page
        .keys
        .iter()
        .map(|key| {
            format!(
                "<p><code class=\"digest\">{}</code></p>\n",
                spaced(&key.fingerprint)
            )
        })
        .collect();
    let (fetch, by_hand) = if is_insecure(page.address) {
        (BRING, "")
    } else {
        (FETCH, BY_HAND)
    };
    Ok(TEMPLATE
        .replace("@FETCH@\n", fetch)
        .replace("@BY_HAND@\n", by_hand)
        .replace("@ADDRESS@", &escaped(page.address))
        .replace("@FINGERPRINTS@", fingerprints.trim_end())
        .replace("@NEWEST@", &newest(page.listings))
        .replace("@PACKAGES@", &packages(page.listings)?)
        .replace("@CHANGELOG@", &escaped(changelog(page)?.trim_end())))
}

/// The version of the main package that machines get.
fn newest(listings: &[Listing]) -> String {
    let stable = listings
        .iter()
        .filter(|listing| listing.suite == Suite::Stable);
    let mut entries = stable.flat_map(|listing| &listing.entries);
    match entries.find(|item| item.entry.name == MAIN) {
        Some(item) => format!("Version {}", escaped(&item.entry.version)),
        None => "No version yet".to_string(),
    }
}

fn packages(listings: &[Listing]) -> Result<String> {
    let mut text = String::new();
    // The keys alone are nothing to be told about.
    let told = |listing: &&Listing| {
        listing
            .entries
            .iter()
            .any(|item| item.entry.name != keyring::NAME)
    };
    for listing in listings.iter().filter(told) {
        let title = match (listing.family, listing.suite) {
            (Family::Deb, Suite::Stable) => "Debian and Ubuntu",
            (Family::Rpm, Suite::Stable) => "Fedora, RHEL and relatives",
            (Family::Deb, Suite::Testing) => "Debian and Ubuntu, suite testing",
            (Family::Rpm, Suite::Testing) => {
                "Fedora, RHEL and relatives, repository covalent-testing"
            }
        };
        writeln!(text, "<h3>{title}</h3>")?;
        let (new, old) = by_age(&listing.entries);
        write!(text, "{}", list(&new)?)?;
        if !old.is_empty() {
            writeln!(text, "<details><summary>Older versions</summary>")?;
            writeln!(text, "{}</details>", list(&old)?)?;
        }
    }
    Ok(text)
}

/// The newest version of each package, and the others.
fn by_age(entries: &[Item]) -> (Vec<&Item>, Vec<&Item>) {
    let mut parts = (Vec::new(), Vec::new());
    let mut last = None;
    for item in entries {
        let package = (&item.entry.name, &item.entry.architecture);
        if last == Some(package) {
            parts.1.push(item);
        } else {
            parts.0.push(item);
        }
        last = Some(package);
    }
    parts
}

fn list(items: &[&Item]) -> Result<String> {
    let mut text = String::from("<ul class=\"packages\">\n");
    for Item {
        path,
        published,
        entry,
    } in items
    {
        let date = published.strftime("%Y-%m-%d");
        writeln!(
            text,
            "<li><a href=\"{}\"><b>{}</b> {}</a> <span>{}, {}, {date}</span>\
             <code class=\"digest\">SHA-256 {}</code></li>",
            escaped(path),
            escaped(&entry.name),
            escaped(&entry.version),
            escaped(&entry.architecture),
            size(entry.size),
            escaped(&entry.sha256),
        )?;
    }
    writeln!(text, "</ul>")?;
    Ok(text)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Text in HTML, in an attribute too.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The changelog in the newest Debian package, as Debian's policy (section 12.7) has it there.
fn changelog(page: &Page) -> Result<String> {
    let stable =
        |listing: &&Listing| (listing.family, listing.suite) == (Family::Deb, Suite::Stable);
    let mut entries = page
        .listings
        .iter()
        .filter(stable)
        .flat_map(|listing| &listing.entries);
    let Some(item) = entries.find(|item| item.entry.name == MAIN) else {
        return Ok(String::new());
    };
    let script = "dpkg-deb --fsys-tarfile \"$1\" | \
        tar --extract --to-stdout --wildcards './usr/share/doc/*/changelog*gz' | gzip --decompress";
    let shell = tool("sh", Path::new("/")).args(["-c", script, "sh"]);
    output(shell.args([page.publication.path(&item.path)]), || {
        "reading the changelog".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(10_184), "11 kB");
        assert_eq!(size(84_429_116), "84.4 MB");
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(
            escaped("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }
}
