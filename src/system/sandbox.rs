//! What the unit's sandbox hides from the server, as systemd has read the unit and its drop-ins.

use std::fmt;
use std::path::Path;

use crate::system::host::Host;
use crate::system::reach::quoted;
use crate::system::role::Role;
use crate::system::systemd;

/// The folders that a directive hides (systemd.exec(5)).
const HIDING: [(&str, &[&str]); 2] = [
    ("ProtectHome", &["/home", "/root", "/run/user"]),
    ("PrivateTmp", &["/tmp", "/var/tmp"]),
];

/// The directives that show a folder all the same.
const SHOWING: [&str; 2] = ["BindPaths", "BindReadOnlyPaths"];

/// Why the server does not see a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Hidden {
    role: Role,
    /// The directive with its value, such as `ProtectHome=yes`.
    directive: String,
    folder: &'static str,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hidden {
            role,
            directive,
            folder,
        } = self;
        let noun = role.noun();
        write!(f, "the unit hides {folder} from the {noun} ({directive})")
    }
}

impl Hidden {
    /// Whether it is somebody's home, and not a folder for temporary files.
    pub fn is_a_home(&self) -> bool {
        self.directive.starts_with("ProtectHome=")
    }

    /// What to type for the unit's processes to see `path`, a folder in a home.
    pub fn cure(&self, path: &Path) -> String {
        let service = self.role.service();
        format!(
            "sudo systemctl edit {service}, with the lines [Service], ProtectHome=tmpfs and \
             BindPaths={}; then: sudo systemctl restart {service}",
            systemd::word(path).unwrap_or_else(|| quoted(path))
        )
    }
}

/// Whether the server, whose files are below no home by default, does not see a real path.
/// systemd is asked only if the path is where one of the directives hides something.
pub fn hides(host: &Host, path: &Path) -> Option<Hidden> {
    let (directive, folder) = HIDING.iter().find_map(|(directive, folders)| {
        let folder = folders.iter().find(|folder| path.starts_with(folder))?;
        Some((*directive, *folder))
    })?;
    let shown = systemd::show(host, &[directive, SHOWING[0], SHOWING[1]]);
    let value = shown.get(directive)?;
    let mut bound = SHOWING.iter().filter_map(|name| shown.get(*name));
    let is_shown = bound.any(|bound| is_bound(bound, path));
    let is_hidden = !["no", "read-only"].contains(&value.as_str()) && !is_shown;
    is_hidden.then(|| Hidden {
        role: Role::of(host),
        directive: format!("{directive}={value}"),
        folder,
    })
}

/// Whether `BindPaths=` or `BindReadOnlyPaths=` shows a path, or a folder that it is in. systemctl(1) prints them
/// as `source:destination:options`, with the spaces that a name may have.
pub fn is_bound(bound: &str, path: &Path) -> bool {
    path.ancestors().any(|folder| {
        let destination = format!(":{}", folder.display());
        let mut rests = bound.split(&destination).skip(1);
        rests.any(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_folder_is_where_it_is_shown() {
        let is_bound = |path| is_bound("/a:/a:rbind -/b:/c d:rbind /d:/e", Path::new(path));
        for shown in ["/a", "/a/x", "/c d", "/c d/x", "/e", "/e/x"] {
            assert!(is_bound(shown), "{shown}");
        }
        for hidden in ["/", "/ab", "/b", "/c dd", "/d", "/ex"] {
            assert!(!is_bound(hidden), "{hidden}");
        }
    }
}
