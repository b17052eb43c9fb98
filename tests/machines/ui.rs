//! The UI in a browser.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, browser, wait_until};
use serde_json::Value;

use machine::packages::{in_project, installed, run_workflows};

/// How long the page may take to show what it has fetched.
const PAGE_LIMIT: Duration = Duration::from_secs(60);

/// Whom a page of the UI asks.
const OWN: [&str; 1] = ["localhost"];

/// Where Covalent's page has its fonts.
const FONTS: [&str; 2] = ["fonts.googleapis.com", "fonts.gstatic.com"];

/// A page that the browser has shown.
struct Page {
    /// As its scripts left it.
    shown: String,
    /// The hosts that it has asked for something.
    asked: Vec<String>,
}

/// Has the browser show a page, and draw a picture of it.
fn page(machine: &Machine, address: &str, picture: &str) -> Result<Page> {
    let profile = tempfile::tempdir()?;
    let log = profile.path().join("network.json");
    let mut chromium = machine.netns_command("chromium");
    chromium
        .arg("--window-size=1400,900")
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!(
            "--screenshot={}",
            in_project("target").join(picture).display()
        ));
    let shown = browser::show(chromium, profile.path(), address)?;
    let log = serde_json::from_str(&fs::read_to_string(&log)?)
        .with_context(|| format!("reading {}", log.display()))?;
    Ok(Page {
        shown,
        asked: asked(&log),
    })
}

/// The hosts that a page asked for something, or had looked up; the browser's own requests are of no
/// page.
fn asked(log: &Value) -> Vec<String> {
    let events = log["events"].as_array().into_iter().flatten();
    let mut found: Vec<String> = events
        .filter_map(|event| {
            let details = &event["params"];
            let is_a_pages = |name: &str| {
                let who = details[name].as_str();
                who.is_some_and(|who| who.starts_with("http://localhost"))
            };
            let place = if is_a_pages("initiator") {
                details["url"].as_str()
            } else if is_a_pages("network_anonymization_key") {
                details["host"].as_str()
            } else {
                None
            }?;
            let host = place.split_once("://").map_or(place, |(_, rest)| rest);
            Some(host.split(['/', ':']).next()?.to_string())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn shows_a_completed_workflow() -> Result<()> {
    let machine = installed("bookworm")?;
    run_workflows(&machine, Some("sublattice"))?;
    let list = machine
        .ok("curl --silent --fail 'http://localhost:48008/api/v1/dispatches/list?count=1'")?;
    let list: Value = serde_json::from_str(&list)?;
    let dispatch = list["items"][0]["dispatch_id"]
        .as_str()
        .context("a dispatch")?
        .to_string();

    wait_until("the workflow on the page", PAGE_LIMIT, || {
        let Page { shown, asked } = page(&machine, "http://localhost:48008/", "ui-list.png")?;
        ensure!(
            shown.contains(&dispatch[..8]) && shown.contains("Completed"),
            "{shown}"
        );
        ensure!(asked == OWN, "{asked:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    // A page below the first one, as a reload asks for it: as released, error 500.
    let address = format!("http://localhost:48008/{dispatch}");
    wait_until("the workflow's own page", PAGE_LIMIT, || {
        let Page { shown, asked } = page(&machine, &address, "ui-workflow.png")?;
        ensure!(
            shown.contains(&dispatch) && shown.contains("Completed"),
            "{shown}"
        );
        ensure!(asked == OWN, "{asked:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    as_released_it_asks_for_fonts(&machine)
}

/// The same page, as Covalent would serve it.
fn as_released_it_asks_for_fonts(machine: &Machine) -> Result<()> {
    let folder = "/opt/virtualenvs/covalent/lib/python3.*/site-packages/covalent_ui/webapp/build";
    machine.ok(&format!(
        "systemd-run --quiet --unit released python3 -m http.server --directory {folder} 48009"
    ))?;
    let address = "http://localhost:48009/index.html";
    wait_until("the page as released", PAGE_LIMIT, || {
        machine.ok(&format!("curl --silent --fail {address}"))
    })?;
    let Page { asked, .. } = page(machine, address, "ui-released.png")?;
    ensure!(asked[..2] == FONTS && asked[2..] == OWN, "{asked:?}");
    Ok(())
}
