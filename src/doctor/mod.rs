//! Everything that can be wrong with the server on this machine, looked at one by one.

mod database;
mod environment;
mod files;
mod machine;
mod network;
mod settings;
mod sources;
mod unit;

use std::path::Path;

use crate::failure;
use crate::host::Host;

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

/// One thing that was looked at.
#[derive(Debug)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
}

/// Looks at one thing.
type Look = fn(&Host) -> Verdict;

/// Who can look at something.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Anyone,
    /// What it reads is closed to others: settings with passwords, the account's data.
    Root,
}

/// Everything, in the order in which one thing needs the other.
const CHECKS: [(&str, Who, Look); 20] = [
    ("clock", Who::Anyone, machine::clock),
    ("disk", Who::Anyone, machine::disk),
    ("localhost", Who::Anyone, machine::localhost),
    ("settings", Who::Root, settings::settings),
    ("covalent.env", Who::Root, settings::environment_file),
    ("wheels", Who::Root, sources::wheels),
    ("index", Who::Root, sources::index),
    ("interpreter", Who::Root, environment::interpreter),
    ("environment", Who::Anyone, environment::environment),
    ("packages", Who::Anyone, environment::packages),
    ("permissions", Who::Anyone, files::permissions),
    ("account", Who::Anyone, files::account),
    ("data", Who::Root, files::data),
    ("database", Who::Root, database::database),
    ("service", Who::Anyone, unit::service),
    ("unit", Who::Anyone, unit::overridden),
    ("sandbox", Who::Anyone, unit::sandbox),
    ("port", Who::Anyone, network::port),
    ("open to", Who::Anyone, network::open_to),
    ("sockets", Who::Anyone, network::sockets),
];

/// Looks at everything.
pub fn examine(host: &Host) -> Vec<Check> {
    CHECKS
        .into_iter()
        .map(|(name, who, look)| Check {
            name,
            verdict: match who == Who::Anyone || may_read_all(host) {
                true => look(host),
                false => only_root(),
            },
        })
        .collect()
}

/// Whether the caller may read every file; in a tree that is not a machine, whoever made it.
fn may_read_all(host: &Host) -> bool {
    !host.is_real() || rustix::process::geteuid().is_root()
}

fn only_root() -> Verdict {
    Verdict::Skipped("only root can look: sudo covalentctl doctor".into())
}

fn good(text: impl Into<String>) -> Verdict {
    Verdict::Good(text.into())
}

fn bad(cause: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict::Bad {
        cause: cause.into(),
        cure: cure.into(),
    }
}

fn doubtful(cause: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict::Doubtful {
        cause: cause.into(),
        cure: cure.into(),
    }
}

fn skipped(why: impl Into<String>) -> Verdict {
    Verdict::Skipped(why.into())
}

fn from_error(error: &anyhow::Error) -> Verdict {
    let next = failure::find(error).map_or("covalentctl apply", |failure| failure.next.as_str());
    bad(failure::describe(error), next)
}

/// A path in one line, whatever somebody has put into a name.
fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// How many lines of one sort are shown.
const SHOWN: usize = 3;

/// The first of them, a line each, and how many more there are.
fn first(lines: &[String]) -> String {
    let mut shown = lines[..lines.len().min(SHOWN)].join("\n      ");
    if let Some(more @ 1..) = lines.len().checked_sub(SHOWN) {
        shown += &format!("\n      and {more} more");
    }
    shown
}
