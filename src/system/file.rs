//! Files that are never seen half-written.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{CWD, IFlags, RenameFlags, ioctl_getflags, ioctl_setflags};

use super::failpoint;

/// How the names of files start that are being written.
const TEMPORARY: &str = ".covalentctl-";

/// Whether a file at this path is one that [`write`] had not finished.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(TEMPORARY.as_bytes())
}

/// What is in a file; none if it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    there(path, fs::read(path))
}

/// The text in a file; none if it is not there.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    there(path, fs::read_to_string(path))
}

fn there<T>(path: &Path, read: std::io::Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read
            .map(Some)
            .with_context(|| format!("reading {}", path.display())),
    }
}

/// Where a link is made before it takes the place of `path`.
pub fn next_link(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".next");
    path.with_file_name(name)
}

/// Writes `content` to `path` through a temporary file in the same folder.
///
/// `mode` is the file's mode in octal. The content has reached the disk when this returns.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    write_for(path, content, mode, None)
}

/// The same for a file that is `group`'s, if one is given: it has its group before it has its name.
pub fn write_for(path: &Path, content: &[u8], mode: u32, group: Option<u32>) -> Result<()> {
    let action = || format!("writing {}", path.display());
    let folder = parent(path)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .with_context(action)?;
    if group.is_some() {
        fchown(file.as_file(), None, group).with_context(action)?;
    }
    // Whatever the umask has taken from it.
    let permissions = Permissions::from_mode(mode);
    file.as_file()
        .set_permissions(permissions)
        .with_context(action)?;
    file.write_all(content).with_context(action)?;
    file.as_file().sync_all().with_context(action)?;
    file.persist(path).with_context(action)?;
    sync_folder(folder)
}

/// Makes `path` a symbolic link to `target`, in one step whatever stood there before.
///
/// A folder that stood there is moved to `aside`.
pub fn replace_with_link(path: &Path, target: &Path, aside: &Path) -> Result<()> {
    let action = || format!("pointing {} to {}", path.display(), target.display());
    let folder = parent(path)?;
    let next = next_link(path);
    if next.is_dir() && !next.is_symlink() {
        // A power cut came between the two renames below.
        fs::rename(&next, aside)
            .with_context(|| format!("moving {} to {}", next.display(), aside.display()))?;
    }
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(action);
        }
        _ => symlink(target, &next).with_context(action)?,
    }
    failpoint::pass("linked");
    if path.is_dir() && !path.is_symlink() {
        // A rename can't put a link in a folder's place; an exchange can, and leaves no gap.
        rustix::fs::renameat_with(CWD, &next, CWD, path, RenameFlags::EXCHANGE)
            .with_context(action)?;
        fs::rename(&next, aside)
            .with_context(|| format!("moving {} to {}", path.display(), aside.display()))?;
    } else {
        fs::rename(&next, path).with_context(action)?;
    }
    sync_folder(folder)
}

/// Makes what was written to the file system of `path` survive a power cut.
pub fn sync_file_system(path: &Path) -> Result<()> {
    let folder = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    rustix::fs::syncfs(&folder).with_context(|| format!("writing {} to disk", path.display()))
}

/// Makes a folder with this mode, and those of its parents that are missing so that everybody can
/// pass, whatever the umask.
pub fn make_folder(path: &Path, mode: u32) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent, 0o755)?;
    }
    // From its first moment; what the umask takes from it comes after.
    match fs::DirBuilder::new().mode(mode).create(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made.with_context(|| format!("making the folder {}", path.display()))?,
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", path.display()))
}

/// Has ext4 put each of the folders that are made in this one far from the others (chattr(1), T). For a
/// minute it looks past every file that was removed before it makes one nearby, so that what follows the
/// removal of ten thousand files takes several times as long. Other file systems have no such flag.
pub fn scatter(folder: &Path) {
    if let Ok(file) = File::open(folder)
        && let Ok(flags) = ioctl_getflags(&file)
    {
        let _ = ioctl_setflags(&file, flags | IFlags::TOPDIR);
    }
}

/// Removes a file. Returns whether it was there.
pub fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

/// The path without links, even of a folder that is not there yet. The launcher does the same for the
/// data: Covalent notes its path like that.
pub fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some((above.canonicalize().ok()?, rest))
    });
    match there {
        Some((path, rest)) if rest.as_os_str().is_empty() => path,
        Some((above, rest)) => above.join(rest),
        None => path.into(),
    }
}

/// The path with `end` behind its name.
pub fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("writing {} to disk", folder.display()))
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent()
        .ok_or_else(|| anyhow!("{} has no folder", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_content_and_sets_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write(&path, b"old", 0o644).unwrap();
        write(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_takes_the_place_of_a_link_and_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("covalent");
        let aside = folder.path().join("covalent.aside");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("by-hand"), "x").unwrap();

        replace_with_link(&path, Path::new(".covalent/1"), &aside).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new(".covalent/1"));
        assert_eq!(fs::read(aside.join("by-hand")).unwrap(), b"x");

        // As a power cut leaves it between the two renames.
        fs::rename(&aside, folder.path().join("covalent.next")).unwrap();
        replace_with_link(&path, Path::new(".covalent/2"), &aside).unwrap();
        assert_eq!(fs::read(aside.join("by-hand")).unwrap(), b"x");
        assert_eq!(fs::read_link(&path).unwrap(), Path::new(".covalent/2"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn links_on_the_way_are_followed_also_to_what_is_not_there_yet() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().canonicalize().unwrap();
        fs::create_dir(root.join("disk")).unwrap();
        symlink("disk", root.join("link")).unwrap();
        for (path, expected) in [
            ("link", "disk"),
            ("link/missing/data", "disk/missing/data"),
            ("missing/data", "missing/data"),
        ] {
            assert_eq!(resolved(&root.join(path)), root.join(expected));
        }
    }

    #[test]
    fn a_folder_has_the_mode_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| make_folder(&folder.path().join(name), mode);
        let mode = |name: &str| {
            let metadata = folder.path().join(name).metadata().unwrap();
            metadata.permissions().mode() & 0o777
        };
        make("a", 0o711).unwrap();
        make("a/b/c", 0o700).unwrap();
        // What is there stays as it is, and what is on the way to a private one is not private.
        make("a", 0o755).unwrap();
        assert_eq!(
            [mode("a"), mode("a/b"), mode("a/b/c")],
            [0o711, 0o755, 0o700]
        );
        fs::write(folder.path().join("file"), "").unwrap();
        make("file/d", 0o755).unwrap_err();
    }
}
