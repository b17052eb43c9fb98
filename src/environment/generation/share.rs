//! Starting a generation from the files of another one, so that it costs what is new in it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::OWN;
use crate::system::thread::divide;

/// A script names its interpreter within its first line, which the kernel reads up to here
/// (execve(2)).
const FIRST_LINE: usize = 256;

/// Folders that are shared one after the other before the rest is divided among the processors: in an
/// environment, most are below one of them.
const UNDIVIDED: usize = 64;

/// Fills the folder `new` with the files of the generation `old`.
///
/// The files are shared: copied by reference where the file system can (btrfs, XFS), else linked.
/// Nobody writes into a file of a generation; pip and uv replace files. Scripts that `pip` made
/// name the old folder's interpreter and are written anew.
pub fn share(old: &Path, new: &Path) -> Result<()> {
    fs::create_dir(new).with_context(|| format!("making the folder {}", new.display()))?;
    let mut folders = VecDeque::from([PathBuf::new()]);
    let mut sharing = Sharing::Reference;
    while folders.len() < UNDIVIDED
        && let Some(folder) = folders.pop_front()
    {
        folders.extend(sharing.share_folder(old, new, &folder)?);
    }
    // Ten thousand links are mostly the kernel's work, which every processor can do a part of.
    divide(folders.make_contiguous(), |part| {
        sharing.share_trees(old, new, part.to_vec())
    })
    .into_iter()
    .collect()
}

/// Writes a script for the new folder if it names the old one's interpreter.
fn adapt(from: &Path, to: &Path, old: &Path, new: &Path) -> Result<bool> {
    let text = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    let start = format!("#!{}/", old.display());
    let first = &text[..text.len().min(FIRST_LINE)];
    if !first.starts_with(start.as_bytes()) {
        return Ok(false);
    }
    let mut adapted = format!("#!{}/", new.display()).into_bytes();
    adapted.extend_from_slice(&text[start.len()..]);
    fs::write(to, adapted).with_context(|| format!("writing {}", to.display()))?;
    let permissions = fs::metadata(from)?.permissions();
    fs::set_permissions(to, permissions)
        .with_context(|| format!("setting the mode of {}", to.display()))?;
    Ok(true)
}

/// How the file system shares.
#[derive(Clone, Copy)]
enum Sharing {
    Reference,
    Link,
}

impl Sharing {
    /// Shares these folders of the generation, and all below them.
    fn share_trees(mut self, old: &Path, new: &Path, mut folders: Vec<PathBuf>) -> Result<()> {
        while let Some(folder) = folders.pop() {
            folders.extend(self.share_folder(old, new, &folder)?);
        }
        Ok(())
    }

    /// Shares the files in one folder, and makes the folders in it, which it returns.
    fn share_folder(&mut self, old: &Path, new: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        let from = old.join(folder);
        let entries = fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", from.display()))?;
            let name = folder.join(entry.file_name());
            let is_own = OWN.iter().any(|own| name == Path::new(own));
            // What a pip that was killed leaves among the packages.
            if is_own || entry.file_name().as_encoded_bytes().starts_with(b"~") {
                continue;
            }
            let (from, to) = (old.join(&name), new.join(&name));
            let action = || format!("sharing {} with {}", from.display(), new.display());
            let kind = entry.file_type().with_context(action)?;
            if kind.is_dir() {
                fs::create_dir(&to).with_context(action)?;
                folders.push(name);
            } else if kind.is_symlink() {
                let target = fs::read_link(&from).with_context(action)?;
                symlink(target, &to).with_context(action)?;
            } else if folder != Path::new("bin") || !adapt(&from, &to, old, new)? {
                self.share(&from, &to).with_context(action)?;
            }
        }
        Ok(folders)
    }

    fn share(&mut self, from: &Path, to: &Path) -> Result<()> {
        if let Sharing::Reference = self {
            if copy_by_reference(from, to)? {
                return Ok(());
            }
            *self = Sharing::Link;
        }
        // Not every file system has links, and none has them without end (link(2)).
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(_) => copy(from, to),
        }
    }
}

/// Whether the file could be copied by reference (FICLONE, ioctl_ficlonerange(2)).
fn copy_by_reference(from: &Path, to: &Path) -> Result<bool> {
    let source = File::open(from)?;
    let copy = File::create_new(to)?;
    if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
        fs::remove_file(to)?;
        return Ok(false);
    }
    same_attributes(&source, &copy)?;
    Ok(true)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)?;
    same_attributes(&File::open(from)?, &File::open(to)?)
}

/// Bytecode is valid for a module of the same time.
fn same_attributes(source: &File, copy: &File) -> Result<()> {
    let metadata = source.metadata()?;
    copy.set_permissions(metadata.permissions())?;
    Ok(copy.set_modified(metadata.modified()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn files_are_shared_and_what_names_the_old_folder_is_written_anew() {
        let tree = tempfile::tempdir().unwrap();
        let (old, new) = (tree.path().join("old"), tree.path().join("new"));
        fs::create_dir_all(old.join("bin")).unwrap();
        fs::create_dir_all(old.join("lib/site-packages")).unwrap();
        symlink("/usr/bin/python3.11", old.join("bin/python")).unwrap();
        let pip_made = format!("#!{}/bin/python\nimport x\n", old.display());
        for (name, text) in [
            ("manifest.json", "{}"),
            ("bin/by-uv", "#!/bin/sh\n"),
            ("bin/by-pip", &pip_made),
            ("lib/site-packages/x.py", "x = 1\n"),
        ] {
            fs::write(old.join(name), text).unwrap();
        }
        let packages: Vec<_> = (0..2 * UNDIVIDED)
            .map(|number| format!("lib/site-packages/{number}/inner/x.py"))
            .collect();
        for package in &packages {
            let module = old.join(package);
            fs::create_dir_all(module.parent().unwrap()).unwrap();
            fs::write(module, package).unwrap();
        }
        share(&old, &new).unwrap();
        assert!(!new.join("manifest.json").exists());
        assert_eq!(
            fs::read_link(new.join("bin/python")).unwrap(),
            Path::new("/usr/bin/python3.11")
        );
        assert_eq!(
            fs::read_to_string(new.join("bin/by-pip")).unwrap(),
            format!("#!{}/bin/python\nimport x\n", new.display())
        );
        let module = |root: &Path| fs::metadata(root.join("lib/site-packages/x.py")).unwrap();
        assert_eq!(module(&old).mtime_nsec(), module(&new).mtime_nsec());

        fs::remove_dir_all(&old).unwrap();
        assert_eq!(
            fs::read_to_string(new.join("lib/site-packages/x.py")).unwrap(),
            "x = 1\n"
        );
        for package in &packages {
            assert_eq!(&fs::read_to_string(new.join(package)).unwrap(), package);
        }
    }
}
