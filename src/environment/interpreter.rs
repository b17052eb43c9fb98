//! The Python interpreter that an environment is made for.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::system::account::{Account, NAME};
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::sandbox;
use crate::unprivileged::Child;

/// The minor versions of Python 3 that the lock was tested with.
const SUPPORTED: RangeInclusive<u32> = 10..=14;

/// Starting Python takes a tenth of a second; a disk that has to wake up, some more.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// What is asked of an interpreter. The modules are those that Debian and others split off.
const PROBE: &str = "\
import json, sys, sysconfig
missing = []
for name in ('ctypes', 'multiprocessing', 'sqlite3', 'ssl', 'zlib'):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
print(json.dumps({
    'implementation': sys.implementation.name,
    'version': list(sys.version_info[:3]),
    'abi': sysconfig.get_config_var('SOABI') or '',
    'missing': missing,
}))";

/// Prints the first of its arguments that the caller may not enter or execute.
const CLOSED: &str = r#"for path; do test -x "$path" || { echo "$path"; exit; }; done"#;

/// An interpreter, as far as an environment depends on it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Interpreter {
    /// Its real path, without symbolic links: what `python3` points to can change.
    pub path: PathBuf,
    /// Major, minor and micro version.
    pub version: [u32; 3],
    /// The suffix of its extension modules, such as `cpython-311-x86_64-linux-gnu`.
    pub abi: String,
}

impl Interpreter {
    /// `3.11.2`.
    pub fn version_text(&self) -> String {
        let [major, minor, micro] = self.version;
        format!("{major}.{minor}.{micro}")
    }
}

/// An interpreter's answer, kept as long as its file is the same.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Probed {
    identity: Identity,
    answer: Answer,
}

/// Answers by the interpreters' real paths.
pub type Probes = BTreeMap<PathBuf, Probed>;

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
struct Answer {
    implementation: String,
    version: [u32; 3],
    abi: String,
    missing: Vec<String>,
}

impl Answer {
    /// Why Covalent can't run on it, if it can't.
    fn objection(&self) -> Option<String> {
        let [major, minor, micro] = self.version;
        if self.implementation != "cpython" {
            Some(format!("is {}, not CPython", self.implementation))
        } else if major != 3 || !SUPPORTED.contains(&minor) {
            Some(format!("is Python {major}.{minor}.{micro}"))
        } else if !self.missing.is_empty() {
            Some(format!("lacks the modules {}", self.missing.join(", ")))
        } else {
            None
        }
    }
}

/// Finds the interpreter to use: the one that is set, else the distribution's own `python3` if
/// Covalent runs on it, else the newest one it runs on.
///
/// `probes` holds earlier answers, and new ones afterwards.
pub fn find(host: &Host, settings: &Settings, probes: &mut Probes) -> Result<Interpreter> {
    if let Some(set) = &settings.interpreter {
        return match examine(&host.path(set), probes) {
            Ok(Ok(interpreter)) => match unreachable(host, &interpreter.path)? {
                None => Ok(interpreter),
                Some(objection) => Err(Failure::error(
                    Kind::Interpreter,
                    objection,
                    "put it where the account can read it, such as /opt or /usr/local, name it in \
                     /etc/covalent/covalentctl.toml, then: covalentctl apply",
                )),
            },
            Ok(Err(objection)) => Err(refusal(&[format!("{} {objection}", set.display())])),
            Err(error) => Err(refusal(&[format!("{error:#}")])),
        }
        .with_context(|| {
            let path = host.settings();
            format!("{}: interpreter = {set:?} can't be used", path.display())
        });
    }
    let mut objections = Vec::new();
    for candidate in candidates(host).iter().filter(|path| path.exists()) {
        match examine(candidate, probes) {
            Ok(Ok(interpreter)) => match unreachable(host, &interpreter.path)? {
                None => return Ok(interpreter),
                Some(objection) => objections.push(objection),
            },
            Ok(Err(objection)) => objections.push(format!("{} {objection}", candidate.display())),
            Err(error) => objections.push(format!("{error:#}")),
        }
    }
    if objections.is_empty() {
        objections.push("there is no python3 in /usr/bin or /usr/local/bin".into());
    }
    Err(refusal(&objections))
}

