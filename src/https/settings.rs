//! `https.env`, in which every value that the rest of the program sees can be used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use crate::certificates::Name;
use crate::service::environment_file::{EnvironmentFile, HTTPS};
use crate::system::file;
use crate::system::host::Host;

/// A port that no other program is known for.
const DEFAULT_PORT: u16 = 48443;

/// What a browser takes for granted.
const PORT_OF_HTTPS: u16 = 443;

/// The settings, each with its default.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens.
    port: u16,
    /// The addresses that it listens on; none: all.
    bind: Vec<IpAddr>,
    /// What this machine is called beside its own names.
    pub names: Vec<Name>,
}

impl Settings {
    /// Reads the file; a missing one means every default.
    pub fn read(host: &Host) -> Result<Settings> {
        let file = EnvironmentFile::read_form(host, &HTTPS)?;
        file.refuse_harmful()?;
        let list = |name| {
            let value = file.get(name).unwrap_or_default();
            value
                .split(',')
                .map(str::trim)
                .filter(|one| !one.is_empty())
        };
        let port = file.get("COVALENT_HTTPS_PORT").unwrap_or_default();
        Ok(Settings {
            port: port.parse().unwrap_or(DEFAULT_PORT),
            bind: list("COVALENT_HTTPS_BIND").flat_map(str::parse).collect(),
            names: list("COVALENT_HTTPS_NAMES")
                .map(|name| Name::from(name.to_lowercase().as_str()))
                .collect(),
        })
    }

    /// The address for a browser, by this name.
    pub fn address(&self, name: &Name) -> String {
        let name = match name {
            Name::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            name => name.to_string(),
        };
        match self.port {
            PORT_OF_HTTPS => format!("https://{name}"),
            port => format!("https://{name}:{port}"),
        }
    }

    /// Tells HAProxy where to listen, in a file for its unit.
    pub fn write_for_unit(&self, host: &Host) -> Result<()> {
        let path = host.https_variables();
        let folder = path.parent().context("no folder")?;
        file::make_folder(folder, 0o755)?;
        let line = format!("COVALENT_HTTPS_LISTEN={}\n", self.listen());
        file::write(&path, line.as_bytes(), 0o644)
    }

    /// Where to listen, as HAProxy's `bind` takes it.
    pub fn listen(&self) -> String {
        let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let addresses = if self.bind.is_empty() {
            &all[..1 + usize::from(has_ipv6())]
        } else {
            &self.bind[..]
        };
        let places = addresses.iter().map(|address| match address {
            IpAddr::V4(address) => format!("ipv4@{address}:{}", self.port),
            IpAddr::V6(address) => format!("ipv6@{address}:{}", self.port),
        });
        places.collect::<Vec<_>>().join(",")
    }
}

/// Whether the kernel has IPv6: HAProxy does not start where it cannot listen.
fn has_ipv6() -> bool {
    UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn settings(text: &str) -> Result<Settings> {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.etc()).unwrap();
        fs::write(host.etc().join("https.env"), text).unwrap();
        Settings::read(&host)
    }

    #[test]
    fn an_empty_file_means_every_default() {
        let settings = settings("").unwrap();
        assert!(settings.listen().starts_with("ipv4@0.0.0.0:48443"));
        assert!(settings.names.is_empty());
    }

    #[test]
    fn what_is_set_becomes_what_haproxy_takes_and_what_a_browser_is_given() {
        let text = "COVALENT_HTTPS_PORT=443\nCOVALENT_HTTPS_BIND=192.0.2.1, 2001:db8::1\n\
                    COVALENT_HTTPS_NAMES=Server.example.org,2001:db8::1\n";
        let settings = settings(text).unwrap();
        assert_eq!(settings.listen(), "ipv4@192.0.2.1:443,ipv6@2001:db8::1:443");
        let addresses: Vec<_> = settings
            .names
            .iter()
            .map(|name| settings.address(name))
            .collect();
        assert_eq!(
            addresses,
            ["https://server.example.org", "https://[2001:db8::1]"]
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for text in [
            "COVALENT_HTTPS_PORT=https",
            "COVALENT_HTTPS_BIND=0.0.0.0:443 ssl",
        ] {
            let error = settings(text).unwrap_err().to_string();
            assert!(error.contains("https.env:1: "), "{error}");
        }
    }
}
