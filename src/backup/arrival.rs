//! What comes out of an archive, from its arrival to its place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::archive::extract;
use crate::account::Account;
use crate::command::{Command, Output};
use crate::database::COMPANIONS;
use crate::file;

/// Making a folder, renaming, or removing what was unpacked.
const CHANGE_LIMIT: Duration = Duration::from_secs(600);

/// Something out of an archive, beside the place that it is for.
pub(super) struct Arrival<'a> {
    /// Who may change the folder: never root where the account could put links in the way.
    owner: Option<&'a Account>,
    folder: PathBuf,
    arrived: PathBuf,
    target: PathBuf,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let _ = self.run(
            "rm",
            &["--recursive".as_ref(), "--force".as_ref(), &self.folder],
        );
    }
}

impl<'a> Arrival<'a> {
    pub(super) fn new(
        archive: &Path,
        member: &Path,
        target: &Path,
        account: Option<&'a Account>,
    ) -> Result<Arrival<'a>> {
        let parent = target.parent().unwrap_or(target);
        let metadata =
            fs::metadata(parent).with_context(|| format!("looking at {}", parent.display()))?;
        let name = member.file_name().unwrap_or_default();
        let folder = file::with_end(target, ".restoring");
        let arrival = Arrival {
            owner: account.filter(|account| metadata.uid() == account.uid),
            arrived: folder.join(name),
            folder,
            target: target.into(),
        };
        arrival.run(
            "rm",
            &["--recursive".as_ref(), "--force".as_ref(), &arrival.folder],
        )?;
        arrival.run("mkdir", &["--mode=0700".as_ref(), &arrival.folder])?;
        let above = member.components().count() - 1;
        extract(archive, &[member], &arrival.folder, above, arrival.owner)?;
        ensure!(
            arrival.arrived.exists(),
            "{} is not in the backup",
            member.display()
        );
        Ok(arrival)
    }

    /// Puts it in its place, and aside what was there. Returns where that is.
    fn place(&self, end: &str) -> Result<Option<PathBuf>> {
        for companion in [""].iter().chain(&COMPANIONS) {
            let (there, aside) = self.beside(end, companion);
            if there.exists() {
                self.rename(&there, &aside)?;
            }
        }
        self.rename(&self.arrived, &self.target)?;
        let (_, aside) = self.beside(end, "");
        Ok(aside.exists().then_some(aside))
    }

    /// Makes it as it was, however far it came.
    fn take_back(&self, end: &str) -> Result<()> {
        if self.target.exists() && !self.arrived.exists() {
            self.rename(&self.target, &self.arrived)?;
        }
        for companion in [""].iter().chain(&COMPANIONS) {
            let (there, aside) = self.beside(end, companion);
            if aside.exists() {
                self.rename(&aside, &there)?;
            }
        }
        Ok(())
    }

    fn beside(&self, end: &str, companion: &str) -> (PathBuf, PathBuf) {
        let aside = file::with_end(&self.target, end);
        (
            file::with_end(&self.target, companion),
            file::with_end(&aside, companion),
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.run("mv", &["--no-target-directory".as_ref(), from, to])
            .map(drop)
    }

    fn run(&self, program: &str, arguments: &[&Path]) -> Result<Output> {
        let mut command = Command::new(program, CHANGE_LIMIT).args(arguments);
        if let Some(owner) = self.owner {
            command = command.account(owner);
        }
        command.run()
    }
}

/// All of it, or nothing.
pub(super) fn place_all(arrivals: &[Arrival], end: &str) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    for (number, arrival) in arrivals.iter().enumerate() {
        match arrival.place(end) {
            Ok(was_there) => aside.extend(was_there),
            Err(error) => {
                for placed in arrivals[..=number].iter().rev() {
                    placed.take_back(end)?;
                }
                return Err(error);
            }
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_placed_as_a_whole_is_taken_back() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        let arrival = |name: &str| {
            let folder = path(&format!("{name}.restoring"));
            fs::create_dir(&folder).unwrap();
            fs::write(path(name), "old").unwrap();
            fs::write(folder.join(name), "new").unwrap();
            Arrival {
                owner: None,
                arrived: folder.join(name),
                target: path(name),
                folder,
            }
        };
        let arrivals = [arrival("a"), arrival("b")];
        fs::write(path("a-journal"), "of old").unwrap();
        fs::remove_file(&arrivals[1].arrived).unwrap();
        place_all(&arrivals, ".end").unwrap_err();
        assert_eq!((read("a"), read("b")), ("old".into(), "old".into()));
        assert_eq!(read("a-journal"), "of old");

        fs::write(&arrivals[1].arrived, "new").unwrap();
        place_all(&arrivals, ".end").unwrap();
        assert_eq!((read("a"), read("b")), ("new".into(), "new".into()));
        assert_eq!(
            (read("a.end"), read("a.end-journal")),
            ("old".into(), "of old".into())
        );
    }
}
