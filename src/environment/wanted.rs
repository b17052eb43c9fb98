//! What the environment should be: the locks, the interpreter, the requirement files, and what was
//! carried over from an environment that somebody changed by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::interpreter::{self, Interpreter};
use super::requirement::{self, Versions};
use super::requirement_file::{Files, RequirementFile};
use super::state::State;
use crate::settings::Settings;
use crate::system::digest::Digest;
use crate::system::host::Host;

/// Counts the changes in how an environment is laid out; a new number rebuilds every one.
pub const LAYOUT: u32 = 2;

/// The options that include a file, whose content counts as well.
const INCLUDES: [&str; 4] = ["-r", "--requirement", "-c", "--constraint"];

/// The wanted environment.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The interpreter it is for.
    pub interpreter: Interpreter,
    /// As in [`Files`].
    pub locks: Vec<RequirementFile>,
    /// As in [`Files`].
    pub requirements: Vec<RequirementFile>,
    /// As in [`Files`].
    pub wheels_only: bool,
    /// What somebody installed by hand, and what nobody has made permanent or removed since.
    pub carried: Versions,
    /// A digest of all of it, in hexadecimal digits.
    pub fingerprint: String,
}

impl Wanted {
    /// Reads it off the machine. What interpreters answer is remembered in `state`.
    pub fn read(host: &Host, settings: &Settings, state: &mut State) -> Result<Wanted> {
        let files = Files::find(host)?;
        let interpreter = interpreter::find(host, settings, &mut state.interpreters)?;

        let read = |paths: &[PathBuf]| {
            let files = paths.iter().map(|path| RequirementFile::read(path));
            files.collect::<Result<Vec<_>>>()
        };
        let (locks, requirements) = (read(&files.locks)?, read(&files.requirements)?);

        let mut digest = Digest::default();
        // The micro version is left out: a security update of Python rebuilds nothing.
        let [major, minor, _] = interpreter.version;
        let python = format!(
            "{}\0{major}.{minor}\0{}",
            interpreter.path.display(),
            interpreter.abi
        );
        for part in [LAYOUT.to_string().as_bytes(), python.as_bytes()] {
            digest.add(part);
        }
        let mut named = BTreeSet::new();
        for RequirementFile { path, text } in locks.iter().chain(&requirements) {
            digest.add(path.as_os_str().as_encoded_bytes());
            digest.add(text.as_bytes());
            named.extend(requirement::in_file(text).map(|(_, _, name)| name));
            for (_, included) in requirement::options(text, &INCLUDES) {
                let included = path.with_file_name(included);
                digest.add(&fs::read(&included).unwrap_or_default());
            }
        }
        let mut carried = state.carried.clone();
        carried.retain(|name, _| !named.contains(name));
        for (name, version) in &carried {
            digest.add(format!("{name}=={version}").as_bytes());
        }
        let fingerprint = digest.hexadecimal();
        Ok(Wanted {
            interpreter,
            locks,
            requirements,
            wheels_only: files.wheels_only,
            carried,
            fingerprint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::interpreter::fake;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            tree.write("/usr/share/covalent/covalent.lock", "covalent==0.240.0\n");
            tree.python([3, 11, 2]);
            tree
        }

        fn write(&self, path: &str, content: &str) {
            let path = Host::at(self.0.path()).path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn python(&self, version: [u32; 3]) {
            let path = Host::at(self.0.path()).path("/usr/bin/python3");
            fake::interpreter(&path, version, "");
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
        tree.python([3, 11, 30]);
        assert_eq!(tree.fingerprint(), first, "a security update of Python");
        tree.write("/etc/covalent/requirements.d/notes", "numpy\n");
        assert_eq!(
            tree.fingerprint(),
            first,
            "a file that is not a requirement file"
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
        tree.python([3, 13, 1]);
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
