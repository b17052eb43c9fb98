//! `covalentctl remove`.

use anyhow::Result;
use clap::Args;

use super::change::{change_file, require_root};
use super::role::require_server;
use crate::environment::generation::{Generation, changes};
use crate::environment::own_requirements::LocalFile;
use crate::environment::requirement::normalize;
use crate::environment::requirement_file::{Files, named};
use crate::environment::state::State;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Remove your own Python packages from the environment
///
/// What only they needed is removed with them. The packages can be ones that `covalentctl add`
/// added, or ones that somebody installed with pip.
#[derive(Args, Debug)]
pub struct Remove {
    /// The name of a package, as `covalentctl list` shows it
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Remove {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "has the packages of its server")?;
        require_root(host)?;
        let progress = Progress::interactive();
        change_file(host, &progress, |file, forget| {
            self.names.iter().try_fold(file.clone(), |file, name| {
                without(host, &file, &normalize(name), forget)
            })
        })?
        .finish(host, &progress)
    }
}

/// The file without the package; one that somebody installed by hand is to be forgotten.
fn without(
    host: &Host,
    file: &LocalFile,
    name: &str,
    forget: &mut Vec<String>,
) -> Result<LocalFile> {
    let by_hand = State::read(host)?.carried.contains_key(name)
        || Generation::active(host).is_some_and(|active| changes(&active).added.contains_key(name));
    if by_hand {
        forget.push(name.to_string());
    }
    if let Some(file) = file.without(name) {
        return Ok(file);
    }
    if by_hand {
        return Ok(file.clone());
    }
    let files = Files::find(host)?;
    let all: Vec<_> = files
        .requirements
        .iter()
        .chain(&files.locks)
        .cloned()
        .collect();
    let elsewhere = named(&all)?.into_iter().find(|found| found.name == name);
    Err(match elsewhere {
        Some(found) if files.requirements.contains(&found.path) => Failure::error(
            Kind::Unknown,
            format!(
                "{name} is required by {}:{}",
                found.path.display(),
                found.line
            ),
            format!(
                "remove it from {}, then: covalentctl apply",
                found.path.display()
            ),
        ),
        Some(found) => Failure::error(
            Kind::Unknown,
            format!(
                "{name} is part of what Covalent or a plugin needs ({})",
                found.path.display()
            ),
            "covalentctl list shows your own packages",
        ),
        None => Failure::error(
            Kind::Unknown,
            format!("{name} is not one of your own packages"),
            "covalentctl list shows them",
        ),
    })
}
