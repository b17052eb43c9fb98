//! Whose the files are, and who may change them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::unit;
use super::verdict::{Verdict, bad, doubtful, first, from_error, good, shown, skipped};
use crate::data::database::COMPANIONS;
use crate::data::places::{Database, Places};
use crate::environment::requirement_file::Files;
use crate::system::account::{Account, NAME};
use crate::system::file;
use crate::system::host::Host;
use crate::system::reach::{not_roots, quoted, require_trusted};
use crate::system::role::Role;
use crate::system::sandbox;
use crate::system::systemd::word;
use crate::unprivileged::{Child, is_led_astray, next_step};

/// How many files below a folder are looked at: an environment with every plugin has half of it,
/// and a server of many years must not keep its administrator waiting.
const LOOKED_AT: usize = 200_000;

/// What uv makes in an environment so that only one uv changes it; its content is nobody's business.
const UV_LOCK: &str = ".lock";

/// How the names end of what it makes in its cache for the same.
const UV_CACHE_LOCK: &str = "lock";

/// Writing by the group, and by everybody else (inode(7)).
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Reading by everybody else.
const OTHERS_READ: u32 = 0o004;

/// Prints the numbers of those of its arguments that the account can't write, and then the names of
/// what is below the first one and is not the second one's.
const EXAMINE: &str = r#"
home=$1 owner=$2
shift 2
number=0
for path; do
    test -w "$path" || echo "$number"
    number=$((number + 1))
done
echo --
timeout 20 find "$home" ! -uid "$owner" -print0 2>/dev/null | head -c 65536
"#;

/// A few system calls.
const QUESTION_LIMIT: Duration = Duration::from_secs(30);

/// Whether only root can change what runs as root or as the service account, and whether others
/// can read what may be secret.
pub(super) fn permissions(host: &Host) -> Verdict {
    let mut open = Vec::new();
    if let Err(error) = require_trusted(host) {
        return from_error(&error);
    }
    for folder in host.trusted() {
        walk(&folder, &mut |path, metadata| {
            let is_lock = path.ends_with(UV_LOCK)
                || folder == host.cache()
                    && path.extension().is_some_and(|end| end == UV_CACHE_LOCK);
            if !is_lock && !metadata.is_symlink() && changeable(host, metadata) {
                open.push(path.to_path_buf());
            }
        });
    }
    if let [path, ..] = &open[..] {
        let path = quoted(path);
        let all: Vec<String> = open.iter().map(|path| shown(path)).collect();
        return bad(
            format!("somebody other than root can change {}", first(&all)),
            format!(
                "sudo chown -h root:root {path}; sudo chmod go-w {path}; and likewise for each"
            ),
        );
    }
    let secret = [Role::of(host).environment_file(host), host.settings()];
    let is_readable =
        |path: &&PathBuf| fs::metadata(path).is_ok_and(|found| found.mode() & OTHERS_READ != 0);
    let requirements = Files::find(host).map_or_else(|_| Vec::new(), |files| files.requirements);
    let mut secret = secret
        .iter()
        .chain(requirements.iter().filter(|path| has_password(path)));
    match secret.find(is_readable) {
        Some(path) => doubtful(
            format!(
                "everybody can read {}, which may hold a password",
                path.display()
            ),
            format!("sudo chmod 0640 {}, unless it holds none", quoted(path)),
        ),
        None => good("only root can change the environment and the settings"),
    }
}

/// Whether somebody else than root can change a file; in a tree, than whoever made it.
fn changeable(host: &Host, metadata: &Metadata) -> bool {
    let (owner, group) = if host.is_real() {
        (0, 0)
    } else {
        (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )
    };
    let mode = metadata.mode();
    metadata.uid() != owner
        || mode & OTHERS_WRITE != 0
        || (mode & GROUP_WRITES != 0 && metadata.gid() != group)
}

