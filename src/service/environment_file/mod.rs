//! `covalent.env`: read as systemd reads an `EnvironmentFile=` (systemd.exec(5)), and checked.
//!
//! systemd takes what it can and stays silent about the rest; here each oddity is a [`Problem`]
//! with its line.

mod check;
mod parse;
mod problem;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Result;

pub use self::problem::{Assignment, Problem, Severity};

use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;

/// The file, read.
#[derive(Debug)]
pub struct EnvironmentFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its assignments in their order; a later one of the same name counts.
    pub assignments: Vec<Assignment>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl EnvironmentFile {
    /// Reads and checks the file; a missing one is an empty one, as in the unit.
    pub fn read(host: &Host) -> Result<EnvironmentFile> {
        let path = host.environment_file();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            result => result.map_err(|error| {
                Failure::error(
                    Kind::Settings,
                    format!("{}: can't be read: {error}", path.display()),
                    format!("ls -l {} shows what it is; make it a file", path.display()),
                )
            })?,
        };
        let (assignments, mut problems) = parse::parse(&String::from_utf8_lossy(&bytes));
        problems.extend(check::check(&assignments));
        problems.sort_by_key(|problem| problem.line);
        Ok(EnvironmentFile {
            path,
            assignments,
            problems,
        })
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
            "correct the file, then: systemctl restart covalent",
        ))
    }
}
