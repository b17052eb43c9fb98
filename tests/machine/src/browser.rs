//! Chromium without a window.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::command::run;

/// How long it may take for a page, on two busy cores.
const LIMIT: Duration = Duration::from_secs(120);

/// What it would ask its maker of its own accord: no page's requests are among these.
const SILENT: [&str; 5] = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    // What each field of a form is for.
    "--disable-features=AutofillServerCommunication",
];

/// A page as its scripts leave it. `chromium` is the command with what only this page needs.
pub fn show(mut chromium: Command, profile: &Path, address: &str) -> Result<String> {
    chromium
        .args(SILENT)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--virtual-time-budget=15000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .stdin(Stdio::null());
    let output =
        run(&mut chromium, LIMIT).context("no page of chromium's; scripts/test installs it")?;
    ensure!(output.success(), "{output}");
    Ok(output.stdout)
}
