//! What a machine is to be like, before it boots.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, ensure};

use crate::availability::available;
use crate::directory::{self, Directory};
use crate::layer;
use crate::machine::Machine;
use crate::root::Root;
use crate::slot::Slot;
use crate::supervisor::Supervisor;

/// What every machine is told to systemd-nspawn: nothing on the host but its
/// processes shall know of it.
const ARGUMENTS: [&str; 6] = [
    "--boot",
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--link-journal=no",
    "--timezone=off",
];

/// A machine's address in its own network (documentation range, RFC 5737).
pub const ADDRESS: &str = "192.0.2.10";

/// The address of the only other host there; see [`Machine::neighbour_command`].
pub const NEIGHBOUR: &str = "192.0.2.1";

/// A machine to be booted; see [`Machine::builder`].
#[derive(Clone, Debug)]
#[must_use = "a machine is made by `boot`"]
pub struct Builder {
    suite: String,
    installed: bool,
    network: Network,
    beside: bool,
    without_namespaces: bool,
    binds: Vec<Bind>,
}

/// Where a machine's network leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Network {
    /// To its neighbour alone.
    Own,
    /// Where the host's does.
    Host,
    /// It is that of this process.
    Of(u32),
    /// On a switch in the network of this process, at this address.
    At(u32, String),
}

/// A directory or file of the host that the machine sees.
#[derive(Clone, Debug)]
struct Bind {
    option: &'static str,
    host: PathBuf,
    inside: PathBuf,
}

impl Builder {
    pub(crate) fn new(suite: &str) -> Builder {
        Builder {
            suite: suite.to_owned(),
            installed: false,
            network: Network::Own,
            beside: false,
            without_namespaces: false,
            binds: Vec::new(),
        }
    }

    /// Begins as after an installation of the packages of `dist`: the server starts
    /// when the machine boots.
    pub fn installed(mut self) -> Builder {
        self.installed = true;
        self
    }

    /// Shares the host's network, ports and name servers included, in place of
    /// a network of its own that leads nowhere. For what has to reach a package
    /// index or a Debian mirror.
    pub fn host_network(mut self) -> Builder {
        self.network = Network::Host;
        self
    }

    /// Makes it the neighbour of another machine: it has the address [`NEIGHBOUR`] in that one's
    /// network.
    pub fn neighbour_of(mut self, other: &Machine) -> Result<Builder> {
        self.network = Network::Of(other.neighbour()?);
        Ok(self.beside(other))
    }

    /// Puts it into the network of another machine, at an address of 192.0.2.0/24: the two and
    /// their neighbour, and further ones that join them, are on one switch. What it is connected
    /// with is `wire` and the last number of the address ([`Machine::neighbour_command`]).
    pub fn in_network_of(mut self, other: &Machine, address: &str) -> Result<Builder> {
        self.network = Network::At(other.neighbour()?, address.to_owned());
        Ok(self.beside(other))
    }

    /// Shows the host's `host` at `inside`, read-only.
    pub fn bind_read_only(self, host: impl AsRef<Path>, inside: impl AsRef<Path>) -> Builder {
        self.with_bind("--bind-ro", host.as_ref(), inside.as_ref())
    }

    /// Shows the host's `host` at `inside`; what the machine writes there stays.
    pub fn bind(self, host: impl AsRef<Path>, inside: impl AsRef<Path>) -> Builder {
        self.with_bind("--bind", host.as_ref(), inside.as_ref())
    }

    fn with_bind(mut self, option: &'static str, host: &Path, inside: &Path) -> Builder {
        self.binds.push(Bind {
            option,
            host: host.to_owned(),
            inside: inside.to_owned(),
        });
        self
    }

    /// A further machine of a test that holds one already: it does not wait for
    /// one of the few places, for which two such tests would wait for ever.
    pub fn beside(mut self, _other: &Machine) -> Builder {
        self.beside = true;
        self
    }

    /// Lets its systemd make no namespace for a service, as in a container without nesting.
    pub fn without_namespaces(mut self) -> Builder {
        self.without_namespaces = true;
        self
    }

    /// Boots it, and waits until systemd says that it is up. Before that it may
    /// wait for its root to be made, and for other machines to end.
    pub fn boot(self) -> Result<Machine> {
        available().map_err(Error::msg)?;
        let machines = directory::machines()?;
        // Before a place is taken: to install the packages takes one.
        let root = if self.installed {
            layer::installed(&self.suite)?
        } else {
            Root::of(&self.suite)?
        };
        let slot = if self.beside {
            None
        } else {
            Some(Slot::take(&machines)?)
        };
        let directory = Directory::create(&machines, &self.suite)?;
        let arguments = self.arguments(&directory.name())?;
        let arguments = arguments.iter().map(OsString::as_os_str);
        let supervisor =
            Supervisor::start(&directory.path, &root.path, &self.network(), arguments)?;
        Machine::started(supervisor, directory, root, slot)
    }

    /// As `supervise.sh` wants it.
    fn network(&self) -> String {
        match &self.network {
            Network::Own => format!("{ADDRESS},{NEIGHBOUR}"),
            Network::Host => "host".to_owned(),
            Network::Of(process) => format!("of {process}"),
            Network::At(process, address) => format!("at {process} {address}"),
        }
    }

    fn arguments(&self, name: &str) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = ARGUMENTS.iter().map(OsString::from).collect();
        arguments.push(format!("--machine={name}").into());
        let names = match self.network {
            Network::Host => "copy-host",
            Network::Own | Network::Of(_) | Network::At(..) => "off",
        };
        arguments.push(format!("--resolv-conf={names}").into());
        if self.without_namespaces {
            arguments.push("--system-call-filter=~unshare".into());
        }
        for bind in &self.binds {
            arguments.push(bind.argument()?);
        }
        Ok(arguments)
    }
}

impl Bind {
    fn argument(&self) -> Result<OsString> {
        let host = self
            .host
            .canonicalize()
            .with_context(|| format!("cannot show {} to the machine", self.host.display()))?;
        let mut argument = OsString::from(self.option);
        for (separator, path) in [("=", host.as_path()), (":", &self.inside)] {
            let path: &OsStr = path.as_os_str();
            ensure!(
                !path.as_encoded_bytes().contains(&b':'),
                "systemd-nspawn takes the colon in {} for a separator",
                path.display()
            );
            argument.push(separator);
            argument.push(path);
        }
        Ok(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(builder: Builder) -> String {
        let arguments = builder.arguments("m").unwrap();
        arguments.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn a_bind_names_both_sides_and_says_whether_it_can_be_written() {
        let text = arguments(
            Builder::new("sid")
                .bind_read_only("/usr", "/a")
                .bind("/usr", "/b"),
        );
        assert!(text.ends_with("--bind-ro=/usr:/a --bind=/usr:/b"), "{text}");
    }

    #[test]
    fn a_bind_of_nothing_is_refused() {
        let error = Builder::new("sid")
            .bind("/no/such", "/a")
            .arguments("m")
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot show /no/such to the machine");
    }
}
