//! `covalentctl status`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::failure::Kind;
use crate::generation::{Generation, Manifest};
use crate::host::Host;
use crate::server;
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
    /// Why the newest attempt to build the wanted environment failed.
    failure: Option<FailedAttempt>,
}

/// How the launcher's `STATUS=` starts when it serves; its address follows.
const SERVING: &str = "serving at ";

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
        ];
        let mut shown = systemd::show(host, &names);
        let [active, enabled, since, status] =
            names.map(|name| shown.remove(name).unwrap_or_default());
        // What the running server says of itself counts, and needs no right to read its settings.
        let address = status.strip_prefix(SERVING).map_or_else(
            || server::Address::of(host).to_string(),
            |address| address.to_string(),
        );
        let state = State::read(host);
        let environment = Generation::active(host);
        let held = state.held.is_some_and(|held| {
            environment
                .as_ref()
                .is_some_and(|active| active.manifest.id == held.generation)
        });
        Report {
            version: 1,
            service: Service {
                active,
                enabled,
                since,
                status,
            },
            address,
            held,
            environment: environment.map(|generation| Environment {
                interpreter_is_there: generation.has_interpreter(),
                path: generation.path,
                manifest: generation.manifest,
            }),
            failure: state.failure,
        }
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
        if let Some(failure) = &self.failure {
            let when = failure.when.strftime("%Y-%m-%d %H:%M:%S UTC");
            let mut what = paint(
                bad,
                &format!("the newest environment could not be made, {when}"),
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
