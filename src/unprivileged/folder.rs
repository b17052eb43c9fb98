//! Folders of the account's, open for root.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use crate::system::account::{Account, NAME};
use crate::system::failure::{Failure, Kind};
use crate::system::reach::{not_roots, quoted};

/// Whether the kernel keeps accounts from linking files that are not theirs (proc_sys_fs(5)).
const PROTECTED_HARDLINKS: &str = "/proc/sys/fs/protected_hardlinks";

/// A folder that is open for root to read all that is in it, whatever its path leads to by now.
/// `way` is how its path was given.
pub(crate) fn open_folder(path: &Path, way: &Path, account: Option<&Account>) -> Result<File> {
    let action = || format!("opening {}", path.display());
    // A pipe would be waited for.
    let folder = File::options()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)
        .with_context(action)?;
    let Some(account) = account else {
        return Ok(folder);
    };
    let owner = folder.metadata().with_context(action)?.uid();
    if owner != account.uid
        && let Some(changeable) = not_roots(way)?
    {
        return Err(Failure::error(
            Kind::Settings,
            astray(way, &changeable),
            next_step(way),
        ));
    }
    // Linked into a folder of the account's, a file that only root can read would come back as
    // the account's.
    if fs::read_to_string(PROTECTED_HARDLINKS).is_ok_and(|text| text.trim() == "0") {
        return Err(Failure::error(
            Kind::Settings,
            format!(
                "{PROTECTED_HARDLINKS} is 0: {} may hold links to files that are not the account \
                 {NAME}'s",
                path.display()
            ),
            "sysctl -w fs.protected_hardlinks=1, which systemd sets as well",
        ));
    }
    Ok(folder)
}

/// What is wrong where a path leads to what is not the account's, if a task may have led there.
/// `way` is how the path was given.
pub(crate) fn is_led_astray(path: &Path, way: &Path, account: &Account) -> Result<Option<String>> {
    if path
        .metadata()
        .is_ok_and(|found| found.uid() == account.uid)
    {
        return Ok(None);
    }
    Ok(not_roots(way)?.map(|changeable| astray(way, &changeable)))
}

fn astray(way: &Path, changeable: &Path) -> String {
    format!(
        "{} leads to a folder that is not the account {NAME}'s; a task may have led there, since \
         not only root can change {}",
        quoted(way),
        quoted(changeable)
    )
}

/// What to type where a path leads to what is not the account's. Where it leads is the tasks'
/// choice: that is not to be typed.
pub(crate) fn next_step(way: &Path) -> String {
    format!(
        "ls -ld {} shows a link, if it is one: remove it if you did not make it. covalentctl doctor \
         tells what else is not the account {NAME}'s. To keep Covalent's data in another place, \
         give a folder to the account and name it in /etc/covalent/covalent.env",
        quoted(way)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use crate::system::reach::tests::{TASKS, folder, give, machine};

    #[test]
    #[ignore = "gives folders away, which is root's to do: scripts/test"]
    fn no_folder_is_read_that_a_task_has_led_to() {
        let tree = machine();
        let path = |name: &str| tree.path().join(name);
        let open = |path: &Path, way: &Path| open_folder(path, way, Some(&TASKS));
        let secret = folder(tree.path(), "secret");
        symlink(&secret, path("home/data")).unwrap();
        let error = open(&secret, &path("home/data")).unwrap_err();
        assert!(error.to_string().contains("a task may have led"), "{error}");
        open(&path("home/data"), &path("home/data")).unwrap_err();

        // An administrator's disk, and a link to it.
        open(&secret, &secret).unwrap();
        give(&secret).unwrap();
        open(&secret, &path("home/data")).unwrap();
    }
}
