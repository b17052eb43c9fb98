//! The repository as real clients see it: this host's apt-get and dnf, each with settings and folders
//! of its own, against a web server on loopback.

mod apt;
mod dnf;
mod fixture;
mod install;
mod keys;
mod mirror;
mod page;
mod publishing;
mod server;
mod tamper;
mod tiny;
