//! Covalent as its own instructions make it a service.

use anyhow::Result;
use machine::packages::wait_for_answer;
use machine::{Machine, by_hand};

use super::Service;

/// Its service, beside ours on the same machine.
pub const OWN: Service = Service {
    unit: "own.service",
    port: 48009,
    python: "/opt/virtualenvs/own/bin/python",
};

/// Where it keeps its database.
pub const OWN_DATABASE: &str = "/var/lib/own/.local/share/covalent/dispatcher_db.sqlite";

/// Makes it from the same versions as ours, compiled as pip does it, and starts it once.
pub fn install(machine: &Machine) -> Result<()> {
    machine.ok(
        "uv() { /usr/libexec/covalent/uv --quiet --no-config --offline \"$@\"; }
         uv venv --no-python-downloads --python /usr/bin/python3 /opt/virtualenvs/own
         uv pip sync --python /opt/virtualenvs/own --require-hashes --compile-bytecode \
             --no-index --find-links /usr/share/covalent/wheels \
             --find-links /usr/share/covalent/wheelhouse \
             --link-mode copy /usr/share/covalent/covalent.lock
         mkdir /var/lib/own",
    )?;
    let environment = format!("COVALENT_SVC_PORT={}\n", OWN.port);
    machine.write_file("/etc/own/covalent.env", environment, 0o644)?;
    machine.write_file(
        "/etc/systemd/system/own.service",
        by_hand::unit("own"),
        0o644,
    )?;
    machine.ok("systemctl daemon-reload; systemctl start own")?;
    wait_for_answer(machine, OWN.port)
}
