//! What the environment should be: the lock, the interpreter, and the requirement files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Kind};
use crate::host::Host;
use crate::interpreter::{self, Interpreter, Probes};
use crate::settings::Settings;

/// Counts the changes in how an environment is laid out; a new number rebuilds every one.
const LAYOUT: u32 = 1;

/// The wanted environment.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The interpreter it is for.
    pub interpreter: Interpreter,
    /// The requirement files beside the lock, in the order in which they are read.
    pub requirements: Vec<PathBuf>,
    /// A digest of all of it, in hexadecimal digits.
    pub fingerprint: String,
}

impl Wanted {
    /// Reads it off the machine. `probes` are the answers of interpreters asked earlier.
    pub fn read(host: &Host, settings: &Settings, probes: &mut Probes) -> Result<Wanted> {
        let lock = read(&host.lock())?;
        let interpreter = interpreter::find(host, settings, probes)?;
        let requirements = requirement_files(host)?;

        let mut digest = Sha256::new();
        // The micro version is left out: a security update of Python rebuilds nothing.
        let [major, minor, _] = interpreter.version;
        let python = format!(
            "{}\0{major}.{minor}\0{}",
            interpreter.path.display(),
            interpreter.abi
        );
        for part in [LAYOUT.to_string().as_bytes(), python.as_bytes(), &lock] {
            add(&mut digest, part);
        }
        for path in &requirements {
            add(&mut digest, path.as_os_str().as_encoded_bytes());
            add(&mut digest, &read(path)?);
        }
        let fingerprint = digest
            .finalize()
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Ok(Wanted {
            interpreter,
            requirements,
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

fn requirement_files(host: &Host) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in host.requirement_folders() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", folder.display()));
            }
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry
                .with_context(|| format!("reading {}", folder.display()))?
                .path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                found.push(path);
            }
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
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
            let settings = Settings {
                interpreter: None,
                generations: 2,
                network: Default::default(),
                index: Default::default(),
            };
            let host = Host::at(self.0.path());
            Wanted::read(&host, &settings, &mut Probes::new())
                .unwrap()
                .fingerprint
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
        ] {
            tree.write(path, content);
            seen.push(tree.fingerprint());
        }
        tree.python("3,13,1");
        seen.push(tree.fingerprint());
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
