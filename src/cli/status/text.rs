//! The status for a reader: one screen, a fact a line.

use super::super::list::Row;
use super::super::terminal::printable;
use super::{Interrupted, NAMES, Report, Service, Stored};
use crate::environment::generation::Manifest;
use crate::environment::source::described;
use crate::service::api::Workflow;
use crate::service::drain;
use crate::system::failure::Kind;

impl Report {
    /// What is to be said of workflows, and of a restart that is due.
    fn workflows(
        &self,
        bad: &str,
        paint: impl Fn(&str, &str) -> String,
    ) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        if let Some(running) = &self.running {
            let names = names(&running.workflows, running.count);
            rows.push(("running", drain::sentence(running.count) + &names));
        }
        if self.draining {
            let what = paint(bad, "no new workflow is started before the restart");
            rows.push((
                "draining",
                what + "\nNext: sudo covalentctl drain --resume, unless it is meant",
            ));
        }
        if let Some(id) = &self.runs_from {
            let what = format!("due: the server still runs from {id}");
            rows.push(("restart", what + "\nNext: systemctl restart covalent"));
        }
        if let Some(Interrupted { when, workflows }) = &self.interrupted {
            let when = when.strftime("%Y-%m-%d %H:%M:%S UTC");
            let count = workflows.len();
            let names = names(workflows, count as u64);
            rows.push((
                "interrupted",
                format!(
                    "{count} by the server's end in a week, last {when}{names}\n\
                     Next: ct.redispatch(ID, reuse_previous_results=True)()"
                ),
            ));
        }
        rows
    }

    /// One screen, a fact a line.
    pub(super) fn text(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| match colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        };
        let (good, bad) = ("32", "31");
        let Service {
            active,
            enabled,
            since,
            ..
        } = &self.service;
        let service = match active.as_str() {
            "" => "unknown: systemd is not running".to_string(),
            "active" => format!("{} since {since}, {enabled}", paint(good, active)),
            "failed" => format!(
                "{}, {enabled}\nNext: sudo covalentctl doctor",
                paint(bad, active)
            ),
            _ => format!("{}, {enabled}", paint(bad, active)),
        };
        let mut rows = vec![("service", service), ("address", printable(&self.address))];
        rows.extend(self.workflows(bad, paint));
        match &self.environment {
            None => rows.push((
                "environment",
                paint(bad, "none") + "\nNext: sudo covalentctl apply",
            )),
            Some(environment) => {
                let Manifest {
                    interpreter,
                    packages,
                    source,
                    executors,
                    made,
                    ..
                } = &environment.manifest;
                let version = packages.get("covalent").map_or("?", String::as_str);
                rows.push(("covalent", version.to_string()));
                let python = format!(
                    "{} ({})",
                    interpreter.version_text(),
                    interpreter.path.display()
                );
                rows.push(match environment.interpreter_is_there {
                    true => ("python", python),
                    false => (
                        "python",
                        paint(bad, &format!("{python}, which is gone"))
                            + "\nNext: sudo covalentctl apply",
                    ),
                });
                let made = made.strftime("%Y-%m-%d %H:%M:%S UTC");
                let count = packages.len();
                let what = format!(
                    "{}\n{count} packages from {}, made {made}",
                    environment.path.display(),
                    described(source)
                );
                let what = match self.held {
                    true => what + "\nkept by covalentctl rollback until something new is wanted",
                    false => what,
                };
                rows.push(("environment", what));
                rows.push(("executors", executors.join(", ")));
            }
        }
        for (name, packages) in [
            ("plugins", &self.plugins),
            ("own packages", &self.own_packages),
        ] {
            if !packages.is_empty() {
                rows.push((name, sentence(packages)));
            }
        }
        if let Some(database) = &self.database {
            rows.push(("database", printable(&database.text())));
        }
        if let Some(path) = &self.last_backup {
            rows.push(("last backup", path.display().to_string()));
        } else if rustix::process::geteuid().is_root() {
            rows.push(("last backup", "none: sudo covalentctl backup".into()));
        }
        if let Some(failure) = &self.failure {
            let when = failure.when.strftime("%Y-%m-%d %H:%M:%S UTC");
            let mut what = paint(
                bad,
                &match failure.kind == Kind::Database.name() {
                    true => format!("the newest environment could not be started, {when}"),
                    false => format!("the newest environment could not be made, {when}"),
                },
            );
            what += &format!("\n{}", printable(&failure.message));
            if !failure.next.is_empty() {
                what += &format!("\nNext: {}", failure.next);
            }
            rows.push(("problem", what));
        }
        rows.iter().fold(String::new(), |text, (name, value)| {
            text + &format!("{name:>12}  {}\n", value.replace('\n', "\n              "))
        })
    }
}

impl Stored {
    fn text(&self) -> String {
        let place = match &self.path {
            Some(path) => path.display().to_string(),
            None => format!("{}, as COVALENT_DATABASE_URL says", self.kind),
        };
        match &self.revision {
            Some(revision) => format!("{place}, revision {revision}"),
            None => place,
        }
    }
}

/// How many packages are named.
const PACKAGES: usize = 12;

/// `numpy 2.4.6, six 1.17.0`.
fn sentence(packages: &[Row]) -> String {
    let words = packages.iter().take(PACKAGES);
    let words = words.map(|row| format!("{} {}", row.name, row.shown_version()));
    let words: Vec<String> = words.collect();
    match packages.len().saturating_sub(PACKAGES) {
        0 => words.join(", "),
        more => format!("{} and {more} more: covalentctl list", words.join(", ")),
    }
}

/// A line for each of the first workflows of `count`.
fn names(workflows: &[Workflow], count: u64) -> String {
    let shown = workflows.iter().take(NAMES.into());
    let lines: String = shown
        .map(|workflow| {
            let line = format!("{}  {}", workflow.dispatch_id, workflow.lattice_name);
            // A name is a line of its own; a line break in it must not make it look like another.
            format!("\n{}", line.replace(char::is_control, "?"))
        })
        .collect();
    match count.saturating_sub(NAMES.into()) {
        0 => lines,
        more => format!("{lines}\nand {more} more"),
    }
}
