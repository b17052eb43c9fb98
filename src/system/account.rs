//! The service account.

use std::time::Duration;

use anyhow::{Context, Result};

use super::command::Command;
use super::host::Host;

/// The account that the server and its tasks run as; the package makes it.
pub const NAME: &str = "covalent";

/// A directory service may be asked, over a network; a local file answers at once.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// `getent`'s status for a name that is not there (getent(1)).
const NOT_FOUND: i32 = 2;

/// An account's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl Account {
    /// The service account; `None` where there is none, as in a tree that is not a machine.
    pub fn service(host: &Host) -> Result<Option<Account>> {
        Account::named(host, NAME)
    }

    /// The account of that name; `None` where there is none, as in a tree that is not a machine.
    pub fn named(host: &Host, name: &str) -> Result<Option<Account>> {
        if !host.is_real() {
            return Ok(None);
        }
        let output = Command::new("getent", LOOKUP_LIMIT)
            .args(["passwd", "--", name])
            .output()?;
        match output.status.and_then(|status| status.code()) {
            Some(0) => parse(&output.stdout)
                .map(Some)
                .with_context(|| format!("looking up the account {name}")),
            Some(NOT_FOUND) => Ok(None),
            _ => anyhow::bail!("looking up the account {name}: {}", output.stderr.trim()),
        }
    }

    /// The service account, or an error that says that there is none.
    pub fn required(host: &Host) -> Result<Account> {
        Account::service(host)?
            .with_context(|| format!("there is no account {NAME}; install the package again"))
    }
}

/// Whether there is a group of that name; in a tree that is not a machine there may be any.
pub fn is_group(host: &Host, name: &str) -> Result<bool> {
    if !host.is_real() {
        return Ok(true);
    }
    let output = Command::new("getent", LOOKUP_LIMIT)
        .args(["group", "--", name])
        .output()?;
    match output.status.and_then(|status| status.code()) {
        Some(0) => Ok(true),
        Some(NOT_FOUND) => Ok(false),
        _ => anyhow::bail!("looking up the group {name}: {}", output.stderr.trim()),
    }
}

/// Reads a line of passwd(5).
fn parse(line: &str) -> Result<Account> {
    let mut numbers = line.split(':').skip(2).take(2).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(uid)), Some(Ok(gid))) => Ok(Account { uid, gid }),
        _ => anyhow::bail!("{:?} is not a line of passwd(5)", line.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_gives_both_numbers() {
        let line = "covalent:x:998:997:Covalent:/var/lib/covalent:/usr/sbin/nologin\n";
        assert_eq!(parse(line).unwrap(), Account { uid: 998, gid: 997 });
        assert!(parse("covalent:x:many:997").is_err());
        assert!(parse("").is_err());
    }
}
