//! Whether packages that came or went bear on the server: if not, a generation that differs by
//! them alone from a verified one loads the server just as that one did.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::contents::{metadata_folder, site_packages};
use super::layout::SOUGHT;
use crate::environment::requirement::Versions;

/// The groups of entry points that nobody loads but a script of that name (entry points
/// specification of the packaging guide).
const SCRIPTS: [&str; 2] = ["console_scripts", "gui_scripts"];

/// The modules that Python seeks when it starts (site, in its library reference).
const STARTUP: [&str; 2] = ["sitecustomize", "usercustomize"];

/// Whether the server can find a difference between the environments at `old`, which has been
/// verified, and at `new`, with these packages. Yes where that can't be told.
pub fn affects_server(old: (&Path, &Versions), new: (&Path, &Versions)) -> bool {
    let Ok(sought) = fs::read_to_string(old.0.join(SOUGHT)) else {
        return true;
    };
    let sought: BTreeSet<&str> = sought.lines().collect();
    differing(old, new).any(|(path, name)| {
        modules(path, name).is_none_or(|modules| {
            modules
                .iter()
                .any(|module| sought.contains(module.as_str()))
        })
    })
}

/// The packages that are in one of two environments alone, or there in another version.
fn differing<'a>(
    old: (&'a Path, &'a Versions),
    new: (&'a Path, &'a Versions),
) -> impl Iterator<Item = (&'a Path, &'a str)> {
    let in_one = |this: (&'a Path, &'a Versions), that: &'a Versions| {
        this.1
            .iter()
            .filter(move |(name, version)| that.get(*name) != Some(version))
            .map(move |(name, _)| (this.0, name.as_str()))
    };
    in_one(old, new.1).chain(in_one(new, old.1))
}

/// The names of the top-level modules of a package; nothing if it can have a say in other ways:
/// a `.pth` file, which Python reads at its start, or an entry point that others load.
fn modules(environment: &Path, name: &str) -> Option<BTreeSet<String>> {
    let metadata = metadata_folder(&site_packages(environment)?, name)?;
    let entry_points = match fs::read_to_string(metadata.join("entry_points.txt")) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(_) => return None,
    };
    let mut groups = entry_points
        .lines()
        .filter_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'));
    if groups.any(|group| !SCRIPTS.contains(&group.trim())) {
        return None;
    }
    let record = fs::read_to_string(metadata.join("RECORD")).ok()?;
    let mut modules = BTreeSet::new();
    for line in record.lines() {
        // A name with a comma in it stands in quotes, and is no module's.
        let path = line.split(',').next().unwrap_or_default();
        if path.ends_with(".pth") {
            return None;
        }
        let first = path.split('/').next().unwrap_or_default();
        let module = first.split('.').next().unwrap_or_default();
        if first == ".." {
            // Scripts aside, this may be a configuration that something reads.
            if !path.trim_start_matches("../").starts_with("bin/") {
                return None;
            }
        } else if STARTUP.contains(&module) {
            return None;
        } else if !first.ends_with(".dist-info") {
            modules.insert(module.to_string());
        }
    }
    Some(modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            for environment in ["old", "new"] {
                let site = tree.path(environment).join("lib/python3.11/site-packages");
                fs::create_dir_all(site).unwrap();
            }
            fs::write(tree.path("old").join(SOUGHT), "dask\nnumpy\nsix\n").unwrap();
            tree
        }

        fn path(&self, environment: &str) -> PathBuf {
            self.0.path().join(environment)
        }

        /// Whether a package with these files bears on the server, coming and going.
        fn bears(&self, record: &str, entry_points: &str) -> bool {
            let mut verdicts = BTreeSet::new();
            for environment in ["old", "new"] {
                let site = site_packages(&self.path(environment)).unwrap();
                let metadata = site.join("x_y-1.0.dist-info");
                fs::create_dir(&metadata).unwrap();
                fs::write(metadata.join("RECORD"), record).unwrap();
                fs::write(metadata.join("entry_points.txt"), entry_points).unwrap();
                let (none, one) = (
                    Versions::new(),
                    Versions::from([("x-y".into(), "1.0".into())]),
                );
                let (old, new) = (self.path("old"), self.path("new"));
                verdicts.insert(match environment {
                    "old" => affects_server((&old, &one), (&new, &none)),
                    _ => affects_server((&old, &none), (&new, &one)),
                });
                fs::remove_dir_all(&metadata).unwrap();
            }
            assert_eq!(verdicts.len(), 1, "{record}");
            verdicts.contains(&true)
        }
    }

    #[test]
    fn a_package_bears_on_the_server_if_that_could_notice_it() {
        let tree = Tree::new();
        let scripts = "[console_scripts]\nx = x:main\n";
        for (record, entry_points, expected) in [
            (
                "x/a.py,,\nx_y-1.0.dist-info/RECORD,,\n../../../bin/x,,",
                scripts,
                false,
            ),
            ("numpy/core.py,,", "", true),
            ("six.py,,", "", true),
            ("six.cpython-311-x86_64-linux-gnu.so,,", "", true),
            ("x/a.py,,\nx-nspkg.pth,,", "", true),
            ("sitecustomize.py,,", "", true),
            ("x/a.py,,\n../../../etc/dask/x.yaml,,", "", true),
            (
                "x.py,,",
                "[covalent.executor.executor_plugins]\nx = x\n",
                true,
            ),
        ] {
            assert_eq!(tree.bears(record, entry_points), expected, "{record}");
        }
        fs::remove_file(tree.path("old").join(SOUGHT)).unwrap();
        assert!(tree.bears("x/a.py,,", ""), "nothing is known");
    }
}
