//! How a child of the account's is started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::sandbox;
use crate::system::account::{Account, NAME};
use crate::system::command::Command;
use crate::system::file;
use crate::system::host::Host;
use crate::system::systemd;

/// Closes what was inherited, the lock for one, but for the descriptor of its first argument, opens
/// the file of its second one, which it removes, and becomes the rest. Bash, since other shells know
/// no descriptor above 9.
const CLOSE: &str = "for ((fd = 3; fd < 1024; fd++)); do ((fd == $1)) || exec {fd}>&-; done; \
                     exec {_variables}<\"$2\"; rm -f -- \"$2\"; export _variables; shift 2; \
                     exec \"$@\"";

/// Takes the variables out of that file, and becomes its arguments: whoever still is root must not
/// be told by them what to load.
const BECOME: &str = "while IFS= read -r -d '' _line; do export \"$_line\"; done <&\"$_variables\"; \
                      exec {_variables}<&-; unset _variables _line; exec \"$@\"";

/// How the names of the folders start that stand in for the account's home.
pub(crate) const HOME_PREFIX: &str = "home-";

/// How much longer than its own limit a unit has to end by it.
const GRACE: Duration = Duration::from_secs(10);

/// Tells one child of this process from another.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What is known of a child before it is started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) host: Host,
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: BTreeMap<OsString, OsString>,
    pub(super) limit: Duration,
    pub(super) folder: PathBuf,
    pub(super) input: (Vec<u8>, Option<File>),
    pub(super) has_own_home: bool,
    pub(super) writable: Vec<PathBuf>,
    pub(super) secret: Option<String>,
    pub(super) account: Option<Account>,
    pub(super) keep: Option<RawFd>,
}

/// Whose session a child is in where no systemd runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Session {
    /// Its own, without a terminal (setsid(1)).
    Own,
    /// Its own, at a terminal that is relayed (script(1)).
    Terminal,
    /// The caller's, which has no terminal.
    Callers,
}

/// What it takes to start one, until it has ended.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) unit: Option<String>,
    _files: (Option<tempfile::NamedTempFile>, Option<tempfile::TempDir>),
}

impl Start {
    /// Its command line, without what starts it.
    pub(super) fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// As whom and where it is right here.
    pub(super) fn prepare(self, at_terminal: bool) -> Result<Prepared> {
        let is_tree = !self.host.is_real() && self.account.is_none();
        if is_tree || !rustix::process::geteuid().is_root() {
            self.unchanged()
        } else if systemd::is_running(&self.host) {
            self.in_unit(at_terminal)
        } else {
            self.without_systemd(if at_terminal {
                Session::Terminal
            } else {
                Session::Own
            })
        }
    }

    /// With the rights of the caller, who is not root or tries a tree.
    fn unchanged(mut self) -> Result<Prepared> {
        let home = self.make_home(None)?;
        let arguments = std::mem::take(&mut self.arguments);
        let command = self.finish(Command::new(&self.program, self.limit), &arguments);
        Ok(Prepared {
            command: with_variables(command, &self.variables).current_dir(&self.folder),
            unit: None,
            _files: (None, home),
        })
    }

    /// A transient unit (systemd-run(1)).
    fn in_unit(mut self, at_terminal: bool) -> Result<Prepared> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unit = format!("covalentctl-{}-{number}.service", id());
        let mut properties: Vec<OsString> = sandbox::in_force(&self.host)
            .into_iter()
            .map(OsString::from)
            .collect();
        properties.push(format!("User={NAME}").into());
        properties.push(format!("Group={NAME}").into());
        properties.push(assignment("WorkingDirectory=", self.folder.as_os_str()));
        if self.limit < Duration::MAX {
            let seconds = self.limit.as_secs().max(1);
            properties.push(format!("RuntimeMaxSec={seconds}").into());
        }
        for folder in &self.writable {
            properties.push(assignment("ReadWritePaths=-", folder.as_os_str()));
        }
        if self.has_own_home {
            let home = format!("covalentctl/{HOME_PREFIX}{}-{number}", id());
            properties.push(format!("RuntimeDirectory={home}").into());
            properties.push("RuntimeDirectoryMode=0700".into());
            self.use_home(&Path::new("/run").join(home));
        }
        // Anybody can ask systemd for a unit's properties, but not read this file.
        self.variables
            .entry("LC_ALL".into())
            .or_insert("C.UTF-8".into());
        let variables = self.variables_file(quoted_assignment)?;
        properties.push(assignment("EnvironmentFile=", variables.path().as_os_str()));

