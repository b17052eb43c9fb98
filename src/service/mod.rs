//! The unit and its server, and who talks to them.

pub(crate) mod address;
pub(crate) mod api;
pub(crate) mod drain;
pub(crate) mod environment_file;
pub(crate) mod lifecycle;
pub(crate) mod serve;
pub(crate) mod standing;
pub(crate) mod starts;