/// Whether a requirement file holds an address with a name or a password in it.
fn has_password(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut addresses = text.split("://").skip(1);
    addresses.any(|rest| {
        let server = rest.split(|c: char| c == '/' || c.is_whitespace());
        server
            .into_iter()
            .next()
            .is_some_and(|server| server.contains('@'))
    })
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
            format!("{} does not belong to {}", data.display(), NAME),
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
    if written
        .iter()
        .any(|(path, _)| sandbox::hides(host, path).is_some())
    {
        return skipped("the server cannot see some of it; see covalent.env above");
    }
    if let Some(verdict) = astray(host, &written) {
        return verdict;
    }
    let paths: Vec<PathBuf> = written.iter().map(|(path, _)| path.clone()).collect();
    if let [path, ..] = unit::closed(host, &paths)[..] {
        return bad(
            format!("the unit's sandbox makes {} read-only", path.display()),
            format!(
                "sudo systemctl edit covalent, with the lines [Service] and ReadWritePaths={}; \
                 then: sudo systemctl restart covalent",
                word(path).unwrap_or_else(|| quoted(path))
            ),
        );
    }
    let (unwritable, others) = match examine(host, &home, &paths) {
        Ok(found) => found,
        Err(error) => return from_error(&error),
    };
    let home = host.data();
    let home = home.display();
    if let [path, ..] = unwritable[..] {
        let all: Vec<String> = unwritable.iter().map(|path| shown(path)).collect();
        let word = quoted(path);
        let cure = match not_roots(path) {
            Ok(None) => format!("sudo chown -h {NAME}:{NAME} {word}; sudo chmod u+rwX {word}"),
            // Root follows no name there: it may lead elsewhere a moment later.
            _ => format!(
                "sudo chown -hR {NAME}:{NAME} {home}; sudo covalentctl run -- chmod u+rwX {word}"
            ),
        };
        return bad(
            format!("the account {NAME} can't write {}", first(&all)),
            cure,
        );
    }
    if others.is_empty() {
        return good(format!("all of it belongs to the account {NAME}"));
    }
    doubtful(
        format!("not the account {NAME}'s: {}", first(&others)),
        // The names below are the tasks' choice: none of them is to be typed.
        format!("sudo chown -hR {NAME}:{NAME} {home}, unless that is meant"),
    )
}

/// The folders and files that the server itself writes, and how each is named.
fn written(host: &Host, places: &Places) -> Vec<(PathBuf, PathBuf)> {
    let mut written = vec![
        (host.data(), host.data()),
        (places.data.clone(), places.data_as_set.clone()),
    ];
    let mut add = |path: PathBuf| written.push((path.clone(), path));
    places
        .configuration
        .parent()
        .map(PathBuf::from)
        .map(&mut add);
    if let Database::File(file) = &places.database {
        file.parent().map(PathBuf::from).map(&mut add);
        add(file.clone());
        COMPANIONS
            .iter()
            .for_each(|end| add(file::with_end(file, end)));
    }
    written.retain(|(path, _)| path.exists());
    written
}

/// What is wrong where a task may have led to what is not the account's.
fn astray(host: &Host, written: &[(PathBuf, PathBuf)]) -> Option<Verdict> {
    let account = Account::service(host).ok().flatten()?;
    let home = host.data().canonicalize().ok()?;
    let is_outside = |path: &Path| {
        !path
            .canonicalize()
            .is_ok_and(|path| path.starts_with(&home))
    };
    let mut outside = written.iter().filter(|(path, _)| is_outside(path));
    outside.find_map(|(path, way)| {
        let cause = is_led_astray(path, way, &account).ok().flatten()?;
        Some(bad(cause, next_step(way)))
    })
}

/// Those of the paths that the account can't write, and what in its home is not its own. The
/// kernel is asked: groups, access control lists and mounts have a say.
fn examine<'a>(
    host: &Host,
    home: &Metadata,
    paths: &'a [PathBuf],
) -> Result<(Vec<&'a Path>, Vec<String>)> {
    let output = Child::new(host, "/bin/sh", QUESTION_LIMIT)
        .args(["-c", EXAMINE, "sh"])
        .args([host.data()])
        .args([home.uid().to_string()])
        .args(paths)
        .run()?;
    let (numbers, names) = output
        .stdout
        .split_once("--\n")
        .context("the account does not say what it can write")?;
    let number = |line: &str| {
        line.parse()
            .ok()
            .and_then(|number: usize| paths.get(number))
    };
    let unwritable = numbers.lines().filter_map(number).map(PathBuf::as_path);
    let names = names.split('\0').filter(|name| !name.is_empty());
    Ok((
        unwritable.collect(),
        names.map(|name| shown(Path::new(name))).collect(),
    ))
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
