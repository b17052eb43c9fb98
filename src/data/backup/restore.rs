//! Bringing a backup back.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::{DATABASE_DUMP, DATABASE_FILE, extract, read_manifest};
use super::arrival::{Arrival, place_all, take_back_all};
use super::configuration::Configuration;
use super::snapshot::{self, exchange};
use super::staging::Staging;
use super::{Manifest, version};
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::service::environment_file::EnvironmentFile;
use crate::service::lifecycle;
use crate::system::account::Account;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

/// Brings back what a backup holds; what is there now stays beside it. The settings only if asked
/// for. Returns where everything is that was there before.
pub fn restore(
    host: &Host,
    archive: &Path,
    with_settings: bool,
    progress: &Progress,
) -> Result<Vec<PathBuf>> {
    let manifest = read_manifest(host, archive)?;
    let turn = Turn::acquire(host, progress)?;
    let active = Generation::usable(host)?;
    check_version(&manifest, &active)?;
    let staging = Staging::new(host)?;
    let end = snapshot::aside("restore");
    let settings = if with_settings {
        Some(Configuration::unpack(host, archive, &staging)?)
    } else {
        None
    };
    let environment_file = match &settings {
        Some(settings) => settings.environment_file(host)?,
        None => EnvironmentFile::read(host)?,
    };
    let places = Places::of(host, &environment_file);
    check_places(host, &manifest, &places)?;

    // All that takes long, and all that can fail for want of room, before the server stops.
    let account = Account::service(host)?;
    let mut arrivals = Vec::new();
    progress.step("unpacking the backup", || {
        let mut arrive = |member: &Path, target: &Path, as_given: &Path| {
            let arrival = Arrival::new(host, archive, member, target, as_given, account.as_ref())?;
            arrivals.push(arrival);
            anyhow::Ok(())
        };
        for (target, as_given) in [
            (&places.data, &places.data_as_set),
            (&places.configuration, &places.configuration),
        ] {
            let member = host.member(target);
            if manifest.members.contains(&member) {
                arrive(&member, target, as_given)?;
            }
        }
        if let Database::File(file) = &places.database {
            arrive(DATABASE_FILE.as_ref(), file, file)?;
        }
        if let Some(settings) = &settings {
            arrivals.extend(settings.arrive(host)?);
        }
        if let Database::Server(_) = places.database {
            extract(archive, &[DATABASE_DUMP.as_ref()], &staging.path, 0, None)?;
        }
        Ok(())
    })?;

    let was_running = lifecycle::stop(host).context("stopping the server")?;
    let placed = place(host, &active, &places, &staging, arrivals, &end);
    drop((staging, turn));
    if was_running {
        // Also after a failure: what is there is complete, old or new.
        lifecycle::start(host).context("starting the server")?;
    }
    placed
}

/// Puts everything in its place. The server does not run.
fn place(
    host: &Host,
    active: &Generation,
    places: &Places,
    staging: &Staging,
    arrivals: Vec<Arrival>,
    end: &str,
) -> Result<Vec<PathBuf>> {
    let mut aside = place_all(&arrivals, end)?;
    if let Database::Server(_) = &places.database {
        let dump = staging.path.join(DATABASE_DUMP);
        match exchange(host, active, &places.database, staging, &dump, end) {
            Ok(before) => aside.push(before),
            Err(error) => {
                take_back_all(&arrivals, end)?;
                return Err(error);
            }
        }
    }
    Ok(aside)
}

/// A database can be brought forward, and never back.
fn check_version(manifest: &Manifest, active: &Generation) -> Result<()> {
    let same = active.manifest.database_revision.as_ref() == Some(&manifest.database_revision);
    let here = version(active);
    if same || numbers(&manifest.covalent) <= numbers(&here) {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Database,
        format!(
            "the backup is of Covalent {}, and this is {here}, which can't read its database",
            manifest.covalent
        ),
        format!("install covalent {} first", manifest.covalent),
    ))
}

/// The database names the files by their paths: they have to come back to where they were.
fn check_places(host: &Host, manifest: &Manifest, places: &Places) -> Result<()> {
    let database = match &places.database {
        Database::File(_) => "a file",
        Database::Server(_) => "on a server",
    };
    let then = match manifest.database {
        Some(_) => "a file",
        None => "on a server",
    };
    let data = host.absolute(&places.data);
    let reason = if manifest.data != data {
        format!(
            "its data was in {}, and is in {} now",
            manifest.data.display(),
            data.display()
        )
    } else if database != then {
        format!("its database was {then}, and is {database} now")
    } else {
        return Ok(());
    };
    Err(Failure::error(
        Kind::Settings,
        format!("the backup does not fit /etc/covalent/covalent.env: {reason}"),
        "set it as it was, or bring back the settings of the backup too: covalentctl restore \
         --settings",
    ))
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}
