//! `covalentctl list`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::status::column;
use crate::generation::{self, Generation};
use crate::host::Host;
use crate::local::named;
use crate::state::State;
use crate::wanted::Files;

/// List the Python packages of your own in the environment
///
/// Those that a requirement file names, with the version that is installed, what they brought
/// along, what somebody installed with pip, and the plugins of Covalent that packages have added.
/// `covalentctl run -- pip list` shows everything there is.
#[derive(Args, Debug)]
pub struct List {
    /// Print a JSON list instead; its fields stay what they are, and new ones may come
    #[arg(long)]
    json: bool,
}

/// A package in the list.
#[derive(Serialize)]
struct Row {
    name: String,
    /// What is in the active environment, if it is there.
    version: Option<String>,
    /// The requirement, or empty.
    requirement: String,
    /// Who wants it: a file and a line, or words.
    because: String,
}

impl List {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        let rows = rows(host)?;
        if self.json {
            let json = serde_json::to_string_pretty(&rows).context("writing the list as JSON")?;
            println!("{json}");
            return Ok(ExitCode::SUCCESS);
        }
        if rows.is_empty() {
            println!("No package of your own. To add one: covalentctl add NAME");
        }
        let names = column(rows.iter().map(|row| row.name.as_str()));
        let versions = column(rows.iter().map(|row| row.shown_version()));
        for row in &rows {
            let version = row.shown_version();
            let why = match row.requirement.is_empty() {
                true => row.because.clone(),
                false => format!("{}, {}", row.requirement, row.because),
            };
            println!("{:names$}  {version:versions$}  {why}", row.name);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Row {
    fn shown_version(&self) -> &str {
        self.version.as_deref().unwrap_or("missing")
    }
}

fn rows(host: &Host) -> Result<Vec<Row>> {
    let files = Files::find(host)?;
    let active = Generation::active(host);
    let version = |name: &str| {
        let active = active.as_ref()?;
        active.manifest.packages.get(name).cloned()
    };
    let mut rows = Vec::new();
    for requirement in named(&files.requirements)? {
        rows.push(Row {
            version: version(&requirement.name),
            name: requirement.name,
            requirement: requirement.text,
            because: format!("{}:{}", requirement.path.display(), requirement.line),
        });
    }
    let plain = |name: &str, version: Option<String>, because: &str| Row {
        name: name.to_string(),
        version,
        requirement: String::new(),
        because: because.to_string(),
    };
    if let Some(active) = &active {
        for (name, there) in &active.manifest.own {
            if !rows.iter().any(|row| row.name == *name) {
                rows.push(plain(name, Some(there.clone()), "needed by one of these"));
            }
        }
        for (name, there) in &generation::changes(active).added {
            if !rows.iter().any(|row| row.name == *name) {
                let because = "installed by hand; carried over by the next covalentctl apply";
                rows.push(plain(name, Some(there.clone()), because));
            }
        }
    }
    for name in State::read(host).carried.keys() {
        if !rows.iter().any(|row| row.name == *name) {
            let because = "installed by hand, carried over";
            rows.push(plain(name, version(name), because));
        }
    }
    for lock in files.locks.iter().skip(1) {
        let name = lock.file_stem().unwrap_or_default().to_string_lossy();
        let because = format!("a package of the system, {}", lock.display());
        rows.push(plain(&name, version(&name), &because));
    }
    Ok(rows)
}
