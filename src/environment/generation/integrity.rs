//! The files of an environment beside what its packages have recorded of them when they were
//! installed (packaging.python.org, "Recording installed projects").

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::contents::{metadata_folders, site_packages};
use crate::system::thread::divide;

/// How a recorded digest begins; wheels must not have a weaker one.
const ALGORITHM: &str = "sha256=";

/// Plugins bring their tests as a package of this name, each over those of the others; nobody runs
/// them.
const TESTS: &str = "tests";

/// A file that is not what a package has installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The package's normalized name.
    pub package: String,
    /// The file, below the environment.
    pub file: PathBuf,
    /// What it is, in words that follow the file's name.
    pub what: &'static str,
}

/// What packages say of a file: where several bring it, any of them is right.
#[derive(Default)]
struct Recorded {
    package: String,
    /// The digest and the size in bytes; none of a file that is only expected to be there.
    contents: Vec<(String, u64)>,
}

/// Every file of the environment at `path` that is gone or has another content than the one that
/// was installed, and every package without a record. Reads all files: 220 MB took half a second.
pub fn damage(path: &Path) -> Vec<Damage> {
    let Some(site) = site_packages(path) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut files: BTreeMap<PathBuf, Recorded> = BTreeMap::new();
    for (package, metadata) in metadata_folders(&site) {
        let record = metadata.join("RECORD");
        let Ok(text) = fs::read_to_string(&record) else {
            found.push(Damage {
                package,
                file: record.strip_prefix(path).unwrap_or(&record).into(),
                what: "can't be read",
            });
            continue;
        };
        for (file, content) in text.lines().filter_map(line) {
            let Some(file) = below(path, &site.join(file)) else {
                continue;
            };
            let recorded = files.entry(file).or_default();
            recorded.package.clone_from(&package);
            recorded.contents.extend(content);
        }
    }
    let files: Vec<(PathBuf, Recorded)> = files
        .into_iter()
        .filter(|(file, _)| matters(path, &site, file))
        .collect();
    found.extend(compare(path, &files));
    found.sort();
    found
}

/// Compares on every core: hashing takes most of the time.
fn compare(path: &Path, files: &[(PathBuf, Recorded)]) -> Vec<Damage> {
    let damaged = |(file, recorded): &(PathBuf, Recorded)| {
        difference(&path.join(file), &recorded.contents).map(|what| Damage {
            package: recorded.package.clone(),
            file: file.clone(),
            what,
        })
    };
    let all = |files: &[_]| files.iter().filter_map(damaged).collect::<Vec<_>>();
    divide(files, all).concat()
}

/// What is wrong with a file, if anything.
fn difference(file: &Path, contents: &[(String, u64)]) -> Option<&'static str> {
    let Ok(metadata) = fs::metadata(file) else {
        return Some("is missing");
    };
    if !metadata.is_file() {
        return Some("is not a file");
    }
    let mut same_size = contents
        .iter()
        .filter(|(_, size)| *size == metadata.len())
        .peekable();
    if contents.is_empty() {
        return None;
    }
    if same_size.peek().is_none() {
        return Some("is not what was installed");
    }
    let Ok(bytes) = fs::read(file) else {
        return Some("can't be read");
    };
    let digest = base64(&Sha256::digest(bytes));
    let same = same_size.any(|(recorded, _)| *recorded == digest);
    (!same).then_some("is not what was installed")
}

/// Whether the server could miss the file. Bytecode is made again from the module.
fn matters(path: &Path, site: &Path, file: &Path) -> bool {
    let is_test = path.join(file).starts_with(site.join(TESTS));
    !is_test && file.extension().is_none_or(|extension| extension != "pyc")
}

