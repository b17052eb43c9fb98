//! What the environment should be: the locks, the interpreter, the requirement files, and what was
//! carried over from an environment that somebody changed by hand.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::interpreter::{self, Interpreter};
use super::requirement::{self, Versions};
use super::state::State;
use crate::settings::Settings;
use crate::system::digest::hexadecimal;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;

/// Counts the changes in how an environment is laid out; a new number rebuilds every one.
pub const LAYOUT: u32 = 2;

/// The options that include a file, whose content counts as well.
const INCLUDES: [&str; 4] = ["-r", "--requirement", "-c", "--constraint"];

/// The files that say what is wanted.
#[derive(Clone, Debug)]
pub struct Files {
    /// The locks that packages have shipped: Covalent's own, then those of plugins. What they name
    /// is installed as it stands there.
    pub locks: Vec<PathBuf>,
    /// The requirement files beside the locks, in the order in which they are read.
    pub requirements: Vec<PathBuf>,
}

impl Files {
    /// Finds them.
    pub fn find(host: &Host) -> Result<Files> {
        let mut locks = vec![host.shipped_lock()];
        let mut requirements = Vec::new();
        for folder in host.requirement_folders() {
            locks.extend(files(&folder, "lock")?);
            requirements.extend(files(&folder, "txt")?);
        }
        Ok(Files {
            locks,
            requirements,
        })
    }
}

/// The wanted environment.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The interpreter it is for.
    pub interpreter: Interpreter,
    /// As in [`Files`].
    pub locks: Vec<PathBuf>,
    /// As in [`Files`].
    pub requirements: Vec<PathBuf>,
    /// What somebody installed by hand, and what nobody has made permanent or removed since.
    pub carried: Versions,
    /// A digest of all of it, in hexadecimal digits.
    pub fingerprint: String,
}

impl Wanted {
    /// Reads it off the machine. What interpreters answer is remembered in `state`.
    pub fn read(host: &Host, settings: &Settings, state: &mut State) -> Result<Wanted> {
        let Files {
            locks,
            requirements,
        } = Files::find(host)?;
        let interpreter = interpreter::find(host, settings, &mut state.interpreters)?;

        let mut digest = Sha256::new();
        // The micro version is left out: a security update of Python rebuilds nothing.
        let [major, minor, _] = interpreter.version;
        let python = format!(
            "{}\0{major}.{minor}\0{}",
            interpreter.path.display(),
            interpreter.abi
        );
        for part in [LAYOUT.to_string().as_bytes(), python.as_bytes()] {
            add(&mut digest, part);
        }
        let mut named = BTreeSet::new();
        for path in locks.iter().chain(&requirements) {
            let content = read(path)?;
            add(&mut digest, path.as_os_str().as_encoded_bytes());
            add(&mut digest, &content);
            let text = String::from_utf8_lossy(&content);
            named.extend(requirement::in_file(&text).map(|(_, _, name)| name));
            for (_, included) in requirement::options(&text, &INCLUDES) {
                let included = path.with_file_name(included);
                add(&mut digest, &fs::read(&included).unwrap_or_default());
            }
        }
        let mut carried = state.carried.clone();
        carried.retain(|name, _| !named.contains(name));
        for (name, version) in &carried {
            add(&mut digest, format!("{name}=={version}").as_bytes());
        }
        let fingerprint = hexadecimal(digest);
        Ok(Wanted {
            interpreter,
            locks,
            requirements,
            carried,
            fingerprint,
        })
    }
}

/// Adds a part with its length, so that two parts can't be read as one.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::error(
            Kind::Source,
            format!("{} is missing", path.display()),
            "install the package again: apt-get install --reinstall covalent, \
             or dnf reinstall covalent",
        ),
        _ => anyhow::Error::new(error).context(format!("reading {}", path.display())),
    })
}

/// The files of a folder with this extension, sorted; none if there is no such folder.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", folder.display()));
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        // An editor's own files start with a dot.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            tree.write("/usr/share/covalent/covalent.lock", "covalent==0.240.0\n");
            tree.python("3,11,2");
            tree
        }

        fn write(&self, path: &str, content: &str) -> PathBuf {
            let path = Host::at(self.0.path()).path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }

        fn python(&self, version: &str) {
            let answer = format!(
                "#!/bin/sh\necho '{{\"implementation\":\"cpython\",\"version\":[{version}],\
                 \"abi\":\"x\",\"missing\":[]}}' # {version}\n"
            );
            let path = self.write("/usr/bin/python3", &answer);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn fingerprint(&self) -> String {
            self.fingerprint_with(&mut State::default())
        }

        fn fingerprint_with(&self, state: &mut State) -> String {
            let host = Host::at(self.0.path());
            let settings = Settings::default();
            Wanted::read(&host, &settings, state).unwrap().fingerprint
        }
    }

    #[test]
    fn the_fingerprint_follows_what_matters_and_nothing_else() {
        let tree = Tree::new();
        let first = tree.fingerprint();
        assert_eq!(first.len(), 64);
        tree.python("3,11,30");
        assert_eq!(tree.fingerprint(), first, "a security update of Python");
        tree.write("/etc/covalent/requirements.d/notes", "numpy\n");
        assert_eq!(
            tree.fingerprint(),
            first,
            "a file that is no requirement file"
        );

        let mut seen = vec![first];
        for (path, content) in [
            (
                "/usr/share/covalent/covalent.lock",
                "covalent==0.240.0\n# new\n",
            ),
            ("/etc/covalent/requirements.d/local.txt", "numpy\n"),
            ("/etc/covalent/requirements.d/local.txt", "numpy<3\n"),
            ("/usr/share/covalent/requirements.d/aws.txt", "boto3\n"),
            ("/usr/share/covalent/requirements.d/aws.lock", "moto==5\n"),
        ] {
            tree.write(path, content);
            seen.push(tree.fingerprint());
        }
        tree.python("3,13,1");
        seen.push(tree.fingerprint());
        let mut state = State::default();
        state.carried.insert("six".into(), "1.17.0".into());
        seen.push(tree.fingerprint_with(&mut state));
        state.carried.insert("numpy".into(), "2.4.6".into());
        assert_eq!(
            seen.last().unwrap(),
            &tree.fingerprint_with(&mut state),
            "what a requirement file names is not carried"
        );
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(
            seen.len(),
            count,
            "each change gives a fingerprint of its own"
        );
    }
}
