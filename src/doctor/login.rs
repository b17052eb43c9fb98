//! Whose account the tasks are run as.

use super::verdict::{Verdict, bad, doubtful, from_error, good};
use crate::system::host::Host;
use crate::system::login::objection;

/// Whether the account is the service's alone.
pub(super) fn login(host: &Host) -> Verdict {
    match objection(host) {
        Ok(None) => good("nobody can log in as the account, and it cannot become root"),
        Ok(Some(found)) if found.serious => bad(found.cause, found.cure),
        Ok(Some(found)) => doubtful(found.cause, found.cure),
        Err(error) => from_error(&error),
    }
}
