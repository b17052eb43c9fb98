//! What a variable may hold.

use std::net::IpAddr;

/// What a variable's value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A TCP port. Whether the account may bind a low one, the machine decides.
    Port,
    /// An absolute path.
    Path,
    /// A level of Python's logging module.
    Level,
    /// `1`, `true` or `t`, or `0`, `false` or `f`: the launcher takes nothing else.
    Switch,
    /// A switch that Covalent reads itself, which takes anything else for a no or for a yes.
    Flag,
    /// A whole number above 0.
    Count,
    /// The name of a group, as group(5) has it. Whether it is there, doctor says: it may be a
    /// directory's, which does not answer at each start.
    Group,
    /// A whole number.
    Number,
    /// A time: seconds, or a number with `s`, `min`, `h` or `d`.
    Time,
    /// An amount of memory in bytes, or with a unit: `8G`, `512M`.
    Memory,
    /// A name or an address, and a TCP port: `server.example.org:48009`, `[::]:48009`.
    Place,
    /// TCP ports from one to another: `48010-48109`.
    Ports,
    /// Names with what each process has of them: `GPU=1`, separated by commas.
    Resources,
    /// An address (IP) that other machines connect to.
    Address,
    /// Addresses of IPv4 and IPv6, separated by commas.
    Addresses,
    /// Names of hosts and addresses, separated by commas.
    Names,
    /// Anything.
    Text,
    /// Anything; and setting it does harm, for the reason given.
    Discouraged(&'static str),
}

/// Characters of a host's name and of each of its parts at most (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_PART: usize = 63;

const LEVELS: [&str; 5] = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"];

const SWITCHES: [&str; 6] = ["0", "1", "f", "false", "t", "true"];

impl Value {
    /// What it must be, to follow "must be"; nothing if anything will do.
    pub fn expected(self) -> Option<&'static str> {
        match self {
            Value::Port => Some("a port number from 1 to 65535"),
            Value::Path => Some("an absolute path"),
            Value::Level => Some("one of CRITICAL, ERROR, WARNING, INFO, DEBUG"),
            Value::Switch | Value::Flag => Some("1 or 0"),
            Value::Count => Some("a whole number above 0"),
            Value::Group => Some("the name of one group"),
            Value::Number => Some("a whole number"),
            Value::Time => Some("a time such as 30min or 1h"),
            Value::Memory => Some("an amount of memory such as 8G"),
            Value::Place => Some(
                "a name or an address with a port, such as server.example.org:48009, and none \
                     that is link-local (fe80::)",
            ),
            Value::Ports => Some("two ports such as 48010-48109, the smaller one first"),
            Value::Resources => Some("names with numbers, such as GPU=1"),
            Value::Address => {
                Some("an IP address of this machine, and none that is link-local (fe80::)")
            }
            Value::Addresses => Some("addresses of this machine, separated by commas"),
            Value::Names => Some("names of hosts or addresses, separated by commas"),
            Value::Text | Value::Discouraged(_) => None,
        }
    }

    pub(super) fn may_be(self, value: &str) -> bool {
        match self {
            Value::Port => is_port(value),
            Value::Path => value.starts_with('/'),
            Value::Level => LEVELS.contains(&value.to_uppercase().as_str()),
            Value::Switch | Value::Flag => SWITCHES.contains(&value.to_lowercase().as_str()),
            Value::Count => number(value).is_some_and(|count| count > 0),
            Value::Group => !value.contains([':', ',']),
            Value::Number => number(value).is_some(),
            Value::Time => is_amount(value, &TIMES),
            Value::Memory => is_amount(value, &SIZES),
            Value::Place => is_place(value),
            Value::Ports => is_range(value),
            Value::Resources => value.split(',').all(is_resource),
            Value::Address => is_contact(value.trim_matches(['[', ']'])),
            Value::Addresses => each(value, is_address),
            Value::Names => each(value, |one| is_address(one) || is_host_name(one)),
            Value::Text | Value::Discouraged(_) => true,
        }
    }
}

/// Whether it is the name of a host (RFC 1123, 2.1).
pub fn is_host_name(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=LONGEST_PART).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    // One of digits alone would be an address.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= LONGEST_NAME
        && text.split('.').all(is_part)
        && last.contains(|c: char| c.is_ascii_alphabetic())
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether others can connect to it, who do not know by which of their interfaces.
fn is_contact(text: &str) -> bool {
    match text.parse() {
        Ok(IpAddr::V6(address)) => !address.is_unicast_link_local(),
        address => address.is_ok(),
    }
}

/// What may stand behind a number of seconds.
const TIMES: [&str; 5] = ["", "s", "min", "h", "d"];

/// What may stand behind a number of bytes.
const SIZES: [&str; 5] = ["", "K", "M", "G", "T"];

/// Whether it is a whole number above 0 with one of the units.
fn is_amount(value: &str, units: &[&str]) -> bool {
    let end = value.find(|c: char| !c.is_ascii_digit());
    let (amount, unit) = value.split_at(end.unwrap_or(value.len()));
    number(amount).is_some_and(|amount| amount > 0) && units.contains(&unit)
}

/// A whole number of digits alone, as the launcher takes it: no sign.
fn number(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

fn is_port(text: &str) -> bool {
    number(text).is_some_and(|port| (1..=u64::from(u16::MAX)).contains(&port))
}

fn is_place(value: &str) -> bool {
    let Some((host, port)) = value.rsplit_once(':') else {
        return false;
    };
    // An IPv6 address without brackets has no port that can be told from it.
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(is_contact),
        None => !host.is_empty() && !host.contains(':'),
    };
    let is_clean = !host.contains(|c: char| c.is_whitespace() || "/@".contains(c));
    is_host && is_clean && is_port(port)
}

fn is_range(value: &str) -> bool {
    let ports = value.split_once('-');
    ports.is_some_and(|(first, last)| {
        is_port(first) && is_port(last) && number(first) <= number(last)
    })
}

/// `GPU=1`; nothing between two separators is none.
fn is_resource(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || text.split_once('=').is_some_and(|(name, number)| {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !name.is_empty() && name.chars().all(word) && is_amount(number, &[""])
        })
}

/// Whether each part of a list passes.
fn each(list: &str, test: impl Fn(&str) -> bool) -> bool {
    list.split(',').all(|part| test(part.trim()))
}
