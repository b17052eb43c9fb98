//! Everything that can be wrong with the server or the worker on this machine, looked at one by one.

mod database;
mod environment;
mod files;
mod fleet;
mod https;
mod login;
mod machine;
mod network;
mod settings;
mod sources;
mod start;
mod unit;
mod verdict;

use std::thread;

pub use self::verdict::Verdict;

use self::verdict::{may_read_all, only_root};
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::thread::join;

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

/// The machines on which there is something to look at.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    Everywhere,
    OnThe(Role),
}

/// Everything, in the order in which one thing needs the other.
const CHECKS: [(&str, Where, Who, Look); 32] = [
    ("clock", EVERYWHERE, Who::Anyone, machine::clock),
    ("disk", EVERYWHERE, Who::Anyone, machine::disk),
    ("mounts", EVERYWHERE, Who::Anyone, machine::mounts),
    ("localhost", SERVER, Who::Anyone, machine::localhost),
    ("settings", EVERYWHERE, Who::Root, settings::settings),
    (
        "covalent.env",
        SERVER,
        Who::Root,
        settings::environment_file,
    ),
    ("worker.env", WORKER, Who::Root, settings::environment_file),
    ("wheels", EVERYWHERE, Who::Root, sources::wheels),
    ("index", EVERYWHERE, Who::Root, sources::index),
    (
        "interpreter",
        EVERYWHERE,
        Who::Root,
        environment::interpreter,
    ),
    (
        "environment",
        EVERYWHERE,
        Who::Anyone,
        environment::environment,
    ),
    ("packages", EVERYWHERE, Who::Anyone, environment::packages),
    ("permissions", EVERYWHERE, Who::Anyone, files::permissions),
    ("account", EVERYWHERE, Who::Anyone, files::account),
    ("login", EVERYWHERE, Who::Anyone, login::login),
    ("data", SERVER, Who::Root, files::data),
    ("database", SERVER, Who::Root, database::database),
    ("service", EVERYWHERE, Who::Anyone, unit::service),
    ("start", EVERYWHERE, Who::Anyone, start::start),
    ("unit", EVERYWHERE, Who::Anyone, unit::overridden),
    ("sandbox", EVERYWHERE, Who::Anyone, unit::sandbox),
    ("port", SERVER, Who::Anyone, network::port),
    ("open to", SERVER, Who::Anyone, network::open_to),
    ("users", SERVER, Who::Anyone, network::users),
    ("sockets", EVERYWHERE, Who::Anyone, network::sockets),
    ("https.env", SERVER, Who::Root, https::environment_file),
    ("https", SERVER, Who::Anyone, https::proxy),
    ("certificate", SERVER, Who::Root, https::certificate),
    ("certificates", SERVER, Who::Root, fleet::certificates),
    ("workers", SERVER, Who::Root, fleet::workers),
    ("joined", WORKER, Who::Root, fleet::joined),
    ("fleet", WORKER, Who::Anyone, fleet::standing),
];

const EVERYWHERE: Where = Where::Everywhere;
const SERVER: Where = Where::OnThe(Role::Server);
const WORKER: Where = Where::OnThe(Role::Worker);

/// Looks at everything, at once: most of a look is waiting for systemd, or for a child.
pub fn examine(host: &Host) -> Vec<Check> {
    let here = Where::OnThe(Role::of(host));
    let may_read_all = may_read_all(host);
    thread::scope(|scope| {
        let looks: Vec<_> = CHECKS
            .into_iter()
            .filter(|(_, place, _, _)| [EVERYWHERE, here].contains(place))
            .map(|(name, _, who, look)| {
                let is_allowed = who == Who::Anyone || may_read_all;
                let look = move || if is_allowed { look(host) } else { only_root() };
                (name, scope.spawn(look))
            })
            .collect();
        looks
            .into_iter()
            .map(|(name, look)| Check {
                name,
                verdict: join(look),
            })
            .collect()
    })
}
