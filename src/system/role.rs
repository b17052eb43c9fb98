//! What this machine is: the server, or a worker of another machine's server.

use std::path::PathBuf;

use super::host::Host;

/// What the machine is, as the package decides that was installed: covalent or covalent-worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has the server, with workers of its own.
    Server,
    /// It computes for the server of another machine.
    Worker,
}

impl Role {
    /// The role of `host`.
    pub fn of(host: &Host) -> Role {
        if host.worker_unit().exists() {
            Role::Worker
        } else {
            Role::Server
        }
    }

    /// The unit's name without its suffix, as it is typed.
    pub fn service(self) -> &'static str {
        match self {
            Role::Server => "covalent",
            Role::Worker => "covalent-worker",
        }
    }

    /// The unit's name.
    pub fn unit(self) -> &'static str {
        match self {
            Role::Server => "covalent.service",
            Role::Worker => "covalent-worker.service",
        }
    }

    /// The unit as the package brings it.
    pub fn unit_file(self) -> &'static str {
        match self {
            Role::Server => concat!(
                include_str!("../../systemd/covalent.service"),
                "\n",
                include_str!("../../systemd/sandbox.conf"),
            ),
            Role::Worker => concat!(
                include_str!("../../systemd/covalent-worker.service"),
                "\n",
                include_str!("../../systemd/sandbox.conf"),
            ),
        }
    }

    /// Its variables, in the format of systemd's `EnvironmentFile=`.
    pub fn environment_file(self, host: &Host) -> PathBuf {
        match self {
            Role::Server => host.environment_file(),
            Role::Worker => host.worker_environment_file(),
        }
    }

    /// What the unit runs, for a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Worker => "worker",
        }
    }
}
