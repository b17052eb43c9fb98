//! What the service's account could put in root's way.
//!
//! Tasks run as the account, so what root reaches through a folder or a link of the account's may
//! be anything: /etc, or another folder a moment later.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;

use crate::system::account::{Account, NAME};
use crate::system::failure::{Failure, Kind};

/// As many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// Whether the kernel keeps accounts from linking files that are not theirs (proc_sys_fs(5)).
const PROTECTED_HARDLINKS: &str = "/proc/sys/fs/protected_hardlinks";

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The first folder or link on the way to `path` that somebody else than root can change; none if
/// only root can say what is there.
pub(super) fn not_roots(path: &Path) -> Result<Option<PathBuf>> {
    let mut here = PathBuf::from("/");
    let mut ahead = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let action = || format!("looking at {}", here.join(&part).display());
        let folder = fs::symlink_metadata(&here).with_context(action)?;
        let next = here.join(&part);
        let found = match fs::symlink_metadata(&next) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            found => Some(found.with_context(action)?),
        };
        // Where files are put and renamed, others could put theirs; what is on the way stays.
        let stays = !ahead.is_empty() && is_kept(&folder, found.as_ref());
        if !is_roots_alone(&folder) && !stays {
            return Ok(Some(here));
        }
        match found {
            // Whatever is below it, root will have made.
            None => return Ok(None),
            Some(found) if found.is_symlink() => {
                links += 1;
                if links > LINKS {
                    bail!("too many links on the way to {}", path.display());
                }
                if found.uid() != 0 {
                    return Ok(Some(next));
                }
                let target = fs::read_link(&next).with_context(action)?;
                if target.is_absolute() {
                    here = "/".into();
                }
                ahead.extend(parts(&target));
            }
            Some(_) => here = next,
        }
    }
    Ok(None)
}

/// A folder that is open for root to read all that is in it, whatever its path leads to by now.
/// `way` is how its path was given.
pub(super) fn open_folder(path: &Path, way: &Path, account: Option<&Account>) -> Result<File> {
    let action = || format!("opening {}", path.display());
    // A pipe would be waited for.
    let folder = File::options()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)
        .with_context(action)?;
    let Some(account) = account else {
        return Ok(folder);
    };
    let owner = folder.metadata().with_context(action)?.uid();
    if owner != account.uid
        && let Some(changeable) = not_roots(way)?
    {
        return Err(Failure::error(
            Kind::Settings,
            format!(
                "{} leads to a folder that is not the account {NAME}'s; a task may have led \
                 there, since not only root can change {}",
                way.display(),
                changeable.display()
            ),
            next_step(way),
        ));
    }
    // Linked into a folder of the account's, a file that only root can read would come back as
    // the account's.
    if fs::read_to_string(PROTECTED_HARDLINKS).is_ok_and(|text| text.trim() == "0") {
        return Err(Failure::error(
            Kind::Settings,
            format!(
                "{PROTECTED_HARDLINKS} is 0: {} may hold links to files that are not the account \
                 {NAME}'s",
                path.display()
            ),
            "sysctl -w fs.protected_hardlinks=1, which systemd sets as well",
        ));
    }
    Ok(folder)
}

/// What to type where a path leads to what is not the account's. Where it leads is the tasks'
/// choice: that is not to be typed.
pub(super) fn next_step(way: &Path) -> String {
    format!(
        "ls -ld {} shows a link, if it is one: remove it if you did not make it. covalentctl doctor \
         tells what else is not the account {NAME}'s. To keep Covalent's data in another place, \
         give a folder to the account and name it in /etc/covalent/covalent.env",
        way.display()
    )
}

fn is_roots_alone(folder: &Metadata) -> bool {
    folder.uid() == 0 && folder.mode() & WRITABLE_BY_OTHERS == 0
}

/// Whether nobody but root can take the place of `found` in the folder, as in /tmp.
fn is_kept(folder: &Metadata, found: Option<&Metadata>) -> bool {
    let is_sticky = folder.uid() == 0 && folder.mode() & STICKY != 0;
    is_sticky && found.is_some_and(|found| found.uid() == 0)
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    /// Somebody who is not root.
    pub const TASKS: Account = Account {
        uid: 65534,
        gid: 65534,
    };

    /// A folder that all may enter, with the account's folder `home`, which only root can give.
    pub fn machine() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
        give(&folder(tree.path(), "home")).unwrap();
        tree
    }

    pub fn folder(tree: &Path, name: &str) -> PathBuf {
        let path = tree.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn give(path: &Path) -> std::io::Result<()> {
        lchown(path, Some(TASKS.uid), Some(TASKS.gid))
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn a_path_is_roots_as_long_as_nobody_else_can_lead_it_elsewhere() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        let not_roots = |name: &str| not_roots(&path(name)).unwrap();
        folder(tree.path(), "srv/data");
        give(&path("srv/data")).unwrap();
        assert_eq!(not_roots("srv/data"), None, "the account's, in root's");
        assert_eq!(not_roots("srv/missing/data"), None);
        assert_eq!(not_roots("srv/data/a"), Some(path("srv/data")));
        assert_eq!(not_roots("home/.config/a"), Some(path("home")));

        symlink("srv", path("roots")).unwrap();
        assert_eq!(not_roots("roots/data"), None);
        symlink(path("srv"), path("given")).unwrap();
        give(&path("given")).unwrap();
        assert_eq!(not_roots("given/data"), Some(path("given")));
        symlink("../srv", path("home/link")).unwrap();
        assert_eq!(not_roots("home/link/data"), Some(path("home")));
        symlink(path("home/link"), path("through")).unwrap();
        assert_eq!(not_roots("through/data"), Some(path("home")));
        symlink("around", path("around")).unwrap();
        super::not_roots(&path("around/data")).unwrap_err();

        chown(path("srv"), None, Some(TASKS.gid)).unwrap();
        fs::set_permissions(path("srv"), fs::Permissions::from_mode(0o775)).unwrap();
        assert_eq!(not_roots("srv/data"), Some(path("srv")), "by its group");
        // As /tmp: others can't replace what is there, but put something beside it.
        fs::set_permissions(path("srv"), fs::Permissions::from_mode(0o1777)).unwrap();
        folder(tree.path(), "srv/roots");
        assert_eq!(not_roots("srv/roots/a"), None);
        assert_eq!(not_roots("srv/roots"), Some(path("srv")));
        assert_eq!(not_roots("srv/data/a"), Some(path("srv")));
    }

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn no_folder_is_read_that_a_task_has_led_to() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        let open = |path: &Path, way: &Path| open_folder(path, way, Some(&TASKS));
        let secret = folder(tree.path(), "secret");
        symlink(&secret, path("home/data")).unwrap();
        let error = open(&secret, &path("home/data")).unwrap_err();
        assert!(error.to_string().contains("a task may have led"), "{error}");
        open(&path("home/data"), &path("home/data")).unwrap_err();

        // An administrator's disk, and a link to it.
        open(&secret, &secret).unwrap();
        give(&secret).unwrap();
        open(&secret, &path("home/data")).unwrap();
    }
}
