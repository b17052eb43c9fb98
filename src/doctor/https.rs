//! The way in from other machines, of the package covalent-https.

use jiff::Timestamp;

use super::settings::judged;
use super::verdict::{Verdict, bad, doubtful, from_error, good, may_read_all, skipped};
use crate::https::certificate::{self, RENEWED_BEFORE, day, list};
use crate::https::settings::Settings;
use crate::https::{is_installed, proxy, users};
use crate::service::environment_file::{EnvironmentFile, HTTPS};
use crate::system::host::Host;
use crate::system::systemd;

const NOT_INSTALLED: &str = "covalent-https is not installed";

/// Whether each line of `https.env` does what its author meant.
pub(super) fn environment_file(host: &Host) -> Verdict {
    if is_installed(host) {
        judged(EnvironmentFile::read_form(host, &HTTPS))
    } else {
        skipped(NOT_INSTALLED)
    }
}

/// Whether the proxy runs, and somebody can log in.
pub(super) fn proxy(host: &Host) -> Verdict {
    if !is_installed(host) {
        return skipped(NOT_INSTALLED);
    }
    if systemd::is_running(host) {
        let state = systemd::state_of(proxy::UNIT).unwrap_or_default();
        if state != "active" {
            return bad(
                format!("{} is {state}, so no other machine gets in", proxy::UNIT),
                format!(
                    "journalctl --unit {0} -n 20 says why; then: sudo systemctl restart {0}",
                    proxy::UNIT
                ),
            );
        }
    }
    if !may_read_all(host) {
        return good("it runs");
    }
    match users::names(host) {
        Ok(names) if names.is_empty() => doubtful(
            "there are no users yet, so nobody can log in",
            "sudo covalentctl user add NAME",
        ),
        Ok(names) => good(format!("it runs; {} can log in", names.join(", "))),
        Err(error) => from_error(&error),
    }
}

/// Whether clients will accept the certificate, now and for a while.
pub(super) fn certificate(host: &Host) -> Verdict {
    if !is_installed(host) {
        return skipped(NOT_INSTALLED);
    }
    let (found, settings) = match (certificate::in_force(host), Settings::read(host)) {
        (Ok(Some(found)), Ok(settings)) => (found, settings),
        (Ok(None), _) => return bad("there is none yet", "sudo covalentctl https renew"),
        (Err(error), _) | (_, Err(error)) => return from_error(&error),
    };
    let certificate = &found.certificate;
    let (now, end) = (Timestamp::now(), day(certificate.end));
    let cure = match found.authority {
        Some(_) => {
            "sudo covalentctl https renew; systemctl status covalent-https-renew.timer shows \
                    whether it runs every day"
        }
        None => "sudo covalentctl https certificate CHAIN KEY, with the renewed files",
    };
    if now < certificate.begin {
        return bad(
            format!("it is valid only from {} on", day(certificate.begin)),
            cure,
        );
    }
    if certificate.end < now {
        return bad(format!("it has expired on {end}"), cure);
    }
    // Half of the time for the timer; the administrator's own renewal has its own time.
    let is_late = match found.authority {
        Some(_) => certificate.end < now + RENEWED_BEFORE / 2,
        None => certificate.end < now + RENEWED_BEFORE / 6,
    };
    if is_late {
        return doubtful(format!("it expires on {end} and is not renewed yet"), cure);
    }
    let wanted = certificate::wanted_names(&settings);
    if !wanted.iter().any(|name| certificate.is_for(name)) {
        return doubtful(
            format!(
                "it is for {}, and this machine is known as {}",
                list(&certificate.names),
                list(&wanted)
            ),
            "sudo covalentctl https renew, or name them with COVALENT_HTTPS_NAMES in \
             /etc/covalent/https.env",
        );
    }
    good(format!("for {}, until {end}", list(&certificate.names)))
}
