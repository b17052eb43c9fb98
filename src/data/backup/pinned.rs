//! What tar(1) archives from a folder that is open, whatever the folder's path leads to meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use anyhow::Result;

use crate::data::places::Places;
use crate::system::account::Account;
use crate::system::host::Host;
use crate::unprivileged::open_folder;

/// Between the parts of an expression: in no path that anybody types.
const SEPARATOR: u8 = 1;

/// The part of an archive that comes out of a folder of the account's.
pub(super) struct Pinned {
    folder: File,
    /// What in the folder; `.` for all of it.
    inside: OsString,
    /// Its name in the archive.
    pub(super) member: PathBuf,
}

impl Pinned {
    /// The data and `covalent.conf`, as far as they are there.
    pub(super) fn all(
        host: &Host,
        places: &Places,
        account: Option<&Account>,
    ) -> Result<Vec<Pinned>> {
        let mut all = Vec::new();
        if places.data.exists() {
            all.push(Pinned {
                folder: open_folder(&places.data, &places.data_as_set, account)?,
                inside: ".".into(),
                member: host.member(&places.data),
            });
        }
        let file = &places.configuration;
        if let (true, Some(folder), Some(name)) = (file.exists(), file.parent(), file.file_name()) {
            all.push(Pinned {
                folder: open_folder(folder, folder, account)?,
                inside: name.into(),
                member: host.member(file),
            });
        }
        Ok(all)
    }

    /// Has tar change its name, and no link's target.
    pub(super) fn transform(&self) -> OsString {
        let mut expression = b"--transform=flags=rhS;s".to_vec();
        expression.extend([SEPARATOR, b'^']);
        expression.extend(escaped(&self.inside, b"\\.*[]^$"));
        expression.push(SEPARATOR);
        expression.extend(escaped(self.member.as_os_str(), b"\\&"));
        expression.push(SEPARATOR);
        OsString::from_vec(expression)
    }

    /// tar's arguments for it.
    pub(super) fn arguments(&self) -> [OsString; 3] {
        let folder = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.folder.as_raw_fd()
        );
        ["--directory".into(), folder.into(), self.inside.clone()]
    }
}

fn escaped(text: &OsStr, special: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in text.as_bytes() {
        if special.contains(&byte) {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use crate::system::command::Command;

    #[test]
    fn it_has_its_name_in_the_archive_and_comes_from_the_folder_that_was_opened() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        fs::create_dir_all(path("data/a")).unwrap();
        symlink("./b", path("data/a/link")).unwrap();
        fs::write(path("covalent.conf"), "").unwrap();
        let parts = [
            ("data", ".", "srv/a & b\\1/data"),
            ("", "covalent.conf", "c/covalent.conf"),
        ];
        let all = parts.map(|(folder, inside, member)| Pinned {
            folder: File::open(path(folder)).unwrap(),
            inside: inside.into(),
            member: member.into(),
        });
        fs::rename(path("data"), path("former")).unwrap();
        fs::create_dir_all(path("data/other")).unwrap();

        let archive = path("a.tar");
        let run = |arguments: Vec<OsString>| {
            let command = Command::new("tar", Duration::from_secs(60)).args(arguments);
            command.run().unwrap().stdout
        };
        let mut arguments = vec!["--create".into(), "--file".into(), archive.clone().into()];
        arguments.extend(all.iter().map(Pinned::transform));
        arguments.extend(all.iter().flat_map(Pinned::arguments));
        run(arguments);
        let list = ["--list", "--verbose", "--quoting-style=literal", "--file"];
        let mut arguments: Vec<OsString> = list.map(OsString::from).into();
        arguments.push(archive.into());
        let listed = run(arguments);
        let names: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(' '))
            .map(|(_, name)| name)
            .collect();
        let expected = [
            "srv/a & b\\1/data/",
            "srv/a & b\\1/data/a/",
            "srv/a & b\\1/data/a/link -> ./b",
            "c/covalent.conf",
        ];
        assert_eq!(names, expected);
    }
}
