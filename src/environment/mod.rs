//! What the environment should be, and how it becomes that.

pub(crate) mod apply;
pub(crate) mod carried;
pub(crate) mod diagnosis;
pub(crate) mod generation;
pub(crate) mod interpreter;
pub(crate) mod own_requirements;
pub(crate) mod requirement;
pub(crate) mod requirement_file;
pub(crate) mod server_lock;
pub(crate) mod source;
pub(crate) mod state;
pub(crate) mod uv;
pub(crate) mod wanted;
