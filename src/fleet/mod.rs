//! The fleet: a server and the machines that compute for it.
//!
//! The server has an authority of its own and a list of names ([`roster`]). A machine becomes one
//! of them by a [`token`](Token), which is its identity ([`membership`]). What the account needs of
//! it is published where the account can read it and not change it ([`publication`]).

mod authority;
pub(crate) mod drain;
pub(crate) mod membership;
mod name;
mod place;
pub(crate) mod publication;
pub(crate) mod report;
pub(crate) mod roster;
mod token;

pub(crate) use self::name::WorkerName;
pub(crate) use self::place::{Place, listening_port};
pub(crate) use self::token::Token;

use jiff::SignedDuration;

/// How long before its end a certificate is to be renewed.
pub(crate) const RENEWAL: SignedDuration = SignedDuration::from_hours(60 * 24);
