//! What comes out of an archive, from its arrival to its place.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};

use super::archive::extract;
use crate::data::database::COMPANIONS;
use crate::system::account::{Account, NAME};
use crate::system::command::{Command, Output};
use crate::system::failure::{self, Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::reach::{not_roots, quoted};
use crate::unprivileged::{Child, next_step};

/// Making a folder, renaming, or removing what was unpacked.
const CHANGE_LIMIT: Duration = Duration::from_secs(600);

/// The mode of the folders that are missing on the way, as the launcher makes them.
const PARENT_MODE: u32 = 0o750;

/// Something out of an archive, beside the place that it is for.
pub(super) struct Arrival<'a> {
    actor: Actor<'a>,
    folder: PathBuf,
    arrived: PathBuf,
    target: PathBuf,
}

/// Who changes the folder that the place is in.
enum Actor<'a> {
    /// The caller: root, or whoever tries a tree.
    Caller,
    /// The account, which may have put links in the way: it can change the second.
    Account(&'a Host, &'a Account, PathBuf),
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

impl<'a> Arrival<'a> {
    /// Unpacks what is the account's. `as_given` is how the path of the target was given.
    pub(super) fn new(
        host: &'a Host,
        archive: &Path,
        member: &Path,
        target: &Path,
        as_given: &Path,
        account: Option<&'a Account>,
    ) -> Result<Arrival<'a>> {
        let name = member.file_name().unwrap_or_default();
        let account = account.map(|account| (host, account));
        make_parents(target, as_given, account)?;
        let arrival = Arrival::beside(target, name, Actor::of(target, as_given, account)?);
        arrival.clear()?;
        match (&arrival.actor, account) {
            (Actor::Caller, Some((_, account))) => make_folder(&arrival.folder, 0o700, account)?,
            (actor, _) => actor
                .run("mkdir", &["--mode=0700".as_ref(), &arrival.folder])
                .map(drop)
                .map_err(|error| actor.explain(as_given, error))?,
        }
        let above = member.components().count() - 1;
        // As the account in any case: it has written what is in there.
        extract(archive, &[member], &arrival.folder, above, account)?;
        ensure!(
            is_there(&arrival.arrived),
            "{} is not in the backup",
            member.display()
        );
        Ok(arrival)
    }

    /// Writes a file of root's, and of a group's if one is given.
    pub(super) fn of_root(
        target: &Path,
        content: &[u8],
        mode: u32,
        group: Option<u32>,
    ) -> Result<Arrival<'a>> {
        let name = target.file_name().unwrap_or_default();
        file::make_folder(target.parent().unwrap_or(target), 0o755)?;
        let arrival = Arrival::beside(target, name, Actor::Caller);
        arrival.clear()?;
        file::make_folder(&arrival.folder, 0o700)?;
        file::write_for(&arrival.arrived, content, mode, group)?;
        Ok(arrival)
    }

    fn beside(target: &Path, name: &OsStr, actor: Actor<'a>) -> Arrival<'a> {
        let folder = file::with_end(target, ".restoring");
        Arrival {
            actor,
            arrived: folder.join(name),
            folder,
            target: target.into(),
        }
    }

    fn clear(&self) -> Result<()> {
        let options = ["--recursive", "--force"].map(Path::new);
        self.actor
            .run("rm", &[options[0], options[1], &self.folder])
            .map(drop)
    }

    /// Puts it in its place, and aside what was there. Returns where that is.
    fn place(&self, end: &str) -> Result<Option<PathBuf>> {
        for companion in [""].iter().chain(&COMPANIONS) {
            let (there, aside) = self.aside(end, companion);
            if is_there(&there) {
                self.actor.rename(&there, &aside)?;
            }
        }
        self.actor.rename(&self.arrived, &self.target)?;
        let (_, aside) = self.aside(end, "");
        Ok(is_there(&aside).then_some(aside))
    }

    /// Makes it as it was, however far it came.
    fn take_back(&self, end: &str) -> Result<()> {
        if is_there(&self.target) && !is_there(&self.arrived) {
            self.actor.rename(&self.target, &self.arrived)?;
        }
        for companion in [""].iter().chain(&COMPANIONS) {
            let (there, aside) = self.aside(end, companion);
            if is_there(&aside) {
                self.actor.rename(&aside, &there)?;
            }
        }
        Ok(())
    }

    fn aside(&self, end: &str, companion: &str) -> (PathBuf, PathBuf) {
        let aside = file::with_end(&self.target, end);
        (
            file::with_end(&self.target, companion),
            file::with_end(&aside, companion),
        )
    }
}

