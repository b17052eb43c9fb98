//! Disposable machines for tests.
//!
//! A [`Machine`] is a real Debian (or a root of your own) booted by
//! `systemd-nspawn` on a throw-away overlay, in a network of its own with one
//! silent neighbour and no way out. Dropping it leaves nothing behind; so does a
//! panic, Ctrl-C, or `kill -9` of the test.
//!
//! ```no_run
//! use machine::Machine;
//!
//! #[test]
//! #[ignore = "boots machines: scripts/test"]
//! fn installs() -> anyhow::Result<()> {
//! //!     let machine = Machine::builder("bookworm").bind_read_only("dist", "/dist").boot()?;
//!     machine.ok("apt-get install --yes /dist/covalent_*.deb /dist/covalent-common_*.deb")?;
//!     assert_eq!(machine.ok("systemctl is-active covalent")?.trim(), "active");
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod availability;
pub mod browser;
mod builder;
pub mod by_hand;
mod command;
mod directory;
mod layer;
mod leader;
mod machine;
pub mod packages;
mod power;
mod root;
mod script;
mod slot;
mod supervisor;
mod wait;

pub use builder::{ADDRESS, Builder, NEIGHBOUR};
pub use command::{Output, run};
pub use machine::Machine;
pub use script::Script;
pub use wait::wait_until;
