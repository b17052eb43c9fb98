//! The status for a reader: one screen, a fact a line.

use super::super::list;
use super::super::worker;
use super::{Environment, Interrupted, Joined, NAMES, Report, Service, Stored};
use crate::environment::source::described;
use crate::environment::state::FailedAttempt;
use crate::service::api::Workflow;
use crate::service::drain;
use crate::service::standing::Standing;
use crate::system::failure::Kind;
use crate::system::terminal::{Colour, one_line};

/// A fact's name and what there is to say of it, whose further lines are put below.
type Row = (&'static str, String);

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn good(self, text: &str) -> String {
        self.paint(Colour(32), text)
    }

    fn bad(self, text: &str) -> String {
        self.paint(Colour(31), text)
    }

    fn paint(self, colour: Colour, text: &str) -> String {
        match self {
            Paint(true) => colour.of(text),
            Paint(false) => text.into(),
        }
    }
}

impl Report {
    /// One screen, a fact a line.
    pub(super) fn text(&self, colour: bool) -> String {
        let paint = Paint(colour);
        let mut rows = vec![("service", self.service.text(paint))];
        match self.address.as_str() {
            "" => rows.push(("worker", self.standing(paint))),
            address => rows.push(("address", address.into())),
        }
        rows.extend(self.workflows(paint));
        let mut fleet = worker::lines(&self.workers);
        fleet.extend(self.shortages.iter().map(|line| paint.bad(line)));
        if !fleet.is_empty() {
            rows.push(("fleet", fleet.join("\n")));
        }
        match &self.environment {
            Some(environment) => rows.extend(environment.rows(self.held, paint)),
            None => rows.push((
                "environment",
                paint.bad("none") + "\nNext: sudo covalentctl apply",
            )),
        }
        for (name, packages) in [
            ("plugins", &self.plugins),
            ("own packages", &self.own_packages),
        ] {
            if !packages.is_empty() {
                rows.push((name, sentence(packages)));
            }
        }
        let database = self.database.as_ref();
        rows.extend(database.map(|database| ("database", database.text())));
        if self.address.is_empty() {
            // A worker keeps nothing.
        } else if let Some(path) = &self.last_backup {
            rows.push(("last backup", path.display().to_string()));
        } else if rustix::process::geteuid().is_root() {
            rows.push(("last backup", "none: sudo covalentctl backup".into()));
        }
        let failure = self.failure.as_ref();
        rows.extend(failure.map(|failure| ("problem", problem(failure, paint))));
        rows.iter().fold(String::new(), |text, (name, value)| {
            text + &format!("{name:>12}  {}\n", value.replace('\n', "\n              "))
        })
    }

    /// Where a worker stands with its server.
    fn standing(&self, paint: Paint) -> String {
        let Some(Joined { name, server, .. }) = &self.joined else {
            return paint.bad("joined to no server") + "\nNext: sudo covalentctl join";
        };
        let stands = match Standing::told(&self.service.status) {
            Standing::In(words) => paint.good(&words),
            Standing::Draining { busy } => paint.bad(&format!("draining: {busy} tasks still run")),
            Standing::Waiting(words) => paint.bad(&words) + "\nNext: sudo covalentctl doctor",
            Standing::Unknown => "it has not said yet how it is".into(),
        };
        one_line(&format!("{name} of {server}")) + "\n" + &stands
    }

    /// What is to be said of workflows, and of a restart that is due.
    fn workflows(&self, paint: Paint) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(running) = &self.running {
            let names = names(&running.workflows, running.count);
            rows.push(("running", drain::sentence(running.count) + &names));
        }
        if self.draining {
            let what = match self.joined {
                None => paint.bad("no new workflow is started before the restart"),
                Some(_) => paint.bad("no new task is started before the restart"),
            };
            rows.push((
                "draining",
                what + "\nNext: sudo covalentctl drain --resume, unless it is meant",
            ));
        }
        if let Some(id) = &self.runs_from {
            let what = format!("due: the {} still runs from {id}", self.role);
            let service = match self.joined {
                None => "covalent",
                Some(_) => "covalent-worker",
            };
            rows.push((
                "restart",
                format!("{what}\nNext: systemctl restart {service}"),
            ));
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
}

impl Service {
    fn text(&self, paint: Paint) -> String {
        let Service {
            active,
            enabled,
            since,
            ..
        } = self;
        match active.as_str() {
            "" => "unknown: systemd is not running".into(),
            "active" => format!("{} since {since}, {enabled}", paint.good(active)),
            "failed" => format!(
                "{}, {enabled}\nNext: sudo covalentctl doctor",
                paint.bad(active)
            ),
            _ => format!("{}, {enabled}", paint.bad(active)),
        }
    }
}

impl Environment {
    fn rows(&self, held: bool, paint: Paint) -> [Row; 4] {
        let manifest = &self.manifest;
        let interpreter = &manifest.interpreter;
        let mut python = format!(
            "{} ({})",
            interpreter.version_text(),
            interpreter.path.display()
        );
        if !self.interpreter_is_there {
            python =
                paint.bad(&format!("{python}, which is gone")) + "\nNext: sudo covalentctl apply";
        }
        let mut environment = format!(
            "{}\n{} packages from {}, made {}",
            self.path.display(),
            manifest.packages.len(),
            described(&manifest.source),
            manifest.made.strftime("%Y-%m-%d %H:%M:%S UTC")
        );
        if held {
            environment += "\nkept by covalentctl rollback until something new is wanted";
        }
        [
            ("covalent", manifest.covalent().unwrap_or("?").into()),
            ("python", python),
            ("environment", environment),
            ("executors", manifest.executors.join(", ")),
        ]
    }
}

/// Why the newest environment is not the active one, and what to type.
fn problem(failure: &FailedAttempt, paint: Paint) -> String {
    let when = failure.when.strftime("%Y-%m-%d %H:%M:%S UTC");
    let what = if failure.kind == Kind::Database.name() {
        format!("the newest environment could not be started, {when}")
    } else {
        format!("the newest environment could not be made, {when}")
    };
    let text = paint.bad(&what) + "\n" + &failure.message;
    match failure.next.as_str() {
        "" => text,
        next => text + "\nNext: " + next,
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
fn sentence(packages: &[list::Row]) -> String {
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
            format!("\n{}", one_line(&line))
        })
        .collect();
    match count.saturating_sub(NAMES.into()) {
        0 => lines,
        more => format!("{lines}\nand {more} more"),
    }
}