impl<'a> Actor<'a> {
    fn of(
        target: &Path,
        as_given: &Path,
        account: Option<(&'a Host, &'a Account)>,
    ) -> Result<Actor<'a>> {
        let Some((host, account)) = account else {
            return Ok(Actor::Caller);
        };
        let Some(changeable) = not_roots(as_given)? else {
            return Ok(Actor::Caller);
        };
        // A link to a folder that root has given to the account leads to nothing but its own.
        let there = target.symlink_metadata();
        let is_its_own = there.is_ok_and(|there| there.is_dir() && there.uid() == account.uid);
        Ok(if is_its_own && not_roots(target)?.is_none() {
            Actor::Caller
        } else {
            Actor::Account(host, account, changeable)
        })
    }

    /// Says what to do where the account may not make a folder.
    fn explain(&self, as_given: &Path, error: Error) -> Error {
        match self {
            Actor::Caller => error,
            Actor::Account(..) => {
                let folder = as_given.parent().unwrap_or(as_given);
                Failure::error(Kind::Settings, failure::describe(&error), next_step(folder))
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match self {
            // mv(1) copies where it can't rename.
            Actor::Caller => fs::rename(from, to)
                .with_context(|| format!("moving {} to {}", from.display(), to.display())),
            Actor::Account(..) => self
                .run("mv", &["--no-target-directory".as_ref(), from, to])
                .map(drop),
        }
    }

    fn run(&self, program: &str, arguments: &[&Path]) -> Result<Output> {
        match self {
            Actor::Caller => Command::new(program, CHANGE_LIMIT).args(arguments).run(),
            Actor::Account(host, account, changeable) => {
                let last = arguments.last().and_then(|path| path.parent());
                Child::new(host, program, CHANGE_LIMIT)
                    .account(account)
                    .writing(last.unwrap_or(changeable))
                    .args(arguments)
                    .run()
                    .with_context(|| {
                        format!(
                            "as the account {NAME}, since not only root can change {}",
                            quoted(changeable)
                        )
                    })
            }
        }
    }
}

/// Makes the folders on the way that only the server's first start makes.
fn make_parents(target: &Path, as_given: &Path, account: Option<(&Host, &Account)>) -> Result<()> {
    let parent = target.parent().unwrap_or(target);
    let missing = parent.ancestors().take_while(|folder| !is_there(folder));
    let Some(first) = missing.last() else {
        return Ok(());
    };
    if let (Actor::Caller, Some((_, account))) = (Actor::of(target, as_given, account)?, account) {
        // The account could not; from the next one on, it has to.
        make_folder(first, PARENT_MODE, account)?;
    }
    let mode = format!("--mode={PARENT_MODE:o}");
    let actor = Actor::of(target, as_given, account)?;
    actor
        .run("mkdir", &["--parents".as_ref(), mode.as_ref(), parent])
        .map(drop)
        .map_err(|error| actor.explain(as_given, error))
}

/// Makes a folder of the account's in one of root's.
fn make_folder(path: &Path, mode: u32, account: &Account) -> Result<()> {
    let action = || format!("making the folder {}", path.display());
    fs::create_dir(path).with_context(action)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(action)?;
    chown(path, Some(account.uid), Some(account.gid)).with_context(action)
}

/// Whether anything has that name, also a link to nothing.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// All of it, or nothing.
pub(super) fn place_all(arrivals: &[Arrival], end: &str) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    for (number, arrival) in arrivals.iter().enumerate() {
        match arrival.place(end) {
            Ok(was_there) => aside.extend(was_there),
            Err(error) => {
                take_back_all(&arrivals[..=number], end)?;
                return Err(error);
            }
        }
    }
    Ok(aside)
}

