//! What is at the server's own places and belongs to somebody else, such as the root that ran the
//! previous server.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::unit;
use crate::service::environment_file::EnvironmentFile;
use crate::service::lifecycle;
use crate::system::account::{Account, NAME};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::systemd;
use crate::unprivileged::ownership::{Change, refuse_others_way, take_over};

/// The variables of `covalent.env` that name a folder of the server's alone.
const FOLDERS: [&str; 5] = [
    "COVALENT_DATA_DIR",
    "COVALENT_CACHE_DIR",
    "COVALENT_LOGDIR",
    "COVALENT_CONFIG_DIR",
    "COVALENT_EXECUTOR_DIR",
];

/// Folders that are never Covalent's, and whose folders may be.
const SHARED: [&str; 6] = [
    "/srv",
    "/mnt",
    "/media",
    "/var/lib",
    "/var/log",
    "/var/cache",
];

/// What there is to be taken over.
#[derive(Debug, Default)]
pub struct Plan {
    /// The unit below /etc that hides the package's.
    pub unit: Option<PathBuf>,
    /// Folders with how many files in each are not the account's.
    folders: Vec<(PathBuf, u64)>,
    /// Why others are not taken.
    refused: Vec<String>,
}

impl Plan {
    /// Looks at everything, and changes nothing.
    pub fn of(host: &Host) -> Result<Plan> {
        let Some(account) = Account::service(host)? else {
            return Ok(Plan::default());
        };
        let (mut folders, mut refused) = (Vec::new(), Vec::new());
        for folder in places(host)? {
            match take_over(&folder, &account, Change::Nothing) {
                Ok(found) if found.count == 0 => {}
                Ok(found) => folders.push((folder, found.count)),
                Err(error) => refused.push(format!("{error:#}")),
            }
        }
        Ok(Plan {
            unit: unit::hiding(host),
            folders,
            refused,
        })
    }

    /// Whether there is data to be taken over.
    pub fn has_data(&self) -> bool {
        !self.folders.is_empty()
    }

    /// What is going to be done, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(unit) = &self.unit {
            lines.push(format!(
                "{} is moved aside, so that the package's unit counts",
                unit.display()
            ));
        }
        for (folder, count) in &self.folders {
            lines.push(format!(
                "{}: {count} files and folders in it become the account {NAME}'s",
                folder.display()
            ));
        }
        lines
    }
}

/// The folders that exist, without links, those inside of others left out.
fn places(host: &Host) -> Result<Vec<PathBuf>> {
    let file = EnvironmentFile::read(host)?;
    let named = FOLDERS.iter().filter_map(|name| file.get(name));
    let database = file.get("COVALENT_DATABASE").map(Path::new);
    let database = database.and_then(Path::parent).filter(|folder| {
        folder.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name.contains("covalent")
        })
    });
    let paths = named.map(PathBuf::from).chain(database.map(PathBuf::from));
    let mut places = vec![home(host)];
    for path in paths {
        let Ok(path) = host.path(path).canonicalize() else {
            continue;
        };
        let is_inside = places.iter().any(|place| path.starts_with(place));
        if path.is_dir() && !is_inside && is_ones_own(&path) {
            places.push(path);
        }
    }
    places.retain(|place| place.is_dir());
    Ok(places)
}

/// Whether a folder is in one of those that are shared out, and so may be somebody's alone.
fn is_ones_own(path: &Path) -> bool {
    let mut above = path.ancestors().skip(1);
    above.any(|above| SHARED.iter().any(|shared| above == Path::new(shared)))
}

/// Does what the plan says, with the previous server stopped meanwhile. If it ran, it is started again
/// as the package's.
pub fn adopt(host: &Host, plan: &Plan, progress: &Progress) -> Result<()> {
    let account = Account::service(host)?
        .with_context(|| format!("there is no account {NAME}; install the package again"))?;
    let is_of_before = plan.unit.is_some() || runs_as_another(host)?;
    let was_running = is_of_before && lifecycle::stop(host).context("stopping the server")?;
    let done = take(host, plan, &account, progress);
    if was_running {
        // Also after a failure: what is there is as complete as it was.
        lifecycle::start(host).context("starting the server")?;
    }
    done
}

fn take(host: &Host, plan: &Plan, account: &Account, progress: &Progress) -> Result<()> {
    if let Some(path) = &plan.unit {
        let aside = unit::put_aside(host, path)?;
        progress.say(&format!("the previous unit is now {}", aside.display()));
    }
    for reason in &plan.refused {
        progress.warn(&format!("left as it is: {reason}"));
    }
    for (folder, _) in &plan.folders {
        let taken = take_over(folder, account, Change::Owner)?;
        progress.say(&format!(
            "took over {}: {} files and folders are the account {NAME}'s now, and where they were",
            folder.display(),
            taken.count
        ));
        for left in taken.left {
            progress.warn(&format!("left as it is: {left}"));
        }
    }
    let home = home(host);
    let is_outside = |folder: &PathBuf| !folder.starts_with(&home);
    if plan.folders.iter().any(|(folder, _)| is_outside(folder)) {
        // With those that were taken over earlier, and without those that were refused: not only root
        // says where they are.
        let mut outside = places(host)?;
        outside.retain(|folder| is_outside(folder) && refuse_others_way(folder).is_ok());
        let drop_in = unit::open(host, &outside)?;
        progress.say(&format!(
            "{} lets the server write outside of {}",
            drop_in.display(),
            home.display()
        ));
    }
    Ok(())
}

/// The account's home, which may be a link.
fn home(host: &Host) -> PathBuf {
    let home = host.data();
    home.canonicalize().unwrap_or(home)
}

/// Whether the unit runs, and as another than the account.
pub(super) fn runs_as_another(host: &Host) -> Result<bool> {
    let Some(account) = Account::service(host)?.filter(|_| systemd::is_running(host)) else {
        return Ok(false);
    };
    if !systemd::is_active(host)? {
        return Ok(false);
    }
    // That of a unit that forks may be unknown.
    let process = systemd::show(host, &["MainPID"])
        .remove("MainPID")
        .unwrap_or_default();
    let owner = host.path("/proc").join(process).metadata();
    Ok(owner.map_or(true, |found| found.uid() != account.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_may_be_somebody_elses_is_not_taken() {
        for (path, own) in [
            ("/srv/covalent", true),
            ("/var/log/covalent", true),
            ("/srv/a/data", true),
            ("/var/log", false),
            ("/srv", false),
            ("/etc/covalent", false),
            ("/home/alice/data", false),
            ("/usr/share/covalent", false),
        ] {
            assert_eq!(is_ones_own(Path::new(path)), own, "{path}");
        }
    }
}
