//! The proxy's unit.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::settings::Settings;
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::systemd;

/// Its unit.
pub const UNIT: &str = "covalent-https.service";

/// Reading two files takes HAProxy less than a second.
const LIMIT: Duration = Duration::from_secs(60);

const HAPROXY: &str = "/usr/sbin/haproxy";

/// Lets a proxy that runs read its files again. Requests that it has begun are answered.
pub fn reload(host: &Host) -> Result<()> {
    if !systemd::is_running(host) {
        return Ok(());
    }
    Command::new("systemctl", LIMIT)
        .args(["try-reload-or-restart", UNIT])
        .run()
        .map(drop)
        .map_err(|error| {
            Failure::error(
                Kind::Settings,
                format!("{UNIT} runs on as it was: {error}"),
                format!(
                    "journalctl --unit {UNIT} -n 20 says why; then: sudo systemctl restart {UNIT}"
                ),
            )
        })
}

/// Lets HAProxy itself say whether it can use a file with a certificate and its key.
pub fn check(host: &Host, settings: &Settings, certificate: &Path) -> Result<()> {
    if !host.is_real() {
        return Ok(());
    }
    let files = [host.https().join("users.cfg"), host.https_configuration()];
    Command::new(HAPROXY, LIMIT)
        .env("COVALENT_HTTPS_LISTEN", settings.listen())
        .env("COVALENT_HTTPS_CERTIFICATE", certificate)
        .args(["-c", "-q"])
        .args(
            files
                .iter()
                .flat_map(|file| ["-f".as_ref(), file.as_os_str()]),
        )
        .run()
        .map(drop)
        .context("HAProxy can't use them")
}
