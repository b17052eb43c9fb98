//! Whether the unit's last start got as far as a program of the package.

use super::verdict::{Verdict, bad, good, skipped};
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::systemd;
use crate::system::unit_exit::explain;

/// Whether systemd could start the unit's process.
pub(super) fn start(host: &Host) -> Verdict {
    let shown = systemd::show(host, &["ActiveState", "ExecMainStatus"]);
    let property = |name: &str| shown.get(name).map_or("", String::as_str);
    if shown.is_empty() {
        return skipped("systemd is not running");
    }
    let status = property("ExecMainStatus").parse().unwrap_or_default();
    match explain(Role::of(host), status).filter(|_| property("ActiveState") != "active") {
        Some(why) => bad(why.cause, why.cure),
        None => good(format!(
            "systemd can start the {}'s process",
            Role::of(host).noun()
        )),
    }
}
