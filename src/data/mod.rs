//! What the server keeps.

pub(crate) mod backup;
pub(crate) mod database;
pub(crate) mod places;
