//! What it means that the unit's process ended before any program of ours ran: the exit statuses that
//! systemd itself gives (systemd.exec(5), "Process Exit Codes").

use crate::system::role::Role;
use crate::system::systemd;

/// The statuses are systemd's from this one on.
const FIRST: u32 = 200;

/// A cause and what to type.
#[derive(Debug)]
pub struct Explanation {
    /// What systemd could not do.
    pub cause: String,
    /// What to type.
    pub cure: String,
}

/// What the status means, if it is one of systemd's.
pub fn explain(role: Role, status: u32) -> Option<Explanation> {
    if status < FIRST {
        return None;
    }
    let explanation = |cause: &str, cure: &str| {
        Some(Explanation {
            cause: format!(
                "systemd could not start the {} ({status}): {cause}",
                role.noun()
            ),
            cure: format!("{cure}; then: sudo systemctl restart {}", role.service()),
        })
    };
    match status {
        200 => explanation(
            "its account can't enter the folder that it starts in, or that is missing",
            "sudo systemd-tmpfiles --create covalent.conf, and check that covalent owns \
             /var/lib/covalent",
        ),
        203 => explanation(
            "/usr/bin/covalentctl can't be executed",
            "ls -lL /usr/bin/covalentctl, and findmnt --target /usr/bin for noexec",
        ),
        216 | 217 => explanation(
            "its account is missing",
            "sudo systemd-sysusers covalent.conf",
        ),
        226 => {
            let (cause, cure) = namespace(role);
            explanation(cause, &cure)
        }
        _ => explanation(
            "systemd.exec(5) explains the status",
            "covalentctl logs -n 50 says more",
        ),
    }
}

/// Why the sandbox can't be set up, and what to type.
pub fn namespace(role: Role) -> (&'static str, String) {
    let service = role.service();
    if systemd::is_in_container() {
        (
            "this container may not make mount namespaces, of which the sandbox of tasks consists",
            format!(
                "allow them (nesting, where containers are configured), or do without the sandbox, \
                 so that tasks see what the account sees: sudo install -Dm 644 \
                 /usr/share/covalent/without-namespaces.conf -t \
                 /etc/systemd/system/{service}.service.d; sudo systemctl daemon-reload"
            ),
        )
    } else {
        (
            "a folder of the sandbox is missing, or mount namespaces are not allowed",
            format!(
                "systemctl show {service} -p \
                 ReadWritePaths,ReadOnlyPaths,BindPaths,BindReadOnlyPaths names the folders: make \
                 the missing one, or write '-' before it"
            ),
        )
    }
}
