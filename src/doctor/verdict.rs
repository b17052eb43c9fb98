//! What a check finds.

use std::path::Path;

use crate::system::failure;
use crate::system::host::Host;

/// How something is.
#[derive(Debug)]
pub enum Verdict {
    /// As it should be.
    Good(String),
    /// It may be meant; the server runs.
    Doubtful {
        /// What is odd.
        cause: String,
        /// What to type if it is not meant.
        cure: String,
    },
    /// The server can't run, or not for long, or somebody could make it do what they want.
    Bad {
        /// What is wrong.
        cause: String,
        /// What to type.
        cure: String,
    },
    /// It could not be looked at, for this reason.
    Skipped(String),
}

/// Whether the caller may read every file; in a tree that is not a machine, whoever made it.
pub(super) fn may_read_all(host: &Host) -> bool {
    !host.is_real() || rustix::process::geteuid().is_root()
}

pub(super) fn only_root() -> Verdict {
    Verdict::Skipped("only root can look: sudo covalentctl doctor".into())
}

pub(super) fn good(text: impl Into<String>) -> Verdict {
    Verdict::Good(text.into())
}

pub(super) fn bad(cause: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict::Bad {
        cause: cause.into(),
        cure: cure.into(),
    }
}

pub(super) fn doubtful(cause: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict::Doubtful {
        cause: cause.into(),
        cure: cure.into(),
    }
}

pub(super) fn skipped(why: impl Into<String>) -> Verdict {
    Verdict::Skipped(why.into())
}

pub(super) fn from_error(error: &anyhow::Error) -> Verdict {
    let next = failure::find(error).map_or("covalentctl apply", |failure| failure.next.as_str());
    bad(failure::describe(error), next)
}

/// A path in one line, whatever somebody has put into a name.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// How many lines of one sort are shown.
const SHOWN: usize = 3;

/// The first of them, a line each, and how many more there are.
pub(super) fn first(lines: &[String]) -> String {
    let mut shown = lines[..lines.len().min(SHOWN)].join("\n      ");
    if let Some(more @ 1..) = lines.len().checked_sub(SHOWN) {
        shown += &format!("\n      and {more} more");
    }
    shown
}
