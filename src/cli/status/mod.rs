//! `covalentctl status`. What `--json` prints is documented in docs/status.md.

mod text;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::list::{self, Row};
use super::terminal::colour;
use super::worker;
use crate::data::backup;
use crate::data::database;
use crate::data::places::{Database, Places};
use crate::environment::generation::{Generation, Manifest};
use crate::environment::requirement_file::Files;
use crate::environment::state::{FailedAttempt, State};
use crate::fleet::{membership, report};
use crate::service::address::Address;
use crate::service::api::{self, Running, Workflow};
use crate::service::drain;
use crate::system::failure::Kind;
use crate::system::host::Host;
use crate::system::print;
use crate::system::role::Role;
use crate::system::systemd;
use crate::system::terminal::one_line;
use crate::unprivileged::{self, Revision};

/// Show the state of the server, or the worker, and its environment
///
/// The exit status is 0 if there is an environment, and 10 if there is none.
#[derive(Args, Debug)]
pub struct Status {
    /// Print one JSON object instead; its fields keep their meaning, and new ones may be added
    #[arg(long)]
    json: bool,

    /// Print only the address of the UI for a browser on this machine; the exit status is 0
    #[arg(long, conflicts_with = "json")]
    address: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// The form of this object; a change of the fields below would count it up.
    version: u32,
    /// What this machine is: `server`, or `worker` of another machine's.
    role: &'static str,
    /// The unit, as systemd sees it; every field empty without systemd.
    service: Service,
    /// Where a browser on this machine finds the UI; empty on a worker.
    address: String,
    /// The active environment.
    environment: Option<Environment>,
    /// Whether the environment is the one that the administrator went back to.
    held: bool,
    /// The workflows that run; none where no server answers, or not this account.
    running: Option<Running>,
    /// Whether the server starts no new ones (`covalentctl drain`).
    draining: bool,
    /// The environment that the server runs from, where it is not the active one: a restart is due.
    runs_from: Option<String>,
    /// The workflows that the server's end interrupted of late; for root and the service account.
    interrupted: Option<Interrupted>,
    /// The plugins that packages of the system have brought.
    plugins: Vec<Row>,
    /// The packages of the administrator's own.
    own_packages: Vec<Row>,
    /// The database; for root.
    database: Option<Stored>,
    /// The newest backup in /var/backups/covalent; for root.
    last_backup: Option<PathBuf>,
    /// The workers on other machines; for root, of whom there are some.
    workers: Vec<worker::Row>,
    /// Which tasks wait for something that no worker has, in words.
    shortages: Vec<String>,
    /// What this machine is in a fleet; none of a server, and of a worker that was joined to none.
    joined: Option<Joined>,
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
        let text = unprivileged::read(&host.interrupted(), SIZE_LIMIT).ok()?;
        let found: Interrupted = serde_json::from_str(&text).ok()?;
        (Timestamp::now().duration_since(found.when) < NEWS).then_some(found)
    }
}

/// The database.
#[derive(Serialize)]
struct Stored {
    /// As its address begins: `sqlite`, `postgresql+psycopg2`.
    kind: String,
    /// The file; none of a database server.
    path: Option<PathBuf>,
    /// Its own revision; none where the file is not there yet, or on a database server, which is
    /// not asked: it may be far away.
    revision: Option<Revision>,
}

impl Stored {
    fn read(host: &Host, active: Option<&Generation>) -> Option<Stored> {
        let database = Places::read(host).ok()?.database;
        let kind = database.kind().to_string();
        let Database::File(path) = &database else {
            return Some(Stored {
                kind,
                path: None,
                revision: None,
            });
        };
        // In a folder that only the account may look into.
        let there = path.exists();
        let ask = |active| database::revision(host, active, &database).ok();
        Some(Stored {
            kind,
            revision: active.filter(|_| there).and_then(ask).flatten(),
            path: Some(host.absolute(path)),
        })
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
        let role = Role::of(host);
        let address = Address::told(host, &status);
        let running = match active.as_str() {
            _ if role == Role::Worker => None,
            // Without systemd it may run all the same.
            "active" | "" => api::running(&address, NAMES).ok(),
            _ => None,
        };
        let state = State::read(host).unwrap_or_default();
        let environment = Generation::active(host);
        let active_id = environment.as_ref().map(|active| &active.manifest.id);
        let held = state
            .held
            .filter(|held| active_id == Some(&held.generation));
        let because = held.as_ref().and_then(|held| held.because.clone());
        let active_one = environment.as_ref();
        let files = Files::find(host).ok();
        let fleet = report::Report::read(host);
        // Only root can see how they are.
        let is_root = !host.is_real() || rustix::process::geteuid().is_root();
        let workers = match role {
            Role::Server if is_root => worker::rows(host, fleet.as_ref()).unwrap_or_default(),
            _ => Vec::new(),
        };
        Report {
            version: 1,
            role: role.noun(),
            workers,
            shortages: fleet.iter().flat_map(report::Report::shortages).collect(),
            joined: Joined::read(host, role),
            service: Service {
                active,
                enabled,
                since,
                status,
            },
            address: match role {
                Role::Server => address.to_string(),
                Role::Worker => String::new(),
            },
            running,
            draining: drain::is_draining(host),
            runs_from: runs_from(&main_process, environment.as_ref()),
            interrupted: Interrupted::read(host),
            plugins: files
                .as_ref()
                .map_or_else(Vec::new, |files| list::plugins(host, files, active_one)),
            own_packages: files
                .and_then(|files| list::own(host, &files, active_one).ok())
                .unwrap_or_default(),
            database: Stored::read(host, active_one).filter(|_| role == Role::Server),
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
    another.then(|| one_line(from))
}

/// A worker's place in a fleet.
#[derive(Serialize)]
struct Joined {
    /// Its name there.
    name: String,
    /// The server.
    server: String,
    /// When its certificate ends.
    certificate_end: Timestamp,
}

impl Joined {
    fn read(host: &Host, role: Role) -> Option<Joined> {
        let place = match role {
            Role::Server => None,
            Role::Worker => membership::read(host).ok().flatten(),
        }?;
        Some(Joined {
            name: place.name,
            server: place.server,
            certificate_end: place.certificate.end,
        })
    }
}

impl Status {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        if self.address {
            print::answer(format_args!("{}\n", Address::now(host)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let report = Report::new(host);
        if self.json {
            let json =
                serde_json::to_string_pretty(&report).context("writing the status as JSON")?;
            print::answer(format_args!("{json}\n"))?;
        } else {
            print::answer(report.text(colour()))?;
        }
        Ok(match report.environment {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::from(Kind::NoEnvironment.exit_status()),
        })
    }
}
