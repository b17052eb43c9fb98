//! Children that run as the account.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::sandbox;
use crate::system::account::{Account, NAME};
use crate::system::command::{Command, Output};
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::reach::quoted;
use crate::system::{systemd, terminal, unit_exit};

/// Closes what was inherited, the lock for one, but for the descriptor of its first argument, and
/// becomes the rest of them. Bash, since other shells know no descriptor above 9.
const CLOSE: &str = r#"
for ((fd = 3; fd < 1024; fd++)); do
    ((fd == $1)) || exec {fd}>&-
done
shift
exec "$@""#;

/// How systemd says that it could not set the sandbox up (systemd.exec(5), "Process Exit Codes").
const NAMESPACE: i32 = 226;

/// How the names of the folders start that stand in for the account's home.
pub(crate) const HOME_PREFIX: &str = "home-";

/// How much longer than its own limit a unit has to end by it.
const GRACE: Duration = Duration::from_secs(10);

/// Tells one child of this process from another.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A child process to be that runs as the account of the service.
///
/// Root's are units of their own, in the sandbox of the server's unit as it is in force; where no
/// systemd runs, they have a session of their own and no more rights than the account. Whoever is
/// not root, or tries a tree that is not the machine, starts them as they are.
#[derive(Debug)]
pub(crate) struct Child {
    host: Host,
    program: OsString,
    arguments: Vec<OsString>,
    variables: BTreeMap<OsString, OsString>,
    limit: Duration,
    folder: PathBuf,
    input: (Vec<u8>, Option<File>),
    has_own_home: bool,
    writable: Vec<PathBuf>,
    secret: Option<String>,
    account: Option<Account>,
    keep: Option<RawFd>,
}

/// Whose session a child is in where no systemd runs.
#[derive(Clone, Copy, PartialEq)]
enum Session {
    /// Its own, without a terminal (setsid(1)).
    Own,
    /// Its own, at a terminal that is relayed (script(1)).
    Terminal,
    /// The caller's, which has no terminal.
    Callers,
}

/// What it takes to start one, until it has ended.
struct Prepared {
    command: Command,
    unit: Option<String>,
    _files: (Option<tempfile::NamedTempFile>, Option<tempfile::TempDir>),
}

impl Child {
    /// A child with a time limit.
    pub(crate) fn new(host: &Host, program: impl Into<OsString>, limit: Duration) -> Child {
        Child {
            host: host.clone(),
            program: program.into(),
            arguments: Vec::new(),
            variables: BTreeMap::new(),
            limit,
            folder: "/".into(),
            input: (Vec::new(), None),
            has_own_home: false,
            writable: Vec::new(),
            secret: None,
            account: None,
            keep: None,
        }
    }

    /// Leaves it this open file, where no systemd runs.
    pub(crate) fn keeping(mut self, descriptor: Option<RawFd>) -> Child {
        self.keep = descriptor;
        self
    }

