//! Everything that can be wrong with the server on this machine, looked at one by one.

mod database;
mod environment;
mod files;
mod login;
mod machine;
mod network;
mod settings;
mod sources;
mod start;
mod unit;
mod verdict;

pub use self::verdict::Verdict;

use self::verdict::{may_read_all, only_root};
use crate::system::host::Host;

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
const CHECKS: [(&str, Who, Look); 23] = [
    ("clock", Who::Anyone, machine::clock),
    ("disk", Who::Anyone, machine::disk),
    ("mounts", Who::Anyone, machine::mounts),
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
    ("login", Who::Anyone, login::login),
    ("data", Who::Root, files::data),
    ("database", Who::Root, database::database),
    ("service", Who::Anyone, unit::service),
    ("start", Who::Anyone, start::start),
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
            verdict: if who == Who::Anyone || may_read_all(host) {
                look(host)
            } else {
                only_root()
            },
        })
        .collect()
}
