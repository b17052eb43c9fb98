//! `covalentctl https`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::change::require_root;
use crate::https::certificate::{self, day};
use crate::https::settings::Settings;
use crate::https::{proxy, require_installed, users};
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::print;
use crate::system::progress::Progress;

/// Show how other machines reach the server by HTTPS
///
/// For the package covalent-https. Shows the address, the names that the certificate is for, its
/// fingerprint and its end, and who may log in. /etc/covalent/https.env has the settings.
#[derive(Args, Debug)]
pub struct Https {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the certificate of this machine's own authority, for clients to import
    ///
    /// The authority can sign for this machine's names and addresses only: whoever imports its
    /// certificate trusts this machine with no other site.
    Ca,
    /// Put a certificate of your own in force
    ///
    /// The files are checked first; if one of them cannot be used, the certificate stays as it was.
    /// Copies are kept, so type this again whenever the certificate is renewed. As certbot's
    /// --deploy-hook:
    ///
    /// covalentctl https certificate $RENEWED_LINEAGE/fullchain.pem $RENEWED_LINEAGE/privkey.pem
    Certificate {
        /// The server's certificate and those above it, in PEM
        chain: PathBuf,
        /// Its key, in PEM without a password
        key: PathBuf,
    },
    /// Renew the certificate of this machine's own authority if it is time
    ///
    /// A timer does it every day, and each start of the proxy.
    Renew {
        /// For the unit: also check the settings and make what is missing, and reload nothing
        #[arg(long)]
        at_start: bool,
    },
}

impl Https {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_installed(host)?;
        if let Some(Verb::Ca) = self.verb {
            return ca(host);
        }
        require_root(host)?;
        let progress = Progress::interactive();
        match self.verb {
            Some(Verb::Certificate { chain, key }) => {
                certificate::install(host, &chain, &key, &progress)
            }
            Some(Verb::Renew { at_start }) => renew(host, at_start, &progress),
            _ => show(host),
        }
    }
}

fn renew(host: &Host, at_start: bool, progress: &Progress) -> Result<()> {
    let settings = Settings::read(host)?;
    users::prepare(host)?;
    let has_new = certificate::renew(host, &settings, progress)?;
    if at_start {
        settings.write_for_unit(host)
    } else if has_new {
        proxy::reload(host)
    } else {
        Ok(())
    }
}

fn ca(host: &Host) -> Result<()> {
    let Some(authority) = certificate::authority_certificate(host)? else {
        return Err(nothing_yet());
    };
    print::answer(authority.pem())
}

fn show(host: &Host) -> Result<()> {
    let settings = Settings::read(host)?;
    let Some(found) = certificate::in_force(host)? else {
        return Err(nothing_yet());
    };
    let certificate = &found.certificate;
    let name = certificate::shown_name(host, &settings)?;
    let users = users::names(host)?;
    let users = if users.is_empty() {
        "none yet; to add one: sudo covalentctl user add NAME".into()
    } else {
        users.join(", ")
    };
    let end = day(certificate.end);
    let by = match &found.authority {
        Some(_) => format!("by this machine's own authority, valid until {end}; renewed by itself"),
        None => format!("your own, valid until {end}"),
    };
    print::answer(format_args!(
        "Address:      {}\nCertificate:  {by}\nNames:        {}\nSHA-256:      {}\n",
        settings.address(&name),
        certificate::list(&certificate.names),
        colons(&certificate.fingerprint()),
    ))?;
    if let Some(authority) = &found.authority {
        print::answer(format_args!(
            "Authority:    to be imported by clients: covalentctl https ca\nSHA-256:      {}\n",
            colons(&authority.fingerprint())
        ))?;
    }
    print::answer(format_args!("Users:        {users}\n"))
}

/// A fingerprint as browsers and openssl(1) show it.
fn colons(digits: &str) -> String {
    let bytes: Vec<&str> = (0..digits.len())
        .step_by(2)
        .filter_map(|start| digits.get(start..start + 2))
        .collect();
    bytes.join(":").to_uppercase()
}

fn nothing_yet() -> anyhow::Error {
    Failure::error(
        Kind::Settings,
        "there is no certificate yet",
        "sudo covalentctl https renew",
    )
}
