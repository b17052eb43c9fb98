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
    /// A name or an address of this machine.
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
            host: named.unwrap_or_else(|| "localhost".into()),
            port: value("COVALENT_SVC_PORT").unwrap_or_else(|| DEFAULT_PORT.into()),
        }
    }

    /// What the running server says of itself, which needs no right to read its settings; else
    /// what the file says.
    pub fn now(host: &Host) -> Address {
        let status = systemd::show(host, &["StatusText"]).remove("StatusText");
        status
            .and_then(|status| Address::parse(status.strip_prefix(SERVING)?))
            .unwrap_or_else(|| Address::of(host))
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
            host: host.into(),
            port: port.into(),
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}
