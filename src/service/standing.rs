//! Where a worker stands with its server, as its launcher's `STATUS=` says: the account's word.

use crate::system::host::Host;
use crate::system::systemd;
use crate::system::terminal::one_line;

/// What stands between the number of tasks and the server.
const JOINED: &str = " tasks at a time for ";
const JOINED_WITH_ONE: &str = " task at a time for ";

const WAITING: &str = "waiting for ";
const DRAINING: &str = "draining: ";

/// Where a worker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It computes; `8 tasks at a time for server.example.org:48009`.
    In(String),
    /// It gets no new tasks.
    Draining {
        /// How many it still runs.
        busy: u64,
    },
    /// It is not in the fleet, for this reason.
    Waiting(String),
    /// It has not said anything, or something that a later version says.
    Unknown,
}

impl Standing {
    /// Where this machine's worker stands.
    pub fn now(host: &Host) -> Standing {
        let status = systemd::show(host, &["StatusText"]).remove("StatusText");
        Standing::told(&status.unwrap_or_default())
    }

    /// The same for whoever has asked already for the unit's `StatusText`.
    pub fn told(status: &str) -> Standing {
        let status = one_line(status);
        if status.contains(JOINED) || status.contains(JOINED_WITH_ONE) {
            return Standing::In(status);
        }
        if let Some(rest) = status.strip_prefix(DRAINING) {
            let busy = rest.split(' ').next().and_then(|busy| busy.parse().ok());
            return busy.map_or(Standing::Unknown, |busy| Standing::Draining { busy });
        }
        if status.starts_with(WAITING) {
            return Standing::Waiting(status);
        }
        Standing::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standing_is_told_from_the_others() {
        let joined = "8 tasks at a time for server.example.org:48009";
        assert_eq!(Standing::told(joined), Standing::In(joined.into()));
        let one = "1 task at a time for server:48009";
        assert_eq!(Standing::told(one), Standing::In(one.into()));
        let waiting = "waiting for server:48009: Connection refused";
        assert_eq!(Standing::told(waiting), Standing::Waiting(waiting.into()));
        let draining = |text: &str| Standing::told(text);
        assert_eq!(
            draining("draining: 3 of 8 busy"),
            Standing::Draining { busy: 3 }
        );
        assert_eq!(draining("draining: some"), Standing::Unknown);
        assert_eq!(Standing::told(""), Standing::Unknown);
    }
}
