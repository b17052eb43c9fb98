//! Giving a folder and all that is in it to the service account.
//!
//! Whoever could write there before may still be at it. So every file is held by a descriptor from the
//! look at it to the change, no link is followed, nothing that is mounted there is entered, and what has a
//! second name stays as it is: that may be a file of somebody else's, linked there.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, StatxFlags};
use rustix::process::{Gid, Uid};

use crate::system::account::Account;
use crate::system::command::Command;
use crate::system::reach::{not_roots, quoted};

/// Folders in one another, each of which keeps a descriptor open.
const DEPTH: usize = 128;

/// How many paths are named that were left.
const NAMED: usize = 20;

/// What became of a folder.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// How many files and folders did not belong to the account.
    pub count: u64,
    /// Why some of the others do not: a path and a reason each, the first of them.
    pub left: Vec<String>,
}

/// What is done with what is not the account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It becomes the account's.
    Owner,
    /// It is counted.
    Nothing,
}

/// Closes what was inherited, and becomes its arguments. Bash, since other shells know no descriptor
/// above 9.
const CLOSE: &str = "for ((fd = 3; fd < 1024; fd++)); do exec {fd}>&-; done; exec \"$@\"";

/// A program that reads what is a user's, with that user's rights and no more: without a terminal,
/// without what the caller has open, and without other groups.
pub(crate) fn as_another(user: &Account, program: &Path, limit: Duration) -> Command {
    Command::new("/bin/bash", limit)
        .args(["-c", CLOSE, "covalentctl", "setsid", "--wait"])
        .args(["setpriv", "--clear-groups", "--no-new-privs"])
        .args([
            format!("--reuid={}", user.uid),
            format!("--regid={}", user.gid),
        ])
        .args(["--".as_ref(), program.as_os_str()])
}

/// Fails if somebody else than root can say what a path leads to.
pub(crate) fn refuse_others_way(path: &Path) -> Result<()> {
    if let Some(changeable) = not_roots(path)? {
        bail!(
            "{} may be anything, since not only root can change {}",
            quoted(path),
            quoted(&changeable)
        );
    }
    Ok(())
}

