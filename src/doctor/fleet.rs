//! The fleet, from the server's side and from a worker's.

use jiff::Timestamp;

use super::verdict::{Verdict, bad, doubtful, first, from_error, good, skipped};
use crate::certificates::Certificate;
use crate::fleet::report::{Report, State};
use crate::fleet::{RENEWAL, membership, roster};
use crate::service::standing::Standing;
use crate::system::host::Host;
use crate::system::systemd;

/// What makes a machine a worker, once more.
const JOIN_AGAIN: &str =
    "on the server: sudo covalentctl worker add NAME; here: sudo covalentctl join";

/// Words of the launcher's (`server/worker.py`) and what helps; the last one is for all others.
const CURES: [(&str, &str); 7] = [
    (
        "firewall",
        "let the server in at ports 48010-48109 (TCP), or those of COVALENT_WORKER_PORTS: sudo ufw \
         allow proto tcp from SERVER to any port 48010:48109, or sudo firewall-cmd --permanent \
         --add-port=48010-48109/tcp; sudo firewall-cmd --reload",
    ),
    (
        "clock",
        "sudo timedatectl set-ntp true, here and on the server; date shows whether they agree",
    ),
    (
        "another machine has joined",
        "each machine needs an identity of its own: on the server, sudo covalentctl worker add NAME \
         with a name that is not taken; here: sudo covalentctl join",
    ),
    ("certificate", JOIN_AGAIN),
    ("off its list", JOIN_AGAIN),
    (
        "environment",
        "the server and its workers need the same version of covalent-common and the same minor \
         version of Python: upgrade the server first, then this machine (apt or dnf); `interpreter` \
         in covalentctl.toml chooses another Python",
    ),
    (
        "",
        "on the server: covalentctl status, and let this machine in at TCP port 48009; another name \
         or address of it: COVALENT_SERVER in /etc/covalent/worker.env",
    ),
];

/// Whether what the server and its workers show one another will be accepted.
pub(super) fn certificates(host: &Host) -> Verdict {
    match look(host) {
        Ok(verdict) => verdict,
        Err(error) => from_error(&error),
    }
}

fn look(host: &Host) -> anyhow::Result<Verdict> {
    let Some(authority) = roster::authority(host)? else {
        return Ok(good("there are no workers on other machines"));
    };
    let authority = authority.certificate();
    let now = Timestamp::now();
    if let Some(verdict) = judge(authority, authority, now) {
        return Ok(verdict.unless(
            "begin anew, so that every worker has to join again: sudo rm -r /etc/covalent/fleet",
        ));
    }
    let server = roster::server(host)?;
    let server = server.and_then(|server| judge(&server, authority, now));
    if let Some(verdict) = server {
        return Ok(verdict.unless("sudo systemctl restart covalent, which makes a new one"));
    }
    let members = roster::members(host)?;
    for member in &members {
        if let Some(verdict) = judge(&member.certificate, authority, now) {
            let name = &member.name;
            return Ok(verdict.unless(&format!(
                "sudo covalentctl worker add {name}, and sudo covalentctl join there; or sudo \
                 covalentctl worker remove {name}"
            )));
        }
    }
    Ok(good(match members.len() {
        1 => "1 worker is let in".to_string(),
        count => format!("{count} workers are let in"),
    }))
}

/// A certificate that is not good, or not for long.
enum Trouble {
    Now(String),
    Soon(String),
}

impl Trouble {
    fn unless(self, cure: &str) -> Verdict {
        match self {
            Trouble::Now(cause) => bad(cause, cure),
            Trouble::Soon(cause) => doubtful(cause, cure),
        }
    }
}

fn judge(certificate: &Certificate, authority: &Certificate, now: Timestamp) -> Option<Trouble> {
    if let Err(why) = certificate.check(authority, now) {
        return Some(Trouble::Now(why.to_string()));
    }
    let is_near = certificate.check(authority, now + RENEWAL).is_err();
    is_near.then(|| {
        let end = certificate.end.min(authority.end);
        Trouble::Soon(format!(
            "the certificate of {:?} ends at {end:.0}",
            certificate.common_name
        ))
    })
}

