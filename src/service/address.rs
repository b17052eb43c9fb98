//! Where the server listens.

use super::environment_file::EnvironmentFile;
use crate::system::host::Host;
use crate::system::systemd;

/// The port of Covalent where `COVALENT_SVC_PORT` sets no other.
const DEFAULT_PORT: &str = "48008";

/// How the launcher's `STATUS=` starts when it serves; its address follows.
const SERVING: &str = "serving at http://";

/// Where the server listens, as far as `covalent.env` says; for a browser on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address of this machine; one of IPv6 without brackets.
    pub host: String,
    /// The port as it is written, which may be no number.
    pub port: String,
}

impl Address {
    /// What the file says; every default where the caller may not read it.
    pub fn of(host: &Host) -> Address {
        let file = EnvironmentFile::read(host).ok();
        let value = |name: &str| {
            let value = file.as_ref().and_then(|file| file.get(name));
            value.filter(|value| !value.is_empty()).map(String::from)
        };
        let everywhere = file
            .as_ref()
            .is_some_and(|file| file.is_on("COVALENT_SERVER_IFACE_ANY"));
        // Named without the switch, the address is the one and only that the server listens on.
        let named = value("COVALENT_DISPATCHER_ADDR").filter(|_| !everywhere);
        Address {
            host: named.map_or_else(|| "localhost".into(), |host| without_brackets(&host)),
            port: value("COVALENT_SVC_PORT").unwrap_or_else(|| DEFAULT_PORT.into()),
        }
    }

    /// What the running server says of itself, which needs no right to read its settings; else
    /// what the file says.
    pub fn now(host: &Host) -> Address {
        let status = systemd::show(host, &["StatusText"]).remove("StatusText");
        Address::told(host, &status.unwrap_or_default())
    }

    /// Like [`now`](Self::now), from the unit's `StatusText`, which the caller has asked for already.
    pub fn told(host: &Host, status: &str) -> Address {
        let address = status.strip_prefix(SERVING).and_then(Address::parse);
        address.unwrap_or_else(|| Address::of(host))
    }

    fn parse(text: &str) -> Option<Address> {
        let (host, port) = text.rsplit_once(':')?;
        // The account's word: whoever asks for it connects there, and prints it.
        let is_name = host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-:[]%".contains(c));
        if !is_name || port.parse::<u16>().is_err() {
            return None;
        }
        Some(Address {
            host: without_brackets(host),
            port: port.into(),
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{}:{}", self.host, self.port)
        }
    }
}

/// The form of an IPv6 address outside of a URL.
fn without_brackets(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_brackets_in_a_url_alone() {
        let address = Address::parse("[2001:db8::1]:48008").unwrap();
        assert_eq!(address.host, "2001:db8::1");
        assert_eq!(address.to_string(), "http://[2001:db8::1]:48008");
        let address = Address::parse("server:48008").unwrap();
        assert_eq!(address.to_string(), "http://server:48008");
    }
}
