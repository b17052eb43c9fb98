//! uv, which makes environments and installs into them.

use std::time::Duration;

use crate::system::command::Command;
use crate::system::host::Host;

/// uv, the same for everybody's home and configuration.
pub fn uv(host: &Host, limit: Duration) -> Command {
    Command::new(host.uv(), limit)
        // A configuration file or a download of somebody's must not decide what we build.
        .env("UV_NO_CONFIG", "1")
        .env("UV_PYTHON_DOWNLOADS", "never")
        .env("UV_LINK_MODE", "hardlink")
        .env("UV_NO_PROGRESS", "1")
        .env("HOME", host.state())
        .args(["--color", "never"])
}
