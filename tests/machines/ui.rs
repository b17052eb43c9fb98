//! The UI in a browser.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, run, wait_until};

use machine::packages::{in_project, installed, run_workflows};

/// How long the page may take to show what it has fetched.
const PAGE_LIMIT: Duration = Duration::from_secs(60);

/// How long the browser may take for a page, on two busy cores.
const BROWSER_LIMIT: Duration = Duration::from_secs(120);

/// The page as the browser shows it after its scripts have run, and a picture of it.
fn page(machine: &Machine, address: &str, picture: &str) -> Result<String> {
    let profile = tempfile::tempdir()?;
    let mut chromium = machine.netns_command("chromium");
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--window-size=1400,900",
            "--virtual-time-budget=15000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!(
            "--screenshot={}",
            in_project("target").join(picture).display()
        ))
        .arg(address)
        .stdin(Stdio::null());
    let output = run(&mut chromium, BROWSER_LIMIT)
        .context("no page of chromium's; scripts/test installs it")?;
    ensure!(output.success(), "{output}");
    Ok(output.stdout)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn shows_a_completed_workflow() -> Result<()> {
    let machine = installed("bookworm")?;
    run_workflows(&machine, Some("sublattice"))?;
    let list = machine
        .ok("curl --silent --fail 'http://localhost:48008/api/v1/dispatches/list?count=1'")?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let dispatch = list["items"][0]["dispatch_id"]
        .as_str()
        .context("a dispatch")?
        .to_string();

    wait_until("the workflow on the page", PAGE_LIMIT, || {
        let shown = page(&machine, "http://localhost:48008/", "ui-list.png")?;
        ensure!(
            shown.contains(&dispatch[..8]) && shown.contains("Completed"),
            "{shown}"
        );
        Ok::<_, anyhow::Error>(())
    })?;
    // A page below the first one, as a reload asks for it: as released, error 500.
    let address = format!("http://localhost:48008/{dispatch}");
    wait_until("the workflow's own page", PAGE_LIMIT, || {
        let shown = page(&machine, &address, "ui-workflow.png")?;
        ensure!(
            shown.contains(&dispatch) && shown.contains("Completed"),
            "{shown}"
        );
        Ok::<_, anyhow::Error>(())
    })
}