/// Why the service account can't run the interpreter at a real path, if it can't.
fn unreachable(host: &Host, path: &Path) -> Result<Option<String>> {
    // What a distribution has put there is for everybody.
    if path.starts_with(host.path("/usr/bin")) {
        return Ok(None);
    }
    if let Some(hidden) = sandbox::hides(host, path) {
        return Ok(Some(format!("{}: {hidden}", path.display())));
    }
    if Account::service(host)?.is_none() {
        return Ok(None);
    }
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    let closed = Child::new(host, "sh", PROBE_LIMIT)
        .args(["-c", CLOSED, "sh"])
        .args(above)
        .run()?
        .stdout;
    let (closed, path) = (closed.trim_end(), path.display());
    Ok((!closed.is_empty()).then(|| {
        if closed == path.to_string() {
            format!("the account {NAME} may not execute {path}")
        } else {
            format!("the account {NAME} can't reach {path}: {closed} is closed to it")
        }
    }))
}

fn candidates(host: &Host) -> Vec<PathBuf> {
    let newest_first = ["/usr/bin", "/usr/local/bin"].iter().flat_map(|folder| {
        SUPPORTED
            .rev()
            .map(move |minor| format!("{folder}/python3.{minor}"))
    });
    std::iter::once("/usr/bin/python3".to_string())
        .chain(newest_first)
        .map(|path| host.path(path))
        .collect()
}

/// The interpreter at `path`, or why Covalent can't run on it.
fn examine(path: &Path, probes: &mut Probes) -> Result<Result<Interpreter, String>> {
    let real = fs::canonicalize(path).with_context(|| format!("{}", path.display()))?;
    let metadata = fs::metadata(&real).with_context(|| format!("{}", real.display()))?;
    let identity = Identity {
        inode: metadata.ino(),
        size: metadata.size(),
        changed: (metadata.mtime(), metadata.mtime_nsec()),
    };
    let known = probes
        .get(&real)
        .filter(|probed| probed.identity == identity);
    let answer = match known {
        Some(probed) => probed.answer.clone(),
        None => {
            let answer = ask(&real)?;
            let probed = Probed {
                identity,
                answer: answer.clone(),
            };
            // Which modules there are depends on other files too, so a lack is asked for again.
            if answer.missing.is_empty() {
                probes.insert(real.clone(), probed);
            }
            answer
        }
    };
    Ok(match answer.objection() {
        Some(objection) => Err(objection),
        None => Ok(Interpreter {
            path: real,
            version: answer.version,
            abi: answer.abi,
        }),
    })
}

fn ask(path: &Path) -> Result<Answer> {
    let output = Command::new(path, PROBE_LIMIT)
        .args(["-I", "-B", "-c", PROBE])
        .run()?;
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("{} gave no answer that can be understood", path.display()))
}

fn refusal(objections: &[String]) -> anyhow::Error {
    let (oldest, newest) = SUPPORTED.into_inner();
    Failure::error(
        Kind::Interpreter,
        format!(
            "no interpreter that Covalent {} runs on (Python 3.{oldest} to 3.{newest}): {}",
            env!("CARGO_PKG_VERSION"),
            objections.join("; ")
        ),
        "install one of these versions beside the system's, name it in \
         /etc/covalent/covalentctl.toml (interpreter = \"/path/to/python3.N\") \
         unless it is /usr/bin/python3.N, then: covalentctl apply",
    )
}

#[cfg(test)]
pub(super) mod fake {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Puts a script at `path` that answers as an interpreter does which lacks these modules, and
    /// notes each of its runs beside itself.
    pub fn interpreter(path: &Path, [major, minor, patch]: [u32; 3], missing: &str) {
        let script = format!(
            "#!/bin/sh\necho run >> {}.runs\necho '{{\"implementation\":\"cpython\",\
             \"version\":[{major},{minor},{patch}],\"abi\":\"cpython-{major}{minor}\",\
             \"missing\":[{missing}]}}'\n",
            path.display()
        );
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::failure::{describe, find as find_failure};
    use std::os::unix::fs::symlink;

    /// A tree with interpreters that answer what they are made to.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            Tree(tempfile::tempdir().unwrap())
        }

        fn host(&self) -> Host {
            Host::at(self.0.path())
        }

