//! Who may log in: HAProxy's `userlist`, and the key of the cookie that https.cfg describes.

use anyhow::{Context, Result, bail, ensure};

use super::password::{self, Password};
use super::{proxy, write};
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

/// In the folder of HTTPS.
const FILE: &str = "users.cfg";

const HEADING: &str = "# Who may log in, and the key of the cookie that https.cfg describes. Written by `covalentctl user`.";

/// What a line starts with.
const KEY: &str = "    setenv COVALENT_HTTPS_COOKIE_KEY ";
const USER: &str = "    user ";

/// Characters of a name at most.
const LONGEST: usize = 32;

/// Someone who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    /// As crypt(5) has it.
    hash: String,
}

/// All of them.
#[derive(Debug)]
struct Users {
    key: String,
    all: Vec<User>,
}

/// Adds a user. Returns the password, which is kept nowhere.
pub fn add(host: &Host, name: &str, progress: &Progress) -> Result<Password> {
    require_name(name)?;
    change(host, progress, |users| {
        if users.position(name).is_some() {
            return Err(Failure::error(
                Kind::Settings,
                format!("there is a user {name} already"),
                format!("for a new password: sudo covalentctl user password {name}"),
            ));
        }
        let (password, hash) = password::make()?;
        let name = name.to_string();
        users.all.push(User { name, hash });
        Ok(password)
    })
}

/// Gives a user a new password, which is kept nowhere, and takes the old one away.
pub fn renew_password(host: &Host, name: &str, progress: &Progress) -> Result<Password> {
    change(host, progress, |users| {
        let position = users.known(name)?;
        let (password, hash) = password::make()?;
        users.all[position].hash = hash;
        users.key = password::key()?;
        Ok(password)
    })
}

/// Takes a user away.
pub fn remove(host: &Host, name: &str, progress: &Progress) -> Result<()> {
    change(host, progress, |users| {
        let position = users.known(name)?;
        users.all.remove(position);
        users.key = password::key()?;
        Ok(())
    })
}

/// The names of all, in the order in which they were added.
pub fn names(host: &Host) -> Result<Vec<String>> {
    let users = Users::read(host)?;
    let all = users.map_or_else(Vec::new, |users| users.all);
    Ok(all.into_iter().map(|user| user.name).collect())
}

/// Lets HAProxy read what was changed.
pub fn reload(host: &Host) -> Result<()> {
    proxy::reload(host).context("the users are changed, but HAProxy does not know it yet")
}

/// Makes the file, with nobody in it, if it is not there.
pub fn prepare(host: &Host) -> Result<()> {
    match Users::read(host)? {
        Some(_) => Ok(()),
        None => Users::nobody()?.write(host),
    }
}

/// Changes the file.
fn change<T>(
    host: &Host,
    progress: &Progress,
    edit: impl FnOnce(&mut Users) -> Result<T>,
) -> Result<T> {
    let _turn = Turn::acquire(host, progress)?;
    let mut users = match Users::read(host)? {
        Some(users) => users,
        None => Users::nobody()?,
    };
    let result = edit(&mut users)?;
    users.write(host)?;
    Ok(result)
}

/// Fails where the name is more than a plain word: it becomes a part of HAProxy's configuration, of
/// a cookie and of log lines.
fn require_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Settings,
        format!("{name:?} can't be a user's name"),
        format!(
            "use 1 to {LONGEST} lower-case letters, digits, and '.', '_', '-', with a letter first"
        ),
    ))
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= LONGEST
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
        })
}

/// Whether it is a hash of crypt(5), and nothing else.
fn is_hash(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"./$=".contains(&byte);
    text.starts_with('$') && text.bytes().all(is_part)
}

impl Users {
    fn nobody() -> Result<Users> {
        Ok(Users {
            key: password::key()?,
            all: Vec::new(),
        })
    }

    fn read(host: &Host) -> Result<Option<Users>> {
        let path = host.https().join(FILE);
        let Some(text) = file::read_text(&path)? else {
            return Ok(None);
        };
        let users = Users::parse(&text).map_err(|error| {
            Failure::error(
                Kind::Settings,
                format!("{}: {error}", path.display()),
                format!(
                    "remove the line; or begin anew, with nobody in it: sudo rm {}",
                    path.display()
                ),
            )
        })?;
        Ok(Some(users))
    }

    /// Takes only what [`Users::text`] writes. What HAProxy would take beside it is not said here.
    fn parse(text: &str) -> Result<Users> {
        let mut users = Users {
            key: String::new(),
            all: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let wrong = || format!("line {} is not covalentctl's", number + 1);
            if let Some(key) = line.strip_prefix(KEY) {
                ensure!(key.bytes().all(|byte| byte.is_ascii_hexdigit()), wrong());
                users.key = key.into();
            } else if let Some(user) = line.strip_prefix(USER) {
                let (name, hash) = user.split_once(" password ").with_context(wrong)?;
                ensure!(is_name(name) && is_hash(hash), wrong());
                let (name, hash) = (name.into(), hash.into());
                users.all.push(User { name, hash });
            } else if !["global", "userlist covalent", HEADING, ""].contains(&line) {
                bail!(wrong());
            }
        }
        ensure!(!users.key.is_empty(), "it has no key of the cookie");
        Ok(users)
    }

    fn text(&self) -> String {
        let start = format!("{HEADING}\nglobal\n{KEY}{}\nuserlist covalent\n", self.key);
        self.all.iter().fold(start, |text, User { name, hash }| {
            text + &format!("{USER}{name} password {hash}\n")
        })
    }

    fn write(&self, host: &Host) -> Result<()> {
        write(host, FILE, &self.text())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|user| user.name == name)
    }

    fn known(&self, name: &str) -> Result<usize> {
        self.position(name).ok_or_else(|| {
            Failure::error(
                Kind::Unknown,
                format!("there is no user {name:?}"),
                "covalentctl user list shows all",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_word() {
        for good in ["alice", "a", "first.last", "svc_1-b", &"a".repeat(32)] {
            assert!(is_name(good), "{good}");
            require_name(good).unwrap();
        }
        for bad in [
            "",
            "Alice",
            "1a",
            "-a",
            ".a",
            "a b",
            "a:b",
            "a\n",
            "é",
            "a/b",
            "../a",
            "a@b",
            "$a",
            "#a",
            "a\"",
            "a%b",
            "\u{1b}[31m",
            &"a".repeat(33),
        ] {
            let said = require_name(bad).unwrap_err().to_string();
            assert!(!said.contains(char::is_control), "{said:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let mut users = Users::nobody().unwrap();
        for name in ["bob", "alice"] {
            let hash = "$6$salt/.$hash".to_string();
            let name = name.to_string();
            users.all.push(User { name, hash });
        }
        let text = users.text();
        let read = Users::parse(&text).unwrap();
        assert_eq!((&read.all, &read.key), (&users.all, &users.key));
        for line in [
            "    user mallory insecure-password x",
            "    user mallory password",
            "    user Mallory password $6$x",
            "    user mallory password x groups y",
            "    user mallory password $6$x\\",
            "    group all users bob",
            "    setenv COVALENT_HTTPS_COOKIE_KEY \"$(x)\"",
            "frontend open",
        ] {
            let error = Users::parse(&format!("{text}{line}\n")).unwrap_err();
            assert_eq!(error.to_string(), "line 7 is not covalentctl's", "{line}");
        }
        Users::parse("userlist covalent\n").unwrap_err();
    }
}
