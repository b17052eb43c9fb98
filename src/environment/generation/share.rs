//! Starting a generation from the files of another one, so that it costs what is new in it.

use std::fs::{self, File};
use std::num::NonZero;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};

use super::layout::OWN;

/// A script names its interpreter within its first line, which the kernel reads up to here
/// (execve(2)).
const FIRST_LINE: usize = 256;

/// Fills the folder `new` with the files of the generation `old`.
///
/// The files are shared: copied by reference where the file system can (btrfs, XFS), else linked.
/// Nobody writes into a file of a generation; pip and uv replace files. Scripts that `pip` made
/// name the old folder's interpreter and are written anew.
pub fn share(old: &Path, new: &Path) -> Result<()> {
    fs::create_dir(new).with_context(|| format!("making the folder {}", new.display()))?;
    let mut folders = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let from = old.join(&folder);
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
                files.push(name);
            }
        }
    }
    // Ten thousand links are mostly the kernel's work, which every processor can do a part of.
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let parts = files.chunks(files.len().div_ceil(workers).max(1));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(move || share_files(old, new, part)))
            .collect();
        parts.into_iter().try_for_each(|part| {
            part.join()
                .unwrap_or_else(|_| Err(anyhow!("sharing {} was cut off", old.display())))
        })
    })
}

fn share_files(old: &Path, new: &Path, names: &[PathBuf]) -> Result<()> {
    let mut sharing = Sharing::Reference;
    names.iter().try_for_each(|name| {
        let from = old.join(name);
        sharing
            .share(&from, &new.join(name))
            .with_context(|| format!("sharing {} with {}", from.display(), new.display()))
    })
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
    }
}