/// How the workers are, as the server says.
pub(super) fn workers(host: &Host) -> Verdict {
    let members = match roster::members(host) {
        Ok(members) => members,
        Err(error) => return from_error(&error),
    };
    if members.is_empty() {
        return skipped("there are no workers on other machines");
    }
    let Some(report) = Report::read(host) else {
        return skipped("the server does not run, or has not written yet how they are");
    };
    let now = Timestamp::now();
    let is_well = |state| [State::Running, State::Draining].contains(&state);
    let mut lines: Vec<String> = report.shortages().collect();
    lines.extend(members.iter().filter_map(|member| {
        let name = &member.name;
        match report.workers.get(name.as_str()) {
            Some(worker) if is_well(worker.state) => None,
            Some(worker) => Some(format!("{name} {}", worker.sentence(now))),
            None => Some(format!("{name} has not been seen since the server started")),
        }
    }));
    if lines.is_empty() {
        return good(format!("{} are in the fleet", members.len()));
    }
    doubtful(
        first(&lines),
        "sudo covalentctl doctor on that machine says what helps; sudo covalentctl worker remove NAME \
         for one that will not come back",
    )
}

/// Whether this machine has what its server will accept.
pub(super) fn joined(host: &Host) -> Verdict {
    let place = match membership::read(host) {
        Ok(Some(place)) => place,
        Ok(None) => {
            return doubtful(
                "this machine is joined to no server",
                "sudo covalentctl join",
            );
        }
        Err(error) => return from_error(&error),
    };
    if !place.has_key {
        return bad(
            "the key of this machine's certificate is missing",
            JOIN_AGAIN,
        );
    }
    match judge(&place.certificate, &place.authority, Timestamp::now()) {
        Some(trouble @ Trouble::Now(_)) => trouble.unless(&format!(
            "if this machine's clock is right ({:.0}), {JOIN_AGAIN}",
            Timestamp::now()
        )),
        Some(trouble) => trouble.unless(JOIN_AGAIN),
        None => good(format!("{} of {}", place.name, place.server)),
    }
}

/// Where this machine stands with its server.
pub(super) fn standing(host: &Host) -> Verdict {
    if !systemd::is_running(host) {
        return skipped("systemd is not running");
    }
    if !systemd::is_active(host).unwrap_or(false) {
        return skipped("the worker does not run");
    }
    match Standing::now(host) {
        Standing::In(words) => good(words),
        Standing::Draining { .. } => doubtful(
            "it is draining: it gets no new tasks",
            "sudo covalentctl drain --resume, unless that is meant",
        ),
        Standing::Unknown => doubtful("it has not said yet how it is", "covalentctl logs -n 50"),
        Standing::Waiting(words) => {
            let cure = cure(&words);
            bad(words, cure)
        }
    }
}

fn cure(words: &str) -> &'static str {
    let found = CURES.iter().find(|(part, _)| words.contains(part));
    found.map_or(JOIN_AGAIN, |(_, cure)| cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Authority, Leaf};

    #[test]
    fn a_certificate_near_its_end_is_told_sixty_days_before() {
        let authority = Authority::create("Test", 365, None).unwrap();
        let judged = |days, authority: &Authority| {
            let leaf = Leaf {
                common_name: "gpu1",
                names: &[],
                purposes: &[],
                days,
            };
            let made = authority.issue(&leaf).unwrap().certificate;
            judge(&made, authority.certificate(), Timestamp::now())
        };
        assert!(judged(62, &authority).is_none());
        let Some(Trouble::Soon(said)) = judged(59, &authority) else {
            panic!("it ends in less than 60 days");
        };
        assert!(said.contains("\"gpu1\" ends at"), "{said}");
        // The authority's end is everybody's.
        let short = Authority::create("Test", 59, None).unwrap();
        assert!(matches!(judged(365, &short), Some(Trouble::Soon(_))));
        let other = Authority::create("Other", 365, None).unwrap();
        let theirs = other.certificate();
        let strange = judge(theirs, authority.certificate(), Timestamp::now());
        assert!(matches!(strange, Some(Trouble::Now(_))));
    }

    #[test]
    fn each_reason_has_its_cure() {
        for (words, part) in [
            (
                "waiting for server:48009: the server cannot connect to 192.0.2.2: let ports \
                 48010-48109 through the firewall",
                "ufw allow",
            ),
            (
                "waiting for server:48009: the server does not know this machine's certificate",
                "covalentctl join",
            ),
            (
                "waiting for server:48009: the server's certificate is not valid yet by this machine's \
                 clock: compare the clocks",
                "timedatectl",
            ),
            (
                "waiting for server:48009: another machine has joined as w2",
                "a name that is not taken",
            ),
            (
                "waiting for server:48009: the server has taken this machine off its list",
                "worker add NAME",
            ),
            (
                "waiting for server:48009: this machine's environment is not the server's: Python 3.13",
                "upgrade the server first",
            ),
            ("waiting for server:48009: Connection refused", "48009"),
        ] {
            assert!(cure(words).contains(part), "{words}");
        }
    }
}