/// Gives the folder, whose path holds no link, to the account with all that is in it. Those above it
/// have to be root's.
pub(crate) fn take_over(folder: &Path, account: &Account, change: Change) -> Result<Taken> {
    refuse_others_way(folder)?;
    let action = || format!("taking over {}", folder.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(CWD, folder, flags, Mode::empty()).with_context(action)?;
    let stat = rustix::fs::fstat(&held).with_context(action)?;
    let mut walk = Walk {
        uid: Uid::from_raw(account.uid),
        gid: Gid::from_raw(account.gid),
        device: stat.st_dev,
        mount: mount(&held),
        change,
        taken: Taken::default(),
    };
    walk.folder(&held, folder, 0).with_context(action)?;
    walk.give(&held, &stat).with_context(action)?;
    Ok(walk.taken)
}

struct Walk {
    uid: Uid,
    gid: Gid,
    device: u64,
    mount: Option<u64>,
    change: Change,
    taken: Taken,
}

/// The number of the mount that a file is reached by, where the kernel tells it (statx(2), Linux 5.8). A folder
/// that is bound there is of the same device.
fn mount(held: impl AsFd) -> Option<u64> {
    let found = rustix::fs::statx(held, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    StatxFlags::from_bits_retain(found.stx_mask)
        .contains(StatxFlags::MNT_ID)
        .then_some(found.stx_mnt_id)
}

impl Walk {
    /// Everything in a folder, which is held by its descriptor.
    fn folder(&mut self, held: &OwnedFd, path: &Path, depth: usize) -> rustix::io::Result<()> {
        if depth == DEPTH {
            self.leave(path, "too many folders in one another");
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(held, c".", flags, Mode::empty())?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entry(&opened, name, path, depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        above: &Path,
        depth: usize,
    ) -> rustix::io::Result<()> {
        let path: PathBuf = above.join(OsStr::from_bytes(name.to_bytes()));
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            // Somebody has removed it.
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            held => held?,
        };
        let stat = rustix::fs::fstat(&held)?;
        if stat.st_dev != self.device || mount(&held) != self.mount {
            self.leave(&path, "something else is mounted there");
            return Ok(());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(&held, &path, depth + 1)?,
            FileType::RegularFile if stat.st_nlink > 1 && !self.has(&stat) => {
                self.leave(
                    &path,
                    "the file has another name, which may be somebody else's",
                );
                return Ok(());
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                self.leave(&path, "it is a device");
                return Ok(());
            }
            _ => {}
        }
        self.give(&held, &stat)
    }

    fn has(&self, stat: &Stat) -> bool {
        stat.st_uid == self.uid.as_raw() && stat.st_gid == self.gid.as_raw()
    }

    fn give(&mut self, held: impl AsFd, stat: &Stat) -> rustix::io::Result<()> {
        if self.has(stat) {
            return Ok(());
        }
        if self.change == Change::Owner {
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(held, c"", Some(self.uid), Some(self.gid), flags)?;
        }
        self.taken.count += 1;
        Ok(())
    }

    fn leave(&mut self, path: &Path, reason: &str) {
        if self.taken.left.len() < NAMED {
            let path = path.display().to_string().replace(char::is_control, "?");
            self.taken.left.push(format!("{path}: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const ACCOUNT: Account = Account {
        uid: 65533,
        gid: 65533,
    };

    fn owner(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().uid()
    }

    /// A folder that only root can change, outside of one that everybody can.
    fn machine() -> tempfile::TempDir {
        let tree = tempfile::tempdir_in("/var/lib").unwrap();
        fs::set_permissions(tree.path(), Permissions::from_mode(0o755)).unwrap();
        tree
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn all_of_a_folder_is_taken_and_nothing_outside_of_it() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        fs::create_dir_all(path("home/a/b")).unwrap();
        fs::create_dir(path("outside")).unwrap();
        for name in ["home/a/b/file", "outside/file", "secret"] {
            fs::write(path(name), "x").unwrap();
        }
        symlink(path("outside"), path("home/link")).unwrap();
        symlink(path("secret"), path("home/a/link")).unwrap();
        fs::hard_link(path("secret"), path("home/a/second-name")).unwrap();

        let found = take_over(&path("home"), &ACCOUNT, Change::Nothing).unwrap();
        assert_eq!((found.count, owner(&path("home"))), (6, 0));
        let taken = take_over(&path("home"), &ACCOUNT, Change::Owner).unwrap();
        for name in [
            "home",
            "home/a",
            "home/a/b/file",
            "home/link",
            "home/a/link",
        ] {
            assert_eq!(owner(&path(name)), ACCOUNT.uid, "{name}");
        }
        for name in ["outside", "outside/file", "secret", "home/a/second-name"] {
            assert_eq!(owner(&path(name)), 0, "{name}");
        }
        assert_eq!(taken.count, 6);
        assert_eq!(taken.left.len(), 1);
        assert!(taken.left[0].contains("second-name: the file has another name"));
        // Typed again, it finds nothing to do.
        assert_eq!(
            take_over(&path("home"), &ACCOUNT, Change::Owner)
                .unwrap()
                .count,
            0
        );
        // What it protects from succeeds without it.
        std::os::unix::fs::chown(path("home/link"), Some(ACCOUNT.uid), None).unwrap();
        assert_eq!(owner(&path("outside")), ACCOUNT.uid);
    }

    #[test]
    #[ignore = "mounts a folder, which is root's to do: scripts/test"]
    fn what_is_mounted_there_stays_as_it_is() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        fs::create_dir_all(path("home/bound")).unwrap();
        fs::create_dir(path("shared")).unwrap();
        fs::write(path("shared/file"), "x").unwrap();
        let run = |program: &str, arguments: &[&Path]| {
            let command = Command::new(program, Duration::from_secs(30));
            command.args(arguments).run().unwrap()
        };
        run(
            "mount",
            &["--bind".as_ref(), &path("shared"), &path("home/bound")],
        );
        let device = |name: &str| path(name).metadata().unwrap().dev();
        let devices = (device("home"), device("home/bound/file"));
        let taken = take_over(&path("home"), &ACCOUNT, Change::Owner);
        run("umount", &[&path("home/bound")]);
        assert_eq!(devices.0, devices.1, "it would be told by its device");
        assert!(taken.unwrap().left[0].ends_with("something else is mounted there"));
        assert_eq!(
            [owner(&path("shared")), owner(&path("shared/file"))],
            [0, 0]
        );
        assert_eq!(owner(&path("home")), ACCOUNT.uid);
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn a_path_that_others_can_lead_elsewhere_is_refused() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        fs::create_dir_all(path("theirs/home")).unwrap();
        fs::create_dir(path("home")).unwrap();
        symlink(path("home"), path("link")).unwrap();
        take_over(&path("link"), &ACCOUNT, Change::Owner).unwrap_err();
        assert_eq!(owner(&path("home")), 0);
        std::os::unix::fs::chown(path("theirs"), Some(ACCOUNT.uid), None).unwrap();
        let error = take_over(&path("theirs/home"), &ACCOUNT, Change::Owner).unwrap_err();
        assert!(error.to_string().contains("may be anything"), "{error}");
        take_over(&path("home"), &ACCOUNT, Change::Owner).unwrap();
    }

    #[test]
    #[ignore = "becomes another user, which is root's to do: scripts/test"]
    fn another_user_gets_nothing_that_root_has_open() {
        let secret = tempfile::tempfile().unwrap();
        rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
        let file = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&secret));
        let limit = Duration::from_secs(30);
        Command::new("test", limit)
            .args(["-e", &file])
            .run()
            .expect("a child has it");
        as_another(&ACCOUNT, Path::new("/usr/bin/test"), limit)
            .args(["-e", &file])
            .run()
            .unwrap_err();
        as_another(&ACCOUNT, Path::new("/usr/bin/test"), limit)
            .args(["-e", "/proc/self/fd/2"])
            .run()
            .unwrap();
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn folders_without_end_come_to_one() {
        let tree = machine();
        let folder = tree.path().join("home");
        let mut deep = folder.clone();
        for _ in 0..DEPTH + 20 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        let taken = take_over(&folder, &ACCOUNT, Change::Owner).unwrap();
        assert!(taken.left[0].ends_with("too many folders in one another"));
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn a_name_of_somebody_elses_choice_makes_no_line_of_its_own() {
        let tree = crate::system::reach::tests::machine();
        let path = tree.path().join("home/x\ncovalentctl: sudo rm -rf /");
        let refused = refuse_others_way(&path).unwrap_err().to_string();
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}