        fn interpreter(&self, path: &str, minor: u32, missing: &str) -> PathBuf {
            let path = self.host().path(path);
            fake::interpreter(&path, [3, minor, 4], missing);
            path
        }
    }

    fn settings(interpreter: Option<&str>) -> Settings {
        Settings {
            interpreter: interpreter.map(PathBuf::from),
            generations: 2,
            restart: Default::default(),
            backups: 1,
            network: Default::default(),
            index: Default::default(),
        }
    }

    #[test]
    fn the_distributions_own_is_preferred_to_a_newer_one() {
        let tree = Tree::new();
        let real = tree.interpreter("/usr/bin/python3.11", 11, "");
        symlink("python3.11", tree.host().path("/usr/bin/python3")).unwrap();
        tree.interpreter("/usr/bin/python3.14", 14, "");
        let found = find(&tree.host(), &settings(None), &mut Probes::new()).unwrap();
        assert_eq!((found.path, found.version), (real, [3, 11, 4]));
    }

    #[test]
    fn the_newest_supported_one_is_taken_where_the_distributions_own_is_not() {
        let tree = Tree::new();
        tree.interpreter("/usr/bin/python3", 9, "");
        tree.interpreter("/usr/bin/python3.10", 10, "");
        let newest = tree.interpreter("/usr/bin/python3.12", 12, "");
        let found = find(&tree.host(), &settings(None), &mut Probes::new()).unwrap();
        assert_eq!(found.path, newest);
    }

    #[test]
    fn the_setting_overrides_and_what_it_names_must_be_fit() {
        let tree = Tree::new();
        tree.interpreter("/usr/bin/python3", 11, "");
        let set = tree.interpreter("/usr/bin/mine", 13, "");
        let probes = &mut Probes::new();
        let found = find(&tree.host(), &settings(Some("/usr/bin/mine")), probes).unwrap();
        assert_eq!(found.path, set);
        let error = find(&tree.host(), &settings(Some("/usr/bin/none")), probes).unwrap_err();
        let text = describe(&error);
        assert!(text.contains("interpreter = \"/usr/bin/none\"") && text.contains("No such file"));
    }

    #[test]
    fn a_refusal_names_what_was_found_and_what_would_do() {
        let tree = Tree::new();
        tree.interpreter("/usr/bin/python3", 9, "");
        tree.interpreter("/usr/bin/python3.11", 11, "\"sqlite3\"");
        let error = find(&tree.host(), &settings(None), &mut Probes::new()).unwrap_err();
        assert_eq!(find_failure(&error).unwrap().kind, Kind::Interpreter);
        let text = describe(&error);
        for part in [
            "3.10 to 3.14",
            "python3 is Python 3.9.4",
            "lacks the modules sqlite3",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn an_interpreter_is_asked_once_until_its_file_changes() {
        let tree = Tree::new();
        let path = tree.interpreter("/usr/bin/python3", 11, "");
        let runs = || {
            fs::read_to_string(format!("{}.runs", path.display()))
                .unwrap()
                .len()
        };
        let mut probes = Probes::new();
        find(&tree.host(), &settings(None), &mut probes).unwrap();
        let once = runs();
        find(&tree.host(), &settings(None), &mut probes).unwrap();
        assert_eq!(runs(), once);
        tree.interpreter("/usr/bin/python3", 12, "");
        find(&tree.host(), &settings(None), &mut probes).unwrap();
        assert!(runs() > once);
    }

    #[test]
    fn a_missing_module_is_asked_for_again_once_it_may_have_been_installed() {
        let tree = Tree::new();
        let path = tree.interpreter("/usr/bin/python3", 11, "");
        let script = format!(
            "#!/bin/sh\ntest -e {0}.whole && missing= || missing='\"sqlite3\"'\n\
             echo '{{\"implementation\":\"cpython\",\"version\":[3,11,4],\"abi\":\"x\",\
             \"missing\":['$missing']}}'\n",
            path.display()
        );
        fs::write(&path, script).unwrap();
        let mut probes = Probes::new();
        assert!(find(&tree.host(), &settings(None), &mut probes).is_err());
        fs::write(format!("{}.whole", path.display()), "").unwrap();
        find(&tree.host(), &settings(None), &mut probes).unwrap();
    }
}