/// Makes everything as it was.
pub(super) fn take_back_all(arrivals: &[Arrival], end: &str) -> Result<()> {
    arrivals
        .iter()
        .rev()
        .try_for_each(|arrival| arrival.take_back(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use crate::system::reach::tests as reach;

    #[test]
    fn what_cannot_be_placed_as_a_whole_is_taken_back() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        let arrival = |name: &str| {
            fs::write(path(name), "old").unwrap();
            Arrival::of_root(&path(name), b"new", 0o640, None).unwrap()
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
    /// An archive with `member` in it, a file.
    fn archive(tree: &Path, member: &str) -> PathBuf {
        let file = tree.join("from").join(member);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "hostile").unwrap();
        let archive = tree.join("a.tar.gz");
        let from = tree.join("from");
        Command::new("tar", CHANGE_LIMIT)
            .args(["--create", "--gzip", "--file"])
            .args([&archive, Path::new("--directory"), &from])
            .args([member])
            .run()
            .unwrap();
        archive
    }

    /// `member` of the archive, to be put at `target` by the tasks' account.
    fn arrive<'a>(
        host: &'a Host,
        archive: &Path,
        member: &str,
        target: &Path,
        as_given: &Path,
    ) -> Result<Arrival<'a>> {
        let account = Some(&reach::TASKS);
        Arrival::new(host, archive, Path::new(member), target, as_given, account)
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn nothing_comes_to_where_a_task_has_led() {
        let tree = reach::machine();
        let host = Host::at(tree.path());
        let path = |name: &str| tree.path().join(name);
        let archive = archive(tree.path(), "home/config/covalent.conf");
        let etc = reach::folder(tree.path(), "tmpfiles.d");
        symlink(&etc, path("home/config")).unwrap();
        let member = "home/config/covalent.conf";
        let target = path(member);
        let arrive = || arrive(&host, &archive, member, &target, &target);
        let error = arrive().err().unwrap();
        assert!(format!("{error:#}").contains("as the account"), "{error:#}");
        assert_eq!(fs::read_dir(&etc).unwrap().count(), 0);

        // Led there after it was unpacked.
        fs::remove_file(path("home/config")).unwrap();
        let arrival = arrive().unwrap();
        fs::rename(path("home/config"), path("home/former")).unwrap();
        symlink(&etc, path("home/config")).unwrap();
        fs::create_dir(etc.join("covalent.conf.restoring")).unwrap();
        fs::write(etc.join("covalent.conf.restoring/covalent.conf"), "").unwrap();
        place_all(&[arrival], ".end").unwrap_err();
        assert!(!etc.join("covalent.conf").exists());
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn what_is_the_accounts_comes_back_as_its_own_with_the_folders_on_the_way() {
        let tree = reach::machine();
        let host = Host::at(tree.path());
        let path = |name: &str| tree.path().join(name);
        let archive = archive(tree.path(), "data/a");
        reach::folder(tree.path(), "srv");
        for target in ["home/share/covalent/data", "srv/data", "srv/a/b/data"] {
            let target = path(target);
            let arrival = arrive(&host, &archive, "data", &target, &target).unwrap();
            place_all(&[arrival], ".end").unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "hostile");
            for path in target.join("a").ancestors() {
                if path == tree.path() || path.ends_with("srv") {
                    break;
                }
                let owner = path.symlink_metadata().unwrap().uid();
                assert_eq!(owner, reach::TASKS.uid, "{}", path.display());
            }
        }
        assert_eq!(path("srv").metadata().unwrap().uid(), 0);

        // A disk for the data, with a link to it in the account's home.
        let (target, as_given) = (path("srv/data"), path("home/data"));
        symlink(&target, &as_given).unwrap();
        let arrive = || arrive(&host, &archive, "data", &target, &as_given);
        let aside = place_all(&[arrive().unwrap()], ".again").unwrap();
        assert_eq!(aside, [path("srv/data.again")]);
        // Not if it is root's.
        chown(&target, Some(0), Some(0)).unwrap();
        let error = arrive().err().unwrap();
        let next = &failure::find(&error).unwrap().next;
        assert!(
            next.contains(&format!("ls -ld {}", path("home").display())),
            "{next}"
        );
    }
}
