//! Children that run as the account.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;

use super::start::{Session, Start};
use crate::system::account::{Account, NAME};
use crate::system::command::Output;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::{systemd, terminal, unit_exit};

/// How systemd says that it could not set the sandbox up (systemd.exec(5), "Process Exit Codes").
const NAMESPACE: i32 = 226;

/// A child process to be that runs as the account of the service.
///
/// Root's are units of their own, in the sandbox of the server's unit as it is in force; where no
/// systemd runs, they have a session of their own and no more rights than the account. Whoever is
/// not root, or tries a tree that is not the machine, starts them as they are.
#[derive(Debug)]
pub(crate) struct Child(Start);

impl Child {
    /// A child with a time limit.
    pub(crate) fn new(host: &Host, program: impl Into<OsString>, limit: Duration) -> Child {
        Child(Start {
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
        })
    }

    /// Leaves it this open file, where no systemd runs.
    pub(crate) fn keeping(mut self, descriptor: Option<RawFd>) -> Child {
        self.0.keep = descriptor;
        self
    }

    /// Runs it as this account in a tree that is not the machine, where it has no name.
    pub(crate) fn account(mut self, account: &Account) -> Child {
        self.0.account = Some(*account);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Child {
        self.0
            .arguments
            .extend(args.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Child {
        self.0.variables.insert(name.into(), value.into());
        self
    }

    /// Sets its working directory, which is `/` otherwise.
    pub(crate) fn current_dir(mut self, folder: &Path) -> Child {
        self.0.folder = folder.into();
        self
    }

    /// Gives it this to read, and then the rest of a file, through a pipe.
    pub(crate) fn input(mut self, start: Vec<u8>, rest: Option<File>) -> Child {
        self.0.input = (start, rest);
        self
    }

    /// Gives it an empty home of its own, which is gone when it ends.
    pub(crate) fn with_own_home(mut self) -> Child {
        self.0.has_own_home = true;
        self
    }

    /// Lets it write in this folder of root's choice, as far as the account may.
    pub(crate) fn writing(mut self, folder: &Path) -> Child {
        self.0.writable.push(folder.into());
        self
    }

    /// Takes `text` out of everything that is kept of the output.
    pub(crate) fn secret(mut self, text: &str) -> Child {
        self.0.secret = Some(text.into());
        self
    }

    /// Runs it to its end; an unsuccessful end is an error.
    pub(crate) fn run(self) -> Result<Output> {
        let line = self.0.line();
        self.output()?.successful(line)
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn output(self) -> Result<Output> {
        let role = Role::of(&self.0.host);
        let output = self.0.prepare(false)?.command.output()?;
        check(&output, role)?;
        Ok(output)
    }

    /// Runs it to its end, with its standard output in a file.
    pub(crate) fn output_into(self, file: File) -> Result<Output> {
        let role = Role::of(&self.0.host);
        let output = self.0.prepare(false)?.command.output_into(file)?;
        check(&output, role)?;
        Ok(output)
    }

    /// Runs it in the foreground: at a terminal of its own that is relayed where the caller has
    /// one, else through pipes. Returns its exit status.
    pub(crate) fn in_foreground(mut self, at_terminal: bool) -> Result<ExitStatus> {
        self.0.limit = Duration::MAX;
        let prepared = self.0.prepare(at_terminal)?;
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
        self.0.limit = Duration::MAX;
        if terminal::is_at_one() {
            self.0.without_systemd(Session::Own)?.command.relayed(|| {})
        } else {
            Err(self.0.without_systemd(Session::Callers)?.command.exec())
        }
    }
}

/// Says why the sandbox could not be set up, where that is so.
fn check(output: &Output, role: Role) -> Result<()> {
    if output.status.and_then(|status| status.code()) != Some(NAMESPACE) {
        return Ok(());
    }
    let (cause, cure) = unit_exit::namespace(role);
    Err(Failure::error(
        Kind::Settings,
        format!(
            "nothing runs as the account {NAME}: {cause}: {}",
            output.stderr.trim()
        ),
        cure,
    ))
}

/// The status of this process after a child's: a shell says 128 and the signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
