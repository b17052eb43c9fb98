//! The life of the environment in a temporary tree, as an ordinary user.
//!
//! uv and Python are scripts here: what is tested is what covalentctl makes of them. The real
//! ones are in the tests that boot machines.

mod backups;
mod doctor;
mod drain;
mod environment;
mod generations;
mod https;
mod own_packages;
mod printing;
mod settings;
mod status;
mod tree;
