//! Whose the files are, and who may change them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::unit;
use super::verdict::{Verdict, bad, doubtful, first, from_error, good, shown, skipped};
use crate::data::database::COMPANIONS;
use crate::data::places::{Database, Places};
use crate::system::account::{Account, NAME};
use crate::system::command::Command;
use crate::system::file;
use crate::system::host::Host;

/// How many files below a folder are looked at: an environment with every plugin has half of it,
/// and a server of many years must not keep its administrator waiting.
const LOOKED_AT: usize = 200_000;

/// What uv makes in an environment so that only one uv changes it; its content is nobody's business.
const UV_LOCK: &str = ".lock";

/// Writing by the group, and by everybody else (inode(7)).
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Reading by everybody else.
const OTHERS_READ: u32 = 0o004;

/// Prints those of its arguments that the caller can't write.
const UNWRITABLE: &str = r#"for path; do test -w "$path" || echo "$path"; done"#;

/// A few system calls.
const QUESTION_LIMIT: Duration = Duration::from_secs(30);

/// Whether only root can change what runs as root or as the service account, and whether others
/// can read what may be secret.
pub(super) fn permissions(host: &Host) -> Verdict {
    let mut open = Vec::new();
    for folder in [
        host.generations(),
        host.etc(),
        host.launcher(),
        host.state(),
    ] {
        walk(&folder, &mut |path, metadata| {
            let is_lock = path.ends_with(UV_LOCK);
            if !is_lock && !metadata.is_symlink() && changeable(host, metadata) {
                open.push(shown(path));
            }
        });
    }
    if !open.is_empty() {
        let cure = format!(
            "sudo chown -h root:root {0}; sudo chmod go-w {0}; and so with each",
            open[0]
        );
        return bad(
            format!("others than root can change {}", first(&open)),
            cure,
        );
    }
    let secret = [host.environment_file(), host.settings()];
    let readable = secret
        .iter()
        .find(|path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS_READ != 0));
    match readable {
        Some(path) => doubtful(
            format!(
                "everybody can read {}, which may hold a password",
                path.display()
            ),
            format!("sudo chmod 0640 {}, unless it holds none", path.display()),
        ),
        None => good("only root can change the environment and the settings"),
    }
}

/// Whether somebody else than root can change a file; in a tree, than whoever made it.
fn changeable(host: &Host, metadata: &Metadata) -> bool {
    let (owner, group) = match host.is_real() {
        true => (0, 0),
        false => (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
    };
    let mode = metadata.mode();
    metadata.uid() != owner
        || mode & OTHERS_WRITE != 0
        || (mode & GROUP_WRITES != 0 && metadata.gid() != group)
}

/// Whether the account is there and its home is its own.
pub(super) fn account(host: &Host) -> Verdict {
    let data = host.data();
    let owner = std::fs::metadata(&data).map(|metadata| (metadata.uid(), metadata.gid()));
    match (Account::service(host), owner) {
        (Ok(Some(account)), Ok(owner)) if owner == (account.uid, account.gid) => {
            good(format!("{} owns {}", NAME, data.display()))
        }
        (Ok(Some(_)), Ok(_)) => bad(
            format!("{} belongs to somebody else than {}", data.display(), NAME),
            format!("sudo chown covalent:covalent {}", data.display()),
        ),
        (Ok(Some(_)), Err(error)) => bad(
            format!("{}: {error}", data.display()),
            "sudo systemd-tmpfiles --create covalent.conf",
        ),
        (Ok(None), _) => bad(
            format!("there is no account {}", NAME),
            "sudo systemd-sysusers covalent.conf",
        ),
        (Err(error), _) => from_error(&error),
    }
}

/// Whether the account can write what the server writes, and owns what is in its folders.
pub(super) fn data(host: &Host) -> Verdict {
    let places = match Places::read(host) {
        Ok(places) => places,
        Err(error) => return from_error(&error),
    };
    let Ok(home) = fs::metadata(host.data()) else {
        return skipped(format!("there is no {}", host.data().display()));
    };
    let written = written(host, &places);
    if let [path, ..] = unit::closed(host, &written)[..] {
        let path = path.display();
        return bad(
            format!("the unit's sandbox lets nobody write {path}"),
            format!(
                "sudo systemctl edit covalent, with the lines [Service] and ReadWritePaths={path}; \
                 then: sudo systemctl restart covalent"
            ),
        );
    }
    match unwritable(host, &written) {
        Err(error) => return from_error(&error),
        Ok(paths) if !paths.is_empty() => {
            let path = &paths[0];
            return bad(
                format!("the account {NAME} can't write {}", first(&paths)),
                format!("sudo chown {NAME}:{NAME} {path}; sudo chmod u+rwX {path}"),
            );
        }
        Ok(_) => {}
    }
    let mut others = Vec::new();
    walk(&host.data(), &mut |path, metadata| {
        if metadata.uid() != home.uid() {
            others.push(shown(path));
        }
    });
    match others.is_empty() {
        true => good(format!("all of it is the account {NAME}'s")),
        false => doubtful(
            format!("not the account {NAME}'s: {}", first(&others)),
            // The names below are the tasks' choice: none of them is to be typed.
            format!(
                "sudo chown -hR {NAME}:{NAME} {}, unless that is meant",
                host.data().display()
            ),
        ),
    }
}

/// The folders and files that the server itself writes.
fn written(host: &Host, places: &Places) -> Vec<PathBuf> {
    let mut written = vec![host.data(), places.data.clone()];
    written.extend(places.configuration.parent().map(PathBuf::from));
    if let Database::File(file) = &places.database {
        written.extend(file.parent().map(PathBuf::from));
        written.push(file.clone());
        written.extend(COMPANIONS.iter().map(|end| file::with_end(file, end)));
    }
    written.retain(|path| path.exists());
    written
}

/// Those of the paths that the account can't write. The kernel is asked: groups, access control
/// lists and mounts have a say.
fn unwritable(host: &Host, paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut command = Command::new("sh", QUESTION_LIMIT)
        .args(["-c", UNWRITABLE, "sh"])
        .args(paths);
    if let Some(account) = Account::service(host)?.filter(|_| rustix::process::geteuid().is_root())
    {
        command = command.account(&account);
    }
    let output = command.run()?;
    Ok(output.stdout.lines().map(String::from).collect())
}

/// Shows the folder and what is below it to `visit`, as far as it can be read; links are not
/// followed.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &Metadata)) {
    let mut paths = vec![folder.to_path_buf()];
    let mut left = LOOKED_AT;
    while let Some(path) = paths.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        visit(&path, &metadata);
        left -= 1;
        if left == 0 {
            return;
        }
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
    }
}
