//! `covalent.env` and its like: read as systemd reads an `EnvironmentFile=` (systemd.exec(5)), and
//! checked.
//!
//! systemd takes what it can and stays silent about the rest; here each oddity is a [`Problem`]
//! with its line.

mod check;
mod form;
mod parse;
mod problem;
mod value;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::OFlags;

pub use self::form::{FILES, Form, HTTPS};
pub use self::problem::{Assignment, Problem, Severity};
pub use self::value::{Value, is_host_name};

use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::systemd;

/// The systemd from which on a comment ends with its line, whatever is the last character.
const COMMENTS_END_ALONE: u32 = 254;

/// The file, read.
#[derive(Debug)]
pub struct EnvironmentFile {
    /// Which of them it is.
    pub form: &'static Form,
    /// Where it is.
    pub path: PathBuf,
    /// Its assignments in their order; a later one of the same name counts.
    pub assignments: Vec<Assignment>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl EnvironmentFile {
    /// Reads and checks that of this machine's service; a missing one is an empty one, as in the unit.
    pub fn read(host: &Host) -> Result<EnvironmentFile> {
        EnvironmentFile::read_form(host, Form::of(Role::of(host)))
    }

    /// The same for one of this form.
    pub fn read_form(host: &Host, form: &'static Form) -> Result<EnvironmentFile> {
        let path = host.etc().join(form.name);
        let bytes = match read(&path) {
            // A link that leads nowhere was not meant as none, though systemd takes it for that.
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => Vec::new(),
            result => result.map_err(|error| {
                Failure::error(
                    Kind::Settings,
                    format!("{}: can't be read: {error}", path.display()),
                    match error.kind() {
                        ErrorKind::PermissionDenied => format!(
                            "do it as root; or let this user read the file, if it holds no secret: \
                             sudo chmod 0644 {}",
                            path.display()
                        ),
                        _ => format!("ls -lL {} shows what it is; make it a file", path.display()),
                    },
                )
            })?,
        };
        let joins_comments =
            || systemd::version(host).is_some_and(|version| version < COMMENTS_END_ALONE);
        let (assignments, mut problems) = parse::parse(&bytes, &joins_comments);
        problems.extend(check::check(form, &assignments));
        problems.extend(check::hidden(host, form, &assignments));
        problems.sort_by_key(|problem| problem.line);
        Ok(EnvironmentFile {
            form,
            path,
            assignments,
            problems,
        })
    }

    /// What `covalentctl join` has written for a worker's unit; nothing where it has not.
    pub fn of_membership(host: &Host) -> Vec<Assignment> {
        let bytes = read(&host.membership()).unwrap_or_default();
        parse::parse(&bytes, &|| false).0
    }

    /// The value that counts for `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut assignments = self.assignments.iter().rev();
        assignments
            .find(|assignment| assignment.name == name)
            .map(|assignment| assignment.value.as_str())
    }

    /// Whether the switch `name` is on.
    pub fn is_on(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_lowercase();
        ["1", "true", "t"].contains(&value.as_str())
    }

    /// `path:line: text` of each problem of that severity.
    pub fn describe(&self, severity: Severity) -> Vec<String> {
        self.problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .map(|problem| format!("{}:{}: {}", self.path.display(), problem.line, problem.text))
            .collect()
    }

    /// Fails with every harmful problem.
    pub fn refuse_harmful(&self) -> Result<()> {
        let harmful = self.describe(Severity::Harmful);
        if harmful.is_empty() {
            return Ok(());
        }
        Err(Failure::error(
            Kind::Settings,
            harmful.join("\n  "),
            self.cure(),
        ))
    }

    /// What to type where something is wrong with it.
    pub fn cure(&self) -> String {
        format!(
            "correct the file, then: systemctl restart {}",
            self.form.unit
        )
    }
}

/// A file's content. A pipe in its place would be waited for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
