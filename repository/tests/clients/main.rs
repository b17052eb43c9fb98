//! The repository as real clients see it: this host's apt-get and dnf, each with settings and folders
//! of its own, against a web server on loopback.

mod adversary;
mod apt;
mod cut_off;
mod dnf;
mod fixture;
mod install;
mod keys;
mod manipulation;
mod mirror;
mod page;
mod publishing;
mod replay;
mod server;
mod tamper;
mod tiny;
