//! What this machine is called by those who connect to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::certificates::Name;
use crate::service::environment_file::is_host_name;
use crate::system::command::Command;

/// A directory service may be asked, over a network.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Somewhere else (RFC 5737, RFC 3849): nothing is sent there.
const ELSEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Names by which everybody calls themselves.
const EVERYBODYS: [&str; 2] = ["localhost", "localdomain"];

/// Its full names, its own name, and the addresses that it has for others.
pub fn of_machine() -> Vec<Name> {
    let node = rustix::system::uname();
    let node = node.nodename().to_string_lossy().to_lowercase();
    let known = Command::new("getent", LOOKUP_LIMIT)
        .args(["hosts", "--", &node])
        .output();
    let known = known.map(|known| known.stdout).unwrap_or_default();
    let mut names = host_names(&node, &known.to_lowercase());
    names.extend(ELSEWHERE.into_iter().filter_map(towards).map(Name::Ip));
    names
}

/// The names that hosts(5), or the name service, gives for a machine beside its own one, which comes
/// last: full names first.
fn host_names(node: &str, known: &str) -> Vec<Name> {
    let mut names = Vec::new();
    let words = known
        .lines()
        .flat_map(|line| line.split_whitespace().skip(1));
    for name in words.filter(|name| name.contains('.')).chain([node]) {
        let is_everybodys = |part| EVERYBODYS.contains(&part);
        let name_of = Name::Dns(name.into());
        if is_host_name(name) && !name.split('.').any(is_everybodys) && !names.contains(&name_of) {
            names.push(name_of);
        }
    }
    names
}

/// This machine's address for whoever is there; none where no way leads there.
fn towards(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(address, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(node: &str, known: &str) -> Vec<String> {
        let names = host_names(node, known);
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn full_names_come_first_and_nobodys_are_left_out() {
        assert_eq!(
            names("server", "127.0.1.1 server.example.org server\n"),
            ["server.example.org", "server"]
        );
        assert_eq!(
            names("a.example.org", "::1 a.example.org a\n"),
            ["a.example.org"]
        );
        assert_eq!(names("server", ""), ["server"]);
        assert_eq!(
            names("localhost", "::1 localhost localhost.localdomain\n"),
            [""; 0]
        );
        assert_eq!(names("not_a_name", "1.2.3.4 *.example.org"), [""; 0]);
    }
}
