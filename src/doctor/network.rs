//! The server's port, and who can reach it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;

use super::verdict::{
    Verdict, bad, doubtful, first, from_error, good, may_read_all, only_root, skipped,
};
use crate::fleet::listening_port;
use crate::https;
use crate::service::address::Address;
use crate::service::api::{self, NotLetIn};
use crate::service::environment_file::EnvironmentFile;
use crate::system::account::{self, Account};
use crate::system::file;
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::systemd;

/// The kernel's tables of TCP sockets (proc_pid_net(5)).
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The variable with the group whose members the server lets in.
const LOCAL_GROUP: &str = "COVALENT_LOCAL_GROUP";

/// The group that counts where the variable is not set; the package makes it.
const DEFAULT_GROUP: &str = "covalent-users";

/// The ports of a worker where `worker.env` sets none.
const WORKER_PORTS: RangeInclusive<u16> = 48010..=48109;

/// The first port that needs no rights (ip-sysctl.rst of the kernel).
const FIRST_UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// `TCP_LISTEN` there.
const LISTENING: &str = "0A";

/// Whether the server answers at its port, or could have it.
pub(super) fn port(host: &Host) -> Verdict {
    let active = systemd::is_active(host).unwrap_or(false);
    if !active && !may_read_all(host) {
        return only_root();
    }
    let address = Address::now(host);
    let Some(port) = address.port.parse::<u16>().ok() else {
        return bad(
            "COVALENT_SVC_PORT in covalent.env is not a port number",
            "correct the file, then: systemctl restart covalent",
        );
    };
    let place = (address.host.as_str(), port);
    if active {
        return match api::running(&address, 1) {
            Ok(_) => good(format!("the server answers at {address}")),
            Err(error) if error.is::<NotLetIn>() => good(format!(
                "the server answers at {address}, though not this account"
            )),
            Err(error) => bad(
                format!("the service is active, but does not answer properly: {error:#}"),
                "covalentctl logs -n 50 says why; then: systemctl restart covalent",
            ),
        };
    }
    match TcpListener::bind(place) {
        Ok(_) if !account_may_have(host, port) => bad(
            format!(
                "{port} needs more rights than the account {} has",
                account::NAME
            ),
            "set COVALENT_SVC_PORT in /etc/covalent/covalent.env to a port from 1024 on",
        ),
        Ok(_) => good(format!("{port} is free")),
        Err(error) => bad(
            format!("{address} can't be used: {error}"),
            format!(
                "ss -ltnp 'sport = :{port}' names the process; end it, or set \
                     COVALENT_SVC_PORT in /etc/covalent/covalent.env"
            ),
        ),
    }
}

/// Whether the service can bind the port, which root always can (capabilities(7)).
fn account_may_have(host: &Host, port: u16) -> bool {
    let first = file::read_text(&host.path(FIRST_UNPRIVILEGED));
    let first: Option<u16> = first
        .ok()
        .flatten()
        .and_then(|first| first.trim().parse().ok());
    let is_ordinary = first.is_none_or(|first| port >= first);
    is_ordinary
        || systemd::show(host, &["AmbientCapabilities"])
            .values()
            .any(|given| given.split(' ').any(|one| one == "cap_net_bind_service"))
}

/// Who can reach the server, as `covalent.env` says.
pub(super) fn open_to(host: &Host) -> Verdict {
    if !may_read_all(host) {
        return only_root();
    }
    let file = match EnvironmentFile::read(host) {
        Ok(file) => file,
        Err(error) => return from_error(&error),
    };
    if !is_open(&file) {
        return good("this machine alone");
    }
    let mut cause =
        "covalent.env opens the server to the network without a login: whoever reaches \
                     it runs code as the account covalent"
            .to_string();
    if file.is_on("COVALENT_UI_TERMINAL") {
        cause += ", and has a shell in the UI's terminal";
    }
    let first = if https::is_installed(host) {
        ""
    } else {
        "apt install covalent-https, or dnf install covalent-https, which gives each user a \
         login; then "
    };
    bad(
        cause,
        format!(
            "{first}take COVALENT_SERVER_IFACE_ANY and COVALENT_DISPATCHER_ADDR out of \
             /etc/covalent/covalent.env and type: systemctl restart covalent"
        ),
    )
}