    /// Runs it as this account in a tree that is not the machine, where it has no name.
    pub(crate) fn account(mut self, account: &Account) -> Child {
        self.account = Some(*account);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Child {
        self.arguments
            .extend(args.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Child {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets its working directory, which is `/` otherwise.
    pub(crate) fn current_dir(mut self, folder: &Path) -> Child {
        self.folder = folder.into();
        self
    }

    /// Gives it this to read, and then the rest of a file, through a pipe.
    pub(crate) fn input(mut self, start: Vec<u8>, rest: Option<File>) -> Child {
        self.input = (start, rest);
        self
    }

    /// Gives it an empty home of its own, which is gone when it ends.
    pub(crate) fn with_own_home(mut self) -> Child {
        self.has_own_home = true;
        self
    }

    /// Lets it write in this folder of root's choice, as far as the account may.
    pub(crate) fn writing(mut self, folder: &Path) -> Child {
        self.writable.push(folder.into());
        self
    }

    /// Takes `text` out of everything that is kept of the output.
    pub(crate) fn secret(mut self, text: &str) -> Child {
        self.secret = Some(text.into());
        self
    }

    /// Runs it to its end; an unsuccessful end is an error.
    pub(crate) fn run(self) -> Result<Output> {
        let prepared = self.prepare()?;
        let line = prepared.command.line();
        let output = prepared.command.output()?;
        check(&output)?;
        output.successful(line)
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn output(self) -> Result<Output> {
        let output = self.prepare()?.command.output()?;
        check(&output)?;
        Ok(output)
    }

    /// The same with its standard output in a file.
    pub(crate) fn output_into(self, file: File) -> Result<Output> {
        let output = self.prepare()?.command.output_into(file)?;
        check(&output)?;
        Ok(output)
    }

    /// Runs it in the foreground: at a terminal of its own that is relayed where the caller has
    /// one, else through pipes. Returns its exit status.
    pub(crate) fn in_foreground(mut self, at_terminal: bool) -> Result<ExitStatus> {
        self.limit = Duration::MAX;
        let prepared = self.prepare_at(at_terminal)?;
        let unit = prepared.unit.clone();
        if at_terminal {
            return prepared.command.at_terminal();
        }
        prepared.command.relayed(|| {
            if let Some(unit) = &unit {
                systemd::end(unit);
            }
        })
    }

    /// Becomes it where no systemd runs, or, at a terminal, waits for it and relays what it says.
    /// Returns its exit status, or why it could not start.
    pub(crate) fn take_place(mut self) -> Result<ExitStatus> {
        self.limit = Duration::MAX;
        if terminal::is_at_one() {
            self.without_systemd(Session::Own)?.command.relayed(|| {})
        } else {
            Err(self.without_systemd(Session::Callers)?.command.exec())
        }
    }

    fn prepare(self) -> Result<Prepared> {
        self.prepare_at(false)
    }

    fn prepare_at(self, at_terminal: bool) -> Result<Prepared> {
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
        let variables = self.environment_file()?;
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
    fn without_systemd(mut self, session: Session) -> Result<Prepared> {
        let account = match self.account {
            Some(account) if !self.host.is_real() => account,
            _ => Account::required(&self.host)?,
        };
        let home = self.make_home(Some(&account))?;
        let keep = self.keep.unwrap_or(-1).to_string();
        let user = format!("--reuid={}", account.uid);
        let group = format!("--regid={}", account.gid);
        let words = ["/bin/bash", "-c", CLOSE, "covalentctl", &keep];
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
            let line: Vec<OsString> = words
                .iter()
                .map(|word| quoted(Path::new(word)).into())
                .collect();
            Command::new("script", self.limit)
                .args(["--quiet", "--return", "--command"])
                .args([line.join(OsStr::new(" "))])
                .args(["/dev/null"])
        } else {
            Command::new(&words[0], self.limit).args(&words[1..])
        };
        let command = self.finish(command, &[]);
        Ok(Prepared {
            command: with_variables(command, &self.variables).current_dir(&self.folder),
            unit: None,
            _files: (None, home),
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

    /// The variables in the form of systemd.exec(5), `EnvironmentFile=`, for root's eyes.
    fn environment_file(&self) -> Result<tempfile::NamedTempFile> {
        let folder = self.host.path("/run/covalentctl");
        file::make_folder(&folder, 0o755)?;
        let action = || format!("writing the variables of a child into {}", folder.display());
        let mut file = tempfile::Builder::new()
            .prefix("variables-")
            .tempfile_in(&folder)
            .with_context(action)?;
        let mut text = b"LC_ALL=C.UTF-8\n".to_vec();
        for (name, value) in &self.variables {
            text.extend(name.as_bytes());
            text.extend(b"=\"");
            for &byte in value.as_bytes() {
                if b"\"\\`$".contains(&byte) {
                    text.push(b'\\');
                }
                text.push(byte);
            }
            text.extend(b"\"\n");
        }
        file.write_all(&text).with_context(action)?;
        Ok(file)
    }
}

/// Says why the sandbox could not be set up, where that is so.
fn check(output: &Output) -> Result<()> {
    if output.status.and_then(|status| status.code()) != Some(NAMESPACE) {
        return Ok(());
    }
    let (cause, cure) = unit_exit::namespace();
    Err(Failure::error(
        Kind::Settings,
        format!(
            "nothing runs as the account {NAME}: {cause}: {}",
            output.stderr.trim()
        ),
        cure,
    ))
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

/// The status of this process after a child's: a shell says 128 and the signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
