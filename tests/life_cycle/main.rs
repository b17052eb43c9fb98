//! The life of the environment in a temporary tree, as an ordinary user.
//!
//! uv and Python are the real ones; Covalent and all else are small wheels (`tests/packages/wheel.py`).

mod backups;
mod doctor;
mod drain;
mod environment;
mod fleet;
mod generations;
mod https;
mod own_packages;
mod printing;
mod settings;
mod status;
mod tree;