/// Which users of this machine the server lets in.
pub(super) fn users(host: &Host) -> Verdict {
    if !may_read_all(host) {
        return only_root();
    }
    let file = match EnvironmentFile::read(host) {
        Ok(file) => file,
        Err(error) => return from_error(&error),
    };
    let group = file.get(LOCAL_GROUP).map_or(DEFAULT_GROUP, str::trim);
    if group.is_empty() {
        return doubtful(
            "every user of this machine runs code as the account covalent",
            format!(
                "take the line {LOCAL_GROUP}= out of /etc/covalent/covalent.env, then: \
                 systemctl restart covalent"
            ),
        );
    }
    match account::is_group(host, group) {
        Ok(true) => good(format!(
            "root, {}, and the members of {group}, sudo and wheel",
            account::NAME
        )),
        Ok(false) if group == DEFAULT_GROUP => bad(
            format!("the group {group} is missing, whose members the server lets in"),
            "systemd-sysusers covalent.conf",
        ),
        Ok(false) => bad(
            format!("{LOCAL_GROUP} names the group {group:?}, which does not exist"),
            "correct /etc/covalent/covalent.env, then: systemctl restart covalent",
        ),
        Err(error) => from_error(&error),
    }
}

fn is_open(file: &EnvironmentFile) -> bool {
    if file.is_on("COVALENT_SERVER_IFACE_ANY") {
        return true;
    }
    let named = file.get("COVALENT_DISPATCHER_ADDR");
    let named = named.filter(|name| !name.is_empty());
    let named = named.map(|name| name.trim_matches(['[', ']']));
    let addresses = named.and_then(|name| (name, 0).to_socket_addrs().ok());
    let mut addresses = addresses.into_iter().flatten();
    addresses.any(|address| !address.ip().is_loopback())
}

/// Whether the account's processes listen to the network where `covalent.env` does not say so.
pub(super) fn sockets(host: &Host) -> Verdict {
    let account = match Account::service(host) {
        Ok(Some(account)) => account,
        Ok(None) => return skipped(format!("there is no account {}", account::NAME)),
        Err(error) => return from_error(&error),
    };
    let file = EnvironmentFile::read(host);
    if file.is_err() && !may_read_all(host) {
        return only_root();
    }
    let is_open = file.is_ok_and(|file| is_open(&file));
    let port = Address::of(host).port;
    let fleet = fleet_ports(host);
    let tables = TABLES.map(|table| fs::read_to_string(host.path(table)).unwrap_or_default());
    let listening = tables
        .iter()
        .flat_map(|table| listening(table, account.uid));
    let reachable: Vec<String> = listening
        .filter(|place| !place.ip().is_loopback())
        .filter(|place| !(is_open && place.port().to_string() == port))
        .filter(|place| !fleet.contains(&place.port()))
        .map(|place| place.to_string())
        .collect();
    let role = Role::of(host);
    let file_name = match role {
        Role::Server => "covalent.env",
        Role::Worker => "worker.env",
    };
    if reachable.is_empty() {
        good(format!(
            "nothing listens to the network that {file_name} does not open"
        ))
    } else {
        doubtful(
            format!(
                "a process of the account {} listens on {}",
                account::NAME,
                first(&reachable)
            ),
            format!(
                "ss -ltnp names it: a task's, or the {}'s if {file_name} was changed since; systemctl \
                 restart {} ends it",
                role.noun(),
                role.service()
            ),
        )
    }
}

/// The ports where the account listens for its fleet: over TLS, and only to those that are in it.
fn fleet_ports(host: &Host) -> RangeInclusive<u16> {
    let is_in_one = host.fleet().join("ca.crt").exists();
    match Role::of(host) {
        _ if !is_in_one => RangeInclusive::new(1, 0),
        Role::Server => {
            let port = listening_port(host);
            port..=port
        }
        Role::Worker => worker_ports(host),
    }
}

/// What `COVALENT_WORKER_PORTS` says, whose default is in `worker.env`.
fn worker_ports(host: &Host) -> RangeInclusive<u16> {
    let file = EnvironmentFile::read(host).ok();
    let set = file
        .as_ref()
        .and_then(|file| file.get("COVALENT_WORKER_PORTS"));
    let range = set.and_then(|set| {
        let (first, last) = set.split_once('-')?;
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    range.unwrap_or(WORKER_PORTS)
}

/// Where processes of this user listen.
fn listening(table: &str, uid: u32) -> Vec<SocketAddr> {
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, user, ..] = words[..] else {
                return None;
            };
            let is_one = state == LISTENING && user.parse() == Ok(uid);
            is_one.then(|| place(local))?
        })
        .collect()
}

/// An address and a port in hexadecimal digits, the address in words of the machine's byte order.
fn place(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => {
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?)).to_canonical()
        }
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read_as_the_kernel_writes_them() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:BB88 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:BB88 0100007F:0016 01 00000000:00000000 00:00000000 00000000   998        0 3
   3: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 4
   4: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 5
";
        let found: Vec<String> = listening(table, 998)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["127.0.0.1:48008", "[::]:8080", "127.0.0.1:8081"]);
    }
}
