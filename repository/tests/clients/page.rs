//! The page, in a browser.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::fixture::{Fixture, run, said};
use crate::tiny;

/// The page after its scripts have run, unless they are off, and a picture of it in target/.
fn shown(fixture: &Fixture, width: u32, options: &[&str], picture: &str) -> Result<String> {
    let profile = tempfile::tempdir()?;
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let mut chromium = Command::new("chromium");
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--window-size={width},1400"))
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", pictures.join(picture).display()))
        .args(options)
        .arg(format!("{}/index.html", fixture.server.address));
    run(&mut chromium)
}

/// The versions of the package `covalent` that a family's list on the page links to, with an empty one
/// for the fold.
fn in_order<'a>(page: &'a str, family: &str) -> Vec<&'a str> {
    let lists = page.split("<h3>").filter(|list| list.contains(family));
    let lines = lists.flat_map(str::lines);
    let versions = lines.filter_map(|line| {
        if line.contains("<details>") {
            return Some("");
        }
        let (_, rest) = line.split_once("<b>covalent</b> ")?;
        rest.split_once("</a>").map(|(version, _)| version)
    });
    versions.collect()
}

#[test]
fn a_browser_shows_the_page() -> Result<()> {
    let mut fixture = Fixture::new()?;
    fixture.address = "https://packages.example.org/covalent".into();
    for version in ["1-10", "1-1", "2-1", "1-9"] {
        fixture.add(
            &[],
            &tiny::packages(&fixture.path(""), "covalent", version)?,
        )?;
    }
    let page = fixture.text("index.html")?;
    // Nothing of another host's, and nothing that is fetched at all.
    for reference in [
        "src=",
        "url(",
        "@import",
        "<link rel=\"stylesheet",
        "fetch(",
    ] {
        ensure!(!page.contains(reference), "{reference}: {page}");
    }
    let deb = fixture.only(&["covalent_2-1_all.deb"])?;
    let digest = run(Command::new("sha256sum").arg(deb))?;
    let key = &fixture.fingerprints()?[0];
    let install = format!("curl -fsSO {}/install.sh", fixture.address);
    let keys = format!("{}/covalent-archive-keyring.gpg\n", fixture.address);
    let spaced: Vec<&str> = key
        .as_bytes()
        .chunks(4)
        .filter_map(|group| str::from_utf8(group).ok())
        .collect();
    let expected = [
        "Version 2-1",
        digest.split(' ').next().unwrap_or_default(),
        &spaced.join(" "),
        &install,
        &keys,
        "sudo apt install covalent",
        "sudo dnf install covalent",
        "covalent_1-1_all.deb",
        "covalent-2-1.noarch.rpm",
        // The changelog's text is no markup.
        "* &lt;Tiny&gt;.",
        "Older versions",
    ];
    let desktop = shown(&fixture, 1200, &[], "page-desktop.png")?;
    ensure!(desktop.contains("<button>Copy</button>"), "{desktop}");
    let telephone = shown(
        &fixture,
        500,
        &[
            "--force-dark-mode",
            "--blink-settings=preferredColorScheme=0",
        ],
        "page-telephone-dark.png",
    )?;
    // Without scripts the page is what the file says; a browser cannot print it then, but draws it.
    let off = "--blink-settings=scriptEnabled=false";
    shown(&fixture, 500, &[off], "page-without-scripts.png")?;
    ensure!(!page.contains("<button>"), "{page}");
    for family in ["_all.deb", ".noarch.rpm"] {
        // The newest first, and alone before the fold.
        ensure!(
            in_order(&page, family) == ["2-1", "", "1-10", "1-9", "1-1"],
            "{page}"
        );
    }
    for shown in [&desktop, &telephone, &page] {
        for words in expected {
            ensure!(shown.contains(words), "{words:?} is missing: {shown}");
        }
    }
    Ok(())
}

#[test]
fn an_address_is_no_markup() -> Result<()> {
    let fixture = Fixture::new()?;
    for address in [
        "http://x/\"><script>",
        "ftp://x",
        "http://x/$(id)",
        "https://x/a b",
    ] {
        let tree = fixture.tree().display().to_string();
        let output = fixture.try_publish(&["--insecure-http", "--address", address, &tree])?;
        ensure!(
            !output.status.success() && said(&output).contains("is not the address"),
            "{}",
            said(&output)
        );
    }
    Ok(())
}

#[test]
fn nobody_is_told_to_fetch_without_tls_what_root_runs() -> Result<()> {
    let fixture = Fixture::new()?;
    let tree = fixture.tree().display().to_string();
    let arguments = ["--address", &fixture.address, &tree];
    let output = fixture.try_publish(&arguments)?;
    let said = said(&output);
    ensure!(
        !output.success() && said.contains("has no TLS") && said.contains("--insecure-http"),
        "{said}"
    );
    ensure!(fixture.find(&[])?.is_empty(), "something was published");
    fixture.publish(&[&["--insecure-http"], &arguments[..]].concat())?;
    let page = fixture.text("index.html")?;
    for words in ["curl", "install.sh\n", "RPM-GPG-KEY", "keyrings/"] {
        ensure!(!page.contains(words), "{words:?}: {page}");
    }
    for words in ["has no TLS", "<code>scp</code>", "sudo sh install.sh</pre>"] {
        ensure!(page.contains(words), "{words:?} is missing: {page}");
    }
    // What was accepted once is not asked for every week.
    fixture.publish(&["--resign", &tree]).map(drop)
}
