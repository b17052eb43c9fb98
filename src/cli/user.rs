//! `covalentctl user`.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::change::require_root;
use crate::https::settings::Settings;
use crate::https::{Password, certificate, require_installed, users};
use crate::system::host::Host;
use crate::system::print;
use crate::system::progress::Progress;

/// Say who may log in from other machines
///
/// For the package covalent-https, which lets browsers and programs in with a name and a password.
/// Passwords are made by this machine and shown once. What is stored is a salted hash, which only
/// the proxy can read. Everyone who may log in can do everything with this server: run code as the
/// account covalent, and see, cancel and delete the workflows of all.
#[derive(Args, Debug)]
pub struct User {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a user, and print the password and the line for the user's ~/.netrc
    Add {
        /// Lower-case letters, digits, '.', '_' and '-', with a letter first
        name: String,
    },
    /// List the users
    List,
    /// Remove a user: what the user has open is closed within seconds
    Remove {
        /// The user
        name: String,
    },
    /// Give a user a new password, and print it as `add` does; the old one is void
    Password {
        /// The user
        name: String,
    },
}

impl User {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_installed(host)?;
        require_root(host)?;
        let progress = Progress::interactive();
        match self.verb {
            Verb::Add { name } => hand_over(host, &name, || users::add(host, &name, &progress)),
            Verb::Password { name } => hand_over(host, &name, || {
                users::renew_password(host, &name, &progress)
            }),
            Verb::Remove { name } => {
                users::remove(host, &name, &progress)?;
                users::reload(host)?;
                progress.say(&format!("{name} can no longer log in"));
                Ok(())
            }
            Verb::List => list(host),
        }
    }
}

/// Makes a password, and shows it with what the user does with it. It is shown once, so what may fail comes
/// before it is made, or after it is shown.
fn hand_over(host: &Host, name: &str, make: impl FnOnce() -> Result<Password>) -> Result<()> {
    let settings = Settings::read(host)?;
    let server = certificate::shown_name(host, &settings)?;
    let password = make()?;
    let password = password.reveal();
    let shown = print::answer(format_args!(
        "{name} can log in at {} with this password, which is not shown again:\n\n    {password}\n\n\
         For programs, a line in {name}'s ~/.netrc, which only {name} may read:\n\n    \
         machine {server} login {name} password {password}\n",
        settings.address(&server)
    ));
    users::reload(host)?;
    shown
}

fn list(host: &Host) -> Result<()> {
    let names = users::names(host)?;
    if names.is_empty() {
        return print::answer(
            "There are no users yet. To add one: sudo covalentctl user add NAME\n",
        );
    }
    print::answer(names.join("\n") + "\n")
}
