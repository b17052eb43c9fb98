//! Whether the service account is one that somebody logs in as, or that can become root.
//!
//! The packages make the account as it should be. One of the same name that is there already stays
//! what it is, and tasks are run as that.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::system::account::NAME;
use crate::system::command::Command;
use crate::system::host::Host;
use crate::system::role::Role;

/// A directory service may be asked, over a network.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// The first number of an ordinary user where login.defs(5) does not say.
const UID_MIN: u32 = 1000;

/// Groups whose members can become root, or read and write what root can.
const PRIVILEGED: [&str; 14] = [
    "root",
    "adm",
    "admin",
    "disk",
    "docker",
    "incus",
    "incus-admin",
    "kmem",
    "libvirt",
    "lxd",
    "shadow",
    "sudo",
    "wheel",
    "staff",
];

/// How an account of that name must not be, or had better not.
#[derive(Debug, PartialEq, Eq)]
pub struct Objection {
    /// Whether whoever reaches the server could be root.
    pub serious: bool,
    /// What is wrong.
    pub cause: String,
    /// What to type.
    pub cure: String,
}

/// What is to be said against the account, if anything.
pub fn objection(host: &Host) -> Result<Option<Objection>> {
    if !host.is_real() {
        return Ok(None);
    }
    let look_up = |program: &str, arguments: [&str; 2]| {
        let output = Command::new(program, LOOKUP_LIMIT)
            .args(arguments)
            .output()?;
        Ok::<_, anyhow::Error>(output.stdout.trim().to_string())
    };
    let entry = look_up("getent", ["passwd", NAME])?;
    if entry.is_empty() {
        return Ok(None);
    }
    let groups = look_up("id", ["-nG", NAME])?;
    let first = fs::read_to_string(host.path("/etc/login.defs")).unwrap_or_default();
    judge(&entry, &groups, uid_min(&first), Role::of(host))
}

fn uid_min(login_defs: &str) -> u32 {
    let mut lines = login_defs.lines().map(str::split_whitespace);
    let found = lines.find_map(|mut words| match words.next() {
        Some("UID_MIN") => words.next()?.parse().ok(),
        _ => None,
    });
    found.unwrap_or(UID_MIN)
}

/// `entry` is a line of passwd(5), `groups` are names.
fn judge(entry: &str, groups: &str, uid_min: u32, role: Role) -> Result<Option<Objection>> {
    let unit = role.service();
    let fields: Vec<&str> = entry.split(':').collect();
    let [_, _, uid, _, _, _, shell] = fields[..] else {
        anyhow::bail!("{entry:?} is not a line of passwd(5)");
    };
    let uid: u32 = uid.parse().context("reading the account's number")?;
    let privileged = groups
        .split_whitespace()
        .find(|group| PRIVILEGED.contains(group));
    if uid == 0 {
        return Ok(Some(Objection {
            serious: true,
            cause: format!("the account {NAME} is root by another name, and so is every task"),
            cure: format!("sudo userdel {NAME}; sudo systemd-sysusers covalent.conf"),
        }));
    }
    if let Some(group) = privileged {
        return Ok(Some(Objection {
            serious: true,
            cause: format!(
                "the account {NAME} is in the group {group}, so whoever reaches the server can \
                 become root"
            ),
            cure: format!("sudo gpasswd --delete {NAME} {group}; sudo systemctl restart {unit}"),
        }));
    }
    let logs_in = !shell.ends_with("/nologin") && !shell.ends_with("/false");
    Ok((logs_in || uid >= uid_min).then(|| Objection {
        serious: false,
        cause: format!(
            "the account {NAME} existed before the package and is an ordinary user (number {uid}, \
             shell {shell}): tasks run as that user and reach whatever it can"
        ),
        cure: format!(
            "unless that is meant, give that user another name: sudo systemctl stop {unit}; sudo \
             usermod --login ANOTHER {NAME}; sudo systemd-sysusers covalent.conf; sudo {}; sudo \
             systemctl start {unit}",
            match role {
                Role::Server => "covalentctl adopt",
                Role::Worker => "systemd-tmpfiles --create covalent.conf",
            }
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_a_person_or_of_root_is_objected_to() {
        let judge = |uid: u32, shell: &str, groups: &str| {
            let entry = format!("covalent:x:{uid}:{uid}:Covalent:/var/lib/covalent:{shell}");
            judge(&entry, groups, 1000, Role::Server).unwrap()
        };
        assert_eq!(judge(998, "/usr/sbin/nologin", "covalent slurm"), None);
        assert_eq!(judge(998, "/bin/false", "covalent"), None);
        for (uid, shell, groups, serious, word) in [
            (998, "/bin/bash", "covalent", false, "ordinary user"),
            (1001, "/usr/sbin/nologin", "covalent", false, "number 1001"),
            (1001, "/bin/bash", "covalent sudo", true, "the group sudo"),
            (
                998,
                "/usr/sbin/nologin",
                "covalent docker",
                true,
                "the group docker",
            ),
            (0, "/usr/sbin/nologin", "root", true, "root by another name"),
        ] {
            let found = judge(uid, shell, groups).unwrap();
            assert_eq!(found.serious, serious, "{found:?}");
            assert!(found.cause.contains(word), "{found:?}");
        }
    }

    #[test]
    fn what_to_type_names_the_unit_of_the_machine() {
        let entry = "covalent:x:1001:1001::/home/covalent:/bin/bash";
        for (groups, in_both) in [
            ("covalent sudo", "systemctl restart"),
            ("covalent", "systemctl stop"),
        ] {
            let cure = |role| judge(entry, groups, 1000, role).unwrap().unwrap().cure;
            let (server, worker) = (cure(Role::Server), cure(Role::Worker));
            assert!(server.contains(&format!("{in_both} covalent")) && !server.contains("-worker"));
            assert!(
                worker.contains(&format!("{in_both} covalent-worker")) && !worker.contains("adopt")
            );
        }
    }

    #[test]
    fn ordinary_users_begin_where_the_machine_says() {
        assert_eq!(uid_min("# x\nUID_MAX 60000\nUID_MIN\t 500\n"), 500);
        assert_eq!(uid_min(""), UID_MIN);
    }
}