        let connection = if at_terminal { "--pty" } else { "--pipe" };
        let limit = self.limit.saturating_add(GRACE);
        let command = Command::new("systemd-run", limit)
            .args([
                "--quiet",
                "--wait",
                "--collect",
                "--service-type=exec",
                connection,
            ])
            .args([format!("--unit={unit}")])
            .args(["--description=Question of covalentctl, as the account covalent"])
            .args(
                properties
                    .iter()
                    .flat_map(|property| ["-p".as_ref(), property.as_os_str()]),
            )
            .args(["--"])
            .args([unexpanded(&self.program)]);
        let words: Vec<OsString> = self.arguments.iter().map(|word| unexpanded(word)).collect();
        Ok(Prepared {
            command: self.finish(command, &words),
            unit: Some(unit),
            _files: (Some(variables), None),
        })
    }

    /// Without descriptors, and without a way to more rights.
    pub(super) fn without_systemd(mut self, session: Session) -> Result<Prepared> {
        let account = match self.account {
            Some(account) if !self.host.is_real() => account,
            _ => Account::required(&self.host)?,
        };
        let home = self.make_home(Some(&account))?;
        let keep = self.keep.unwrap_or(-1).to_string();
        let user = format!("--reuid={}", account.uid);
        let group = format!("--regid={}", account.gid);
        let variables = self.variables_file(|name, value| [name, b"=", value, b"\0"].concat())?;
        let path = variables.path().to_string_lossy().into_owned();
        let words = ["/bin/bash", "-c", CLOSE, "covalentctl", &keep, &path];
        let own: &[&str] = match session {
            Session::Own => &["setsid", "--wait"],
            Session::Terminal | Session::Callers => &[],
        };
        let rights = [
            "setpriv",
            &user,
            &group,
            "--init-groups",
            "--no-new-privs",
            "--",
            "/bin/bash",
            "-c",
            BECOME,
            "covalentctl",
        ];
        let words: Vec<OsString> = words
            .iter()
            .chain(own)
            .chain(&rights)
            .map(OsString::from)
            .chain([std::mem::take(&mut self.program)])
            .chain(std::mem::take(&mut self.arguments))
            .collect();
        let command = if session == Session::Terminal {
            // It makes the terminal, and has a shell at it.
            let line: Vec<OsString> = words.iter().map(|word| literal(word)).collect();
            Command::new("script", self.limit)
                .args(["--quiet", "--return", "--command"])
                .args([line.join(OsStr::new(" "))])
                .args(["/dev/null"])
        } else {
            Command::new(&words[0], self.limit).args(&words[1..])
        };
        let command = self.finish(command, &[]);
        Ok(Prepared {
            command: command.current_dir(&self.folder),
            unit: None,
            _files: (Some(variables), home),
        })
    }

    fn finish(&mut self, command: Command, arguments: &[OsString]) -> Command {
        let (start, rest) = std::mem::take(&mut self.input);
        command
            .args(arguments)
            .secret(self.secret.as_deref())
            .input(start, rest)
    }

    fn make_home(&mut self, account: Option<&Account>) -> Result<Option<tempfile::TempDir>> {
        if !self.has_own_home {
            return Ok(None);
        }
        // Where only root can put something in its place: TMPDIR may name a folder of tasks.
        file::make_folder(&self.host.state(), 0o755)?;
        let home = tempfile::Builder::new()
            .prefix(HOME_PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(self.host.state())
            .context("making a home for a child")?;
        if let Some(account) = account {
            chown(home.path(), Some(account.uid), Some(account.gid))
                .with_context(|| format!("giving {} to the account", home.path().display()))?;
        }
        self.use_home(home.path());
        Ok(Some(home))
    }

    fn use_home(&mut self, home: &Path) {
        for name in ["HOME", "TMPDIR"] {
            self.variables.insert(name.into(), home.into());
        }
        self.folder = home.into();
    }

    /// A file with the variables, each as `line` makes it of name and value, for root's eyes.
    fn variables_file(
        &self,
        line: impl Fn(&[u8], &[u8]) -> Vec<u8>,
    ) -> Result<tempfile::NamedTempFile> {
        let folder = self.host.path("/run/covalentctl");
        file::make_folder(&folder, 0o755)?;
        let action = || format!("writing the variables of a child into {}", folder.display());
        let mut file = tempfile::Builder::new()
            .prefix("variables-")
            .tempfile_in(&folder)
            .with_context(action)?;
        for (name, value) in &self.variables {
            let text = line(name.as_bytes(), value.as_bytes());
            file.write_all(&text).with_context(action)?;
        }
        Ok(file)
    }
}

/// An assignment as `EnvironmentFile=` has it (systemd.exec(5)).
fn quoted_assignment(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut line = [name, b"=\""].concat();
    for &byte in value {
        if b"\"\\`$".contains(&byte) {
            line.push(b'\\');
        }
        line.push(byte);
    }
    line.extend(b"\"\n");
    line
}

/// A word of a shell's command line that stands for itself.
fn literal(word: &OsStr) -> OsString {
    let mut literal = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => literal.extend(br"'\''"),
            byte => literal.push(byte),
        }
    }
    literal.push(b'\'');
    OsString::from_vec(literal)
}

fn with_variables(command: Command, variables: &BTreeMap<OsString, OsString>) -> Command {
    variables
        .iter()
        .fold(command, |command, (name, value)| command.env(name, value))
}

fn assignment(name: &str, value: &OsStr) -> OsString {
    let mut text = OsString::from(name);
    text.push(value);
    text
}

/// A word in which systemd finds no variable (systemd.service(5), "Command Lines").
fn unexpanded(word: &OsStr) -> OsString {
    let bytes = word.as_bytes().iter();
    let doubled = bytes.flat_map(|&byte| match byte {
        b'$' => vec![b'$', b'$'],
        byte => vec![byte],
    });
    OsString::from_vec(doubled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_itself() {
        let word = OsStr::new("it's $HOME;\n`x`");
        let mut line = OsString::from("printf %s ");
        line.push(literal(word));
        let shown = Command::new("/bin/sh", Duration::from_secs(5))
            .args(["-c".into(), line])
            .output()
            .unwrap();
        assert_eq!(shown.stdout, word.to_str().unwrap());
        assert_eq!(unexpanded(OsStr::new("$a$$")), "$$a$$$$");
        assert_eq!(
            quoted_assignment(b"A", b"a\"b\\c$d`"),
            b"A=\"a\\\"b\\\\c\\$d\\`\"\n"
        );
    }
}
