//! Root's one door to what the account of the service can reach.
//!
//! Tasks run as that account, and tasks are hostile. So this module is the only way in which a
//! process of root's
//!
//! - starts a child as the account: [`Child`], in the sandbox of the unit as it is in force, in a
//!   session of its own, without a terminal and with no descriptor but three pipes;
//! - reads what lies in a folder that the account can change: [`read`] and [`open_folder`], by a
//!   descriptor of the folder and without following links;
//! - takes a text that the account wrote: it is limited in size, and a [`Revision`] is one or is
//!   refused. What else it says is shown through [`printable`](crate::system::terminal::printable) alone.
//!
//! Whatever changes such a folder is done by a child. A test (`tests/server/test_door.py`) finds every other
//! use; `docs/sandbox.md` says it to administrators.

mod child;
mod claim;
mod folder;
pub(crate) mod ownership;
mod sandbox;
mod start;

pub(crate) use child::{Child, exit_code};
pub use claim::Revision;
pub(crate) use claim::{open, read};
pub(crate) use folder::{is_led_astray, next_step, open_folder};
pub(crate) use start::HOME_PREFIX;
