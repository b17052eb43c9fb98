//! Where a server is reached.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;

use crate::service::environment_file::EnvironmentFile;
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;

/// The port where the server listens for the fleet, where `COVALENT_FLEET_LISTEN` says nothing.
const DEFAULT_PORT: u16 = 48009;

/// The variable that says where the server listens.
const LISTEN_VARIABLE: &str = "COVALENT_FLEET_LISTEN";

/// A name service may have to be asked.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// Characters of a host's name at most (RFC 1035).
const LONGEST: usize = 253;

/// A name or an address of a machine, and a TCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: u16,
}

impl FromStr for Place {
    type Err = String;

    /// Reads `HOST`, `HOST:PORT`, `ADDRESS`, `[IPV6]:PORT`.
    fn from_str(text: &str) -> Result<Place, String> {
        if ipv6(text).is_some() {
            return Place::new(text, DEFAULT_PORT);
        }
        match text.rsplit_once(':') {
            None => Place::new(text, DEFAULT_PORT),
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port > 0);
                let port = port.ok_or_else(|| format!("{text:?} does not end in a port"))?;
                let inner = host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'));
                Place::new(inner.unwrap_or(host), port)
            }
        }
    }
}

impl Place {
    fn new(host: &str, port: u16) -> Result<Place, String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_name = (1..=LONGEST).contains(&host.len())
            && host.chars().all(is_word)
            && host.starts_with(|c: char| c.is_ascii_alphanumeric());
        if ipv6(host).is_some_and(|address| address.is_unicast_link_local()) {
            return Err(format!(
                "{host} is a link-local address, which each machine reaches by an interface of its own"
            ));
        }
        if !is_name && host.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{host:?} is neither a name nor an address"));
        }
        Ok(Place {
            host: host.into(),
            port,
        })
    }

    /// Where workers reach this machine: at `given`, or by its full name. Without a port, it is the
    /// one that `covalent.env` has.
    pub fn of_this_machine(host: &Host, given: Option<&str>) -> Result<Place> {
        let port = listening_port(host);
        let text = match given {
            Some(text) => text.to_string(),
            None => full_name(host)?,
        };
        let has_port = text.parse::<IpAddr>().is_err() && text.contains(':');
        let mut place: Place = text.parse().map_err(|why: String| unusable(&why))?;
        if !has_port {
            place.port = port;
        }
        match place.host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || address.is_unspecified() => Err(unusable(
                &format!("{address} leads every machine to itself"),
            )),
            _ if place.host == "localhost" || place.host.starts_with("localhost.") => {
                Err(unusable("localhost leads every machine to itself"))
            }
            _ => Ok(place),
        }
    }
}

/// The address that a text is, with the interface behind it or without (RFC 4007, 11).
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().ok()
}

fn unusable(why: &str) -> anyhow::Error {
    Failure::error(
        Kind::Settings,
        format!("workers can't be told where this machine is: {why}"),
        "name it as they reach it: sudo covalentctl worker add NAME --address HOST",
    )
}

/// The machine's full name, as the name service has it.
fn full_name(host: &Host) -> Result<String> {
    let own = rustix::system::uname();
    let own = own.nodename().to_string_lossy().into_owned();
    let asked = Command::new("getent", LOOKUP_LIMIT).args(["hosts", "--", &own]);
    let said = if host.is_real() {
        asked
            .output()
            .map_or_else(|_| String::new(), |output| output.stdout)
    } else {
        String::new()
    };
    canonical(&own, &said).ok_or_else(|| {
        unusable(&format!(
            "it knows no name of its own but {own:?}, which means nothing elsewhere"
        ))
    })
}

/// The first name with a dot in what getent(1) says of a machine's own name, or that itself.
fn canonical(own: &str, said: &str) -> Option<String> {
    let lines = said
        .lines()
        .flat_map(|line| line.split_whitespace().skip(1));
    let mut names = lines.chain([own]);
    let is_full = |name: &&str| name.contains('.') && !name.starts_with("localhost");
    names
        .find(is_full)
        .map(|name| name.trim_end_matches('.').into())
}

/// The port of `COVALENT_FLEET_LISTEN`.
pub fn listening_port(host: &Host) -> u16 {
    let file = EnvironmentFile::read(host).ok();
    let listen = file.as_ref().and_then(|file| file.get(LISTEN_VARIABLE));
    let port = listen.and_then(|listen| listen.rsplit_once(':')?.1.parse().ok());
    port.unwrap_or(DEFAULT_PORT)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_in_every_form_and_shown_in_one() {
        for (text, shown) in [
            ("server.example.org", "server.example.org:48009"),
            ("server.example.org:1", "server.example.org:1"),
            ("192.0.2.1", "192.0.2.1:48009"),
            ("2001:db8::1", "[2001:db8::1]:48009"),
            ("[2001:db8::1]:5", "[2001:db8::1]:5"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), shown);
            assert_eq!(shown.parse::<Place>().unwrap(), place);
        }
        for bad in [
            "", ":1", "x:0", "x:y", "x:70000", "a b", "a/b", "a,b", "u@x", "-x", "[x", "x\n",
        ] {
            bad.parse::<Place>().unwrap_err();
        }
        let said = "2001:db8::1%eth0".parse::<Place>().unwrap_err();
        assert!(said.contains("neither a name nor an address"), "{said}");
    }

    #[test]
    fn a_name_that_means_nothing_elsewhere_is_no_place() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        let place = |given| Place::of_this_machine(&host, Some(given));
        assert_eq!(place("server").unwrap().to_string(), "server:48009");
        for given in [
            "localhost",
            "127.0.0.1",
            "::1",
            "0.0.0.0:48009",
            "localhost.localdomain",
        ] {
            let said = place(given).unwrap_err().to_string();
            assert!(said.contains("leads every machine to itself"), "{said}");
        }
        for given in ["fe80::1", "fe80::1%eth0", "[fe80::1]:5", "[fe80::1%eth0]:5"] {
            let said = place(given).unwrap_err().to_string();
            assert!(said.contains("is a link-local address"), "{said}");
        }
        assert_eq!(
            canonical("server", "127.0.1.1  server.example.org server\n").as_deref(),
            Some("server.example.org")
        );
        assert_eq!(
            canonical("s.example.org", "").as_deref(),
            Some("s.example.org")
        );
        assert_eq!(
            canonical("server", "::1 localhost.localdomain server\n"),
            None
        );
        assert_eq!(canonical("server", ""), None);
    }

    #[test]
    fn the_port_is_the_one_that_the_server_listens_on_unless_another_is_given() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        std::fs::create_dir_all(host.etc()).unwrap();
        std::fs::write(host.environment_file(), "COVALENT_FLEET_LISTEN=[::]:5\n").unwrap();
        let place = |given| {
            Place::of_this_machine(&host, Some(given))
                .unwrap()
                .to_string()
        };
        assert_eq!(place("server"), "server:5");
        assert_eq!(place("server:6"), "server:6");
        assert_eq!(place("2001:db8::1"), "[2001:db8::1]:5");
    }
}
