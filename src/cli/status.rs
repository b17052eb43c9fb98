//! `covalentctl status`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{self, Running, Workflow};
use crate::backup;
use crate::drain;
use crate::failure::Kind;
use crate::generation::{Generation, Manifest};
use crate::host::Host;
use crate::server::Address;
use crate::state::{FailedAttempt, State};
use crate::systemd;

/// Show how the server and its environment are
///
/// Exits with 0 if there is an environment, with 10 if there is none.
#[derive(Args, Debug)]
pub struct Status {
    /// Print one JSON object instead; its fields stay what they are, and new ones may come
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// The form of this object; a change of the fields below would count it up.
    version: u32,
    /// The unit, as systemd sees it; every field empty without systemd.
    service: Service,
    /// Where a browser on this machine finds the UI.
    address: String,
    /// The active environment.
    environment: Option<Environment>,
    /// Whether the environment is the one that the administrator went back to.
    held: bool,
    /// The workflows that run; none where no server answers.
    running: Option<Running>,
    /// Whether the server starts no new ones (`covalentctl drain`).
    draining: bool,
    /// The environment that the server runs from, where it is not the active one: a restart is due.
    runs_from: Option<String>,
    /// The workflows that the server's end interrupted last; for root and the service account.
    interrupted: Option<Interrupted>,
    /// The newest backup in /var/backups/covalent; for root.
    last_backup: Option<PathBuf>,
    /// Why the newest attempt to build the wanted environment failed.
    failure: Option<FailedAttempt>,
}

/// What the launcher writes (`server/covalent_service/interrupted.py`).
#[derive(Deserialize, Serialize)]
struct Interrupted {
    when: Timestamp,
    workflows: Vec<Workflow>,
}

/// For how long an interruption is news.
const NEWS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many workflows of each sort have a line.
const NAMES: u8 = 5;

/// Bytes of the list of interrupted workflows that are read: thousands of them have less.
const SIZE_LIMIT: u64 = 1 << 20;

impl Interrupted {
    fn read(host: &Host) -> Option<Interrupted> {
        let file = File::open(host.interrupted()).ok()?;
        let found: Interrupted = serde_json::from_reader(file.take(SIZE_LIMIT)).ok()?;
        (Timestamp::now().duration_since(found.when) < NEWS).then_some(found)
    }
}

#[derive(Serialize)]
struct Service {
    active: String,
    enabled: String,
    since: String,
    status: String,
}

#[derive(Serialize)]
struct Environment {
    path: std::path::PathBuf,
    interpreter_is_there: bool,
    #[serde(flatten)]
    manifest: Manifest,
}

impl Report {
    fn new(host: &Host) -> Report {
        let names = [
            "ActiveState",
            "UnitFileState",
            "ActiveEnterTimestamp",
            "StatusText",
            "MainPID",
        ];
        let mut shown = systemd::show(host, &names);
        let [active, enabled, since, status, main_process] =
            names.map(|name| shown.remove(name).unwrap_or_default());
        let address = Address::now(host);
        let running = match active.as_str() {
            // Without systemd it may run all the same.
            "active" | "" => api::running(&address, NAMES).ok(),
            _ => None,
        };
        let state = State::read(host);
        let environment = Generation::active(host);
        let active_id = environment.as_ref().map(|active| &active.manifest.id);
        let held = state
            .held
            .filter(|held| active_id == Some(&held.generation));
        let because = held.as_ref().and_then(|held| held.because.clone());
        Report {
            version: 1,
            service: Service {
                active,
                enabled,
                since,
                status,
            },
            address: address.to_string(),
            running,
            draining: drain::is_draining(host),
            runs_from: runs_from(&main_process, environment.as_ref()),
            interrupted: Interrupted::read(host),
            last_backup: backup::newest(host),
            held: held.is_some(),
            environment: environment.map(|generation| Environment {
                interpreter_is_there: generation.has_interpreter(),
                path: generation.path,
                manifest: generation.manifest,
            }),
            failure: state.failure.or(because),
        }
    }

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
                    "{count} by the server's end, {when}{names}\n\
                     Next: ct.redispatch(ID, reuse_previous_results=True)()"
                ),
            ));
        }
        rows
    }

    /// One screen, a fact a line.
    fn text(&self, colour: bool) -> String {
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
            _ => format!("{}, {enabled}", paint(bad, active)),
        };
        let mut rows = vec![("service", service), ("address", self.address.clone())];
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
                    false => ("python", paint(bad, &format!("{python}, which is gone"))),
                });
                let made = made.strftime("%Y-%m-%d %H:%M:%S UTC");
                let count = packages.len();
                let what = format!(
                    "{}\n{count} packages from {source}, made {made}",
                    environment.path.display()
                );
                let what = match self.held {
                    true => what + "\nkept by covalentctl rollback until something new is wanted",
                    false => what,
                };
                rows.push(("environment", what));
                rows.push(("executors", executors.join(", ")));
            }
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
            what += &format!("\n{}", failure.message);
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

/// A line for each of the first workflows of `count`.
fn names(workflows: &[Workflow], count: u64) -> String {
    let shown = workflows.iter().take(NAMES.into());
    let lines: String = shown
        .map(|workflow| {
            let line = format!("\n{}  {}", workflow.dispatch_id, workflow.lattice_name);
            // A name is its user's: it must not steer the terminal.
            line.replace(|c: char| c.is_control() && c != '\n', "?")
        })
        .collect();
    match count.saturating_sub(NAMES.into()) {
        0 => lines,
        more => format!("{lines}\nand {more} more"),
    }
}

/// The environment that the main process was started from, if it is not the active one.
fn runs_from(process: &str, active: Option<&Generation>) -> Option<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let program = PathBuf::from(OsStr::from_bytes(line.split(|byte| *byte == 0).next()?));
    // <folder of the generation>/bin/python
    let folder = program.parent()?.parent()?;
    let from = folder.file_name()?.to_str()?;
    let active = active?;
    let another = folder.parent() == active.path.parent() && folder != active.path;
    another.then(|| from.to_string())
}

impl Status {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        let report = Report::new(host);
        if self.json {
            let json =
                serde_json::to_string_pretty(&report).context("writing the status as JSON")?;
            println!("{json}");
        } else {
            print!("{}", report.text(colour()));
        }
        Ok(match report.environment {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::from(Kind::NoEnvironment.exit_status()),
        })
    }
}

/// Colour only for a terminal, and never against the wish in `NO_COLOR`.
pub(super) fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !unwanted
}

/// The width of a column that these words stand in.
pub(super) fn column<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    words.map(|word| word.chars().count()).max().unwrap_or(0)
}