/// A line of a RECORD: a path relative to the packages' folder, then digest and size if the file
/// is to stay as it is.
fn line(line: &str) -> Option<(PathBuf, Option<(String, u64)>)> {
    // Neither of the last two holds a comma.
    let (rest, size) = line.rsplit_once(',')?;
    let (file, digest) = rest.rsplit_once(',')?;
    let quoted = file
        .strip_prefix('"')
        .and_then(|file| file.strip_suffix('"'));
    let file = quoted.map_or_else(|| file.to_string(), |file| file.replace("\"\"", "\""));
    let content = digest
        .strip_prefix(ALGORITHM)
        .zip(size.parse().ok())
        .map(|(digest, size)| (digest.to_string(), size))
        // Scripts name the environment's folder: they are written anew for another one.
        .filter(|_| !(file.starts_with("../") && file.contains("/bin/")));
    Some((file.into(), content))
}

/// The path below the folder, if it is there: a record can name any file.
fn below(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain.strip_prefix(folder).map(PathBuf::from).ok()
}

/// As a record has it: for addresses, without padding (RFC 4648, section 5).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, index| {
            bits << 8 | usize::from(chunk.get(index).copied().unwrap_or_default())
        });
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment with one package, whose record is these lines.
    fn environment(record: &[&str]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let site = tree.path().join("lib/python3.11/site-packages");
        fs::create_dir_all(site.join("click-1.0.dist-info")).unwrap();
        fs::create_dir_all(site.join("click")).unwrap();
        fs::create_dir_all(tree.path().join("bin")).unwrap();
        fs::write(site.join("click/a.py"), "abc").unwrap();
        fs::write(site.join("click-1.0.dist-info/RECORD"), record.join("\n")).unwrap();
        tree
    }

    fn found(record: &[&str]) -> Vec<String> {
        let tree = environment(record);
        let site = "lib/python3.11/site-packages/";
        damage(tree.path())
            .into_iter()
            .map(|damage| {
                let file = damage.file.display().to_string().replace(site, "");
                format!("{}: {file} {}", damage.package, damage.what)
            })
            .collect()
    }

    /// Of "abc", as FIPS 180-4 has it.
    const ABC: &str = "click/a.py,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3";

    #[test]
    fn what_is_there_is_compared_with_what_was_recorded() {
        assert_eq!(found(&[ABC, "click-1.0.dist-info/RECORD,,"]), [""; 0]);
        let changed = "click: click/a.py is not what was installed";
        assert_eq!(found(&[&ABC.replace("ungW", "angW")]), [changed]);
        assert_eq!(found(&[&ABC.replace(",3", ",4")]), [changed]);
        let missing = ABC.replace("a.py", "b.py");
        assert_eq!(found(&[&missing]), ["click: click/b.py is missing"]);
        let quoted = missing.replace("click/b.py", "\"click/b,\"\"c\"\".py\"");
        assert_eq!(found(&[&quoted]), ["click: click/b,\"c\".py is missing"]);
        // Another package has put its own over it.
        assert_eq!(found(&[&ABC.replace("ungW", "angW"), ABC]), [""; 0]);
    }

    #[test]
    fn a_package_without_a_record_is_found() {
        let tree = environment(&[]);
        let site = tree.path().join("lib/python3.11/site-packages");
        fs::remove_file(site.join("click-1.0.dist-info/RECORD")).unwrap();
        assert_eq!(damage(tree.path())[0].what, "can't be read");
    }

    #[test]
    fn what_nobody_could_miss_or_what_lies_elsewhere_is_left_alone() {
        assert_eq!(
            found(&[
                &ABC.replace("click/a.py", "tests/__init__.py"),
                &ABC.replace("a.py", "a.cpython-311.pyc"),
                &ABC.replace("click/a.py", "../../../../etc/shadow"),
                &ABC.replace("click/a.py", "/etc/shadow"),
            ]),
            [""; 0]
        );
        let script = ABC.replace("click/a.py", "../../../bin/click");
        assert_eq!(found(&[&script]), ["click: bin/click is missing"]);
    }
}
