//! Taking over what a Covalent that was set up by hand has left: its data in place or from a home, and
//! its unit.

mod elsewhere;
mod in_place;
mod installation;
mod unit;

pub use elsewhere::{Brought, bring};
pub use in_place::{Plan, adopt};
pub use installation::at_installation;
