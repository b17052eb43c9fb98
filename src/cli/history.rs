//! `covalentctl history`.

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::terminal::column;
use crate::environment::generation::{Generation, Manifest};
use crate::environment::source::described;
use crate::system::host::Host;
use crate::system::print;

/// List the environments, newest first
///
/// A setting in /etc/covalent/covalentctl.toml says how many are kept. `covalentctl rollback`
/// returns to one of them.
#[derive(Args, Debug)]
pub struct History {
    /// Print a JSON list of the manifests instead; fields keep their meaning, and new ones may be
    /// added
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry {
    active: bool,
    #[serde(flatten)]
    manifest: Manifest,
}

impl Entry {
    /// What it holds beside what every installation of this Covalent does.
    fn text(&self) -> String {
        let Manifest {
            interpreter,
            packages,
            source,
            own,
            carried,
            seconds,
            ..
        } = &self.manifest;
        let taken =
            seconds.create + seconds.resolve + seconds.install + seconds.compile + seconds.verify;
        let mut text = format!(
            "Covalent {}, Python {}, {} packages from {} in {taken:.1} s",
            self.manifest.covalent().unwrap_or("?"),
            interpreter.version_text(),
            packages.len(),
            described(source)
        );
        for (name, version) in own.iter().chain(carried) {
            text += &format!(", {name} {version}");
        }
        text
    }
}

impl History {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        let active = Generation::active(host).map(|active| active.path);
        let entries: Vec<Entry> = Generation::all(host)?
            .into_iter()
            .map(|generation| Entry {
                active: Some(&generation.path) == active.as_ref(),
                manifest: generation.manifest,
            })
            .collect();
        if self.json {
            let json =
                serde_json::to_string_pretty(&entries).context("writing the history as JSON")?;
            print::answer(format_args!("{json}\n"))?;
            return Ok(());
        }
        if entries.is_empty() {
            print::answer(
                "No environment has been built yet. To build one, type: sudo covalentctl apply\n",
            )?;
        }
        let width = column(entries.iter().map(|entry| entry.manifest.id.as_str()));
        for entry in &entries {
            let mark = if entry.active { '*' } else { ' ' };
            let id = &entry.manifest.id;
            print::answer(format_args!("{mark} {id:width$}  {}\n", entry.text()))?;
        }
        Ok(())
    }
}
