//! What a server kept in somebody's home, copied to the service's own places.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::data::backup;
use crate::data::places::{Database, Places};
use crate::environment::generation::Generation;
use crate::system::account::{Account, NAME};
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::unprivileged::Child;
use crate::unprivileged::ownership::{as_another, refuse_others_way};

/// Terabytes, on a slow disk.
const COPY_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Reading one column of one table.
const QUESTION_LIMIT: Duration = Duration::from_secs(300);

/// What reads the old files and lists the new ones.
const SCRIPT: &str = "adopt.py";

/// What `server/adopt.py` says.
#[derive(Debug, Deserialize)]
struct Taken {
    workflows: Vec<String>,
    data: PathBuf,
    plugins: Vec<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub struct Brought {
    /// How many workflows.
    pub workflows: usize,
    /// Where their files were, and still are.
    pub data: PathBuf,
    /// Executor plugins of the user's own, which root has to look at before the server loads them.
    pub plugins: Vec<PathBuf>,
    /// Where that is which was at the service's places.
    pub aside: Vec<PathBuf>,
}

/// Copies what a server kept in `folder`. `replace`: even if that puts workflows of the service aside.
pub fn bring(host: &Host, folder: &Path, replace: bool, progress: &Progress) -> Result<Brought> {
    let folder = &std::path::absolute(folder).context("looking for the current folder")?;
    let action = || format!("looking at {}", folder.display());
    let metadata = folder.symlink_metadata().with_context(action)?;
    ensure!(
        metadata.is_dir(),
        "{} is not a folder; if it is a link, name the folder that it leads to",
        folder.display()
    );
    // Nothing is read but what its owner may read.
    let owner = Account {
        uid: metadata.uid(),
        gid: metadata.gid(),
    };
    if owner.uid == 0 {
        refuse_others_way(folder)?;
    }
    let active = Generation::usable(host)?;
    let places = Places::read(host)?;
    let Database::File(database) = &places.database else {
        return Err(Failure::error(
            Kind::Database,
            "the service's database is on a server (COVALENT_DATABASE_URL), which no file can become",
            "take that line out of /etc/covalent/covalent.env, and run this again",
        ));
    };
    let end = if Path::new("/usr/bin/zstd").exists() {
        "tar.zst"
    } else {
        "tar.gz"
    };
    let staging = host.state().join("adopt");
    file::make_folder(&staging, 0o711)?;
    let archive = Archive(staging.join(format!("adopted.{end}")));
    archive.create(&owner)?;
    let target = json!({
        "home": host.absolute(&host.data()),
        "database": host.absolute(database),
        "data": host.absolute(&places.data),
        "configuration": host.absolute(&places.configuration),
    });
    let what = format!("copying what is in {}", folder.display());
    let (output, _) = progress.step(&what, || {
        as_another(&owner, &active.manifest.interpreter.path, COPY_LIMIT)
            .args(["-I", "-S", "-B"])
            .args([host.launcher().join(SCRIPT)])
            .args(["take".as_ref(), folder.as_os_str(), archive.0.as_os_str()])
            .args([target.to_string()])
            .run()
    })?;
    let taken: Taken = serde_json::from_str(&output.stdout).context("understanding adopt.py")?;
    // The owner may have it open, and it is the account that unpacks it.
    chown(&archive.0, Some(0), Some(0)).context("taking the copy")?;
    if !replace && database.exists() {
        refuse_to_replace(host, &active, database, &taken, folder)?;
    }
    let aside = backup::restore(host, &archive.0, false, progress)?;
    Ok(Brought {
        workflows: taken.workflows.len(),
        data: taken.data,
        plugins: taken.plugins,
        aside,
    })
}

/// Fails if the service has workflows that are not among those.
fn refuse_to_replace(
    host: &Host,
    active: &Generation,
    database: &Path,
    taken: &Taken,
    folder: &Path,
) -> Result<()> {
    let own = Child::new(host, &active.manifest.interpreter.path, QUESTION_LIMIT)
        .args(["-I", "-S", "-B"])
        .args([host.launcher().join(SCRIPT)])
        .args(["list".as_ref(), database.as_os_str()])
        .run()?
        .stdout;
    let own = own
        .lines()
        .filter(|id| !taken.workflows.iter().any(|taken| taken == id));
    let count = own.filter(|id| !id.is_empty()).count();
    if count == 0 {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Database,
        format!(
            "the service of the account {NAME} has {count} workflows of its own, which would be put \
             aside"
        ),
        format!(
            "if that is meant: sudo covalentctl adopt --replace {}",
            folder.display()
        ),
    ))
}

/// The copy, which is removed in the end.
struct Archive(PathBuf);

impl Archive {
    fn create(&self, owner: &Account) -> Result<File> {
        let action = || format!("writing {}", self.0.display());
        file::remove(&self.0)?;
        let file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&self.0)
            .with_context(action)?;
        chown(&self.0, Some(owner.uid), Some(owner.gid)).with_context(action)?;
        Ok(file)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
