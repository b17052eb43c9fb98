//! `covalentctl list`.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::terminal::column;
use crate::environment::generation::{self, Generation};
use crate::environment::requirement_file::{Files, named};
use crate::environment::state::State;
use crate::system::host::Host;
use crate::system::print;

/// List your own Python packages in the environment
///
/// Shows the packages that a requirement file names, with the installed version, and their
/// dependencies. Also shows what somebody installed with pip, and the plugins that system packages
/// have added. `covalentctl run -- pip list` shows everything.
#[derive(Args, Debug)]
pub struct List {
    /// Print a JSON list instead; its fields keep their meaning, and new ones may be added
    #[arg(long)]
    json: bool,
}

/// A package in the list.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// What is in the active environment, if it is there.
    version: Option<String>,
    /// The requirement, or empty.
    requirement: String,
    /// Who wants it: a file and a line, or words.
    because: String,
}

impl List {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        let active = Generation::active(host);
        let files = Files::find(host)?;
        let mut rows = own(host, &files, active.as_ref())?;
        rows.extend(plugins(host, &files, active.as_ref()));
        if self.json {
            let json = serde_json::to_string_pretty(&rows).context("writing the list as JSON")?;
            print::answer(format_args!("{json}\n"))?;
            return Ok(());
        }
        if rows.is_empty() {
            print::answer("There are no packages of your own. To add one: covalentctl add NAME\n")?;
        }
        let names = column(rows.iter().map(|row| row.name.as_str()));
        let versions = column(rows.iter().map(|row| row.shown_version()));
        for row in &rows {
            let version = row.shown_version();
            let why = if row.requirement.is_empty() {
                row.because.clone()
            } else {
                format!("{}, {}", row.requirement, row.because)
            };
            let name = &row.name;
            print::answer(format_args!("{name:names$}  {version:versions$}  {why}\n"))?;
        }
        Ok(())
    }
}

impl Row {
    fn new(name: &str, version: Option<String>, because: &str) -> Row {
        Row {
            name: name.to_string(),
            version,
            requirement: String::new(),
            because: because.to_string(),
        }
    }

    pub(super) fn shown_version(&self) -> &str {
        self.version.as_deref().unwrap_or("missing")
    }
}

/// The packages that the administrator has asked for, or has installed by hand.
pub(super) fn own(host: &Host, files: &Files, active: Option<&Generation>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    // Some are for root alone.
    let (readable, closed): (Vec<PathBuf>, Vec<PathBuf>) =
        (files.requirements.iter().cloned()).partition(|path| File::open(path).is_ok());
    for requirement in named(&readable)? {
        rows.push(Row {
            version: version(active, &requirement.name),
            name: requirement.name,
            requirement: requirement.text,
            because: format!("{}:{}", requirement.path.display(), requirement.line),
        });
    }
    if let Some(active) = active {
        for (name, there) in &active.manifest.own {
            if !rows.iter().any(|row| row.name == *name) {
                let because = if closed.is_empty() {
                    "needed by one of these"
                } else {
                    "your own, or needed by one of those; only root can see which"
                };
                rows.push(Row::new(name, Some(there.clone()), because));
            }
        }
        for (name, there) in &generation::changes(active).added {
            if !rows.iter().any(|row| row.name == *name) {
                let because = "installed by hand; carried over by the next covalentctl apply";
                rows.push(Row::new(name, Some(there.clone()), because));
            }
        }
    }
    if let Some(servers) = files.locks.iter().find(|lock| **lock == host.server_lock()) {
        for requirement in named(std::slice::from_ref(servers))? {
            let there = version(active, &requirement.name);
            rows.push(Row::new(
                &requirement.name,
                there,
                "the server's, for its workers",
            ));
        }
    }
    for name in State::read(host)?.carried.keys() {
        if !rows.iter().any(|row| row.name == *name) {
            let because = "installed by hand, carried over";
            rows.push(Row::new(name, version(active, name), because));
        }
    }
    Ok(rows)
}

/// The plugins that packages of the system have brought.
pub(super) fn plugins(host: &Host, files: &Files, active: Option<&Generation>) -> Vec<Row> {
    let servers = host.server_lock();
    let locks = files.locks.iter().skip(1).filter(|lock| **lock != servers);
    locks
        .map(|lock| {
            let name = lock.file_stem().unwrap_or_default().to_string_lossy();
            let because = format!("a system package, {}", lock.display());
            Row::new(&name, version(active, &name), &because)
        })
        .collect()
}

fn version(active: Option<&Generation>, name: &str) -> Option<String> {
    active?.manifest.packages.get(name).cloned()
}
