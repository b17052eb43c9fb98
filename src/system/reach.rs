//! Who can change what a path leads to.
//!
//! What root reads, runs or writes through a folder or a link of somebody else's may be anything:
//! /etc, or another folder a moment later.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::failure::{Failure, Kind};
use super::host::Host;

/// As many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Fails if somebody else than root can change what `path` leads to: root would run or trust it.
pub fn require_roots_own(path: &Path) -> Result<()> {
    // What is there may be somebody's file in a folder of root's.
    let changeable = match not_roots(path)? {
        None => fs::metadata(path)
            .ok()
            .filter(|found| !is_roots_alone(found))
            .map(|_| path.to_path_buf()),
        found => found,
    };
    let Some(changeable) = changeable else {
        return Ok(());
    };
    let shown = quoted(&changeable);
    Err(Failure::error(
        Kind::Permission,
        format!(
            "{} is not used: somebody other than root can change {shown}",
            path.display()
        ),
        format!("ls -ld {shown}; sudo chown root:root {shown}; sudo chmod go-w {shown}"),
    ))
}

/// Fails if somebody else than root can change what root runs or believes, or what leads there.
pub fn require_trusted(host: &Host) -> Result<()> {
    let mut folders = host.trusted().into_iter();
    let is_root = host.is_real() && rustix::process::geteuid().is_root();
    folders.try_for_each(|folder| {
        if is_root && folder.exists() {
            require_roots_own(&folder)
        } else {
            Ok(())
        }
    })
}

/// A path as a word of a shell's command line, whatever somebody has put into a name.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    let text = text.replace(char::is_control, "?").replace('\'', r"'\''");
    format!("'{text}'")
}

/// The first folder or link on the way to `path` that somebody else than root can change; none if
/// only root can say what is there.
pub fn not_roots(path: &Path) -> Result<Option<PathBuf>> {
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
pub mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use crate::system::account::Account;

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
    fn what_somebody_else_can_change_is_refused_with_the_folder_on_the_way() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        folder(tree.path(), "opt/environment");
        fs::write(path("opt/environment/python"), "").unwrap();
        let refused = |name: &str| require_roots_own(&path(name)).err().map(|e| e.to_string());
        assert_eq!(refused("opt/environment/python"), None);
        chown(path("opt"), None, Some(TASKS.gid)).unwrap();
        fs::set_permissions(path("opt"), fs::Permissions::from_mode(0o2775)).unwrap();
        let said = refused("opt/environment/python").unwrap();
        assert!(said.ends_with(&path("opt").display().to_string()), "{said}");
        fs::set_permissions(path("opt"), fs::Permissions::from_mode(0o755)).unwrap();
        give(&path("opt/environment/python")).unwrap();
        assert!(refused("opt/environment/python").is_some());
    }

    #[test]
    fn a_name_is_one_word_for_a_shell() {
        for (name, word) in [
            ("/srv/data", "/srv/data"),
            ("/srv/d; touch ROOTED; #", "'/srv/d; touch ROOTED; #'"),
            ("/srv/it's", r"'/srv/it'\''s'"),
            ("/srv/\u{1b}[31m\n", "'/srv/?[31m?'"),
        ] {
            assert_eq!(quoted(Path::new(name)), word);
        }
    }
}
