//! What the variables of `covalent.env` and its like may hold.

use std::net::IpAddr;

use super::problem::{Assignment, Problem, Severity};
use crate::system::file::resolved;
use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::sandbox::{self, Hidden};

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
    /// An address (IP).
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

/// A file of variables as it is shipped. Every such file is checked by its table, and has a manual
/// page that is made from both.
#[derive(Debug)]
pub struct Form {
    /// Its name, below `/etc/covalent` and, as it is shipped, below `/usr/share/covalent`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The unit that reads it.
    pub(super) unit: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Every variable that has an effect, and what it may hold.
    pub variables: &'static [(&'static str, Value)],
}

/// Every file of variables.
pub const FILES: &[&Form] = &[&SERVER, &WORKER, &HTTPS];

/// The server's.
const SERVER: Form = Form {
    name: "covalent.env",
    about: "the environment of the Covalent server",
    unit: "covalent",
    text: include_str!("../../../systemd/covalent.env"),
    variables: VARIABLES,
};

/// A worker's.
const WORKER: Form = Form {
    name: "worker.env",
    about: "the environment of a Covalent worker",
    unit: "covalent-worker",
    text: include_str!("../../../systemd/worker.env"),
    variables: WORKER_VARIABLES,
};

/// That of the package covalent-https.
pub const HTTPS: Form = Form {
    name: "https.env",
    about: "where other machines reach the Covalent server by https",
    unit: "covalent-https",
    text: include_str!("../../../systemd/https/https.env"),
    variables: HTTPS_VARIABLES,
};

impl Form {
    /// The one that the service of this role reads.
    pub(super) fn of(role: Role) -> &'static Form {
        match role {
            Role::Server => &SERVER,
            Role::Worker => &WORKER,
        }
    }

    /// Where the package has the file as it came, with every variable.
    pub fn shipped(&self) -> String {
        format!("/usr/share/covalent/{}", self.name)
    }

    /// What the variable `name` may hold, if it has an effect.
    pub fn value(&self, name: &str) -> Option<Value> {
        let mut variables = self.variables.iter();
        variables
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    }
}

/// Every variable that has an effect on Covalent's server, and what it may hold.
const VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_SVC_PORT", Value::Port),
    ("COVALENT_SERVER_IFACE_ANY", Value::Switch),
    ("COVALENT_DISPATCHER_ADDR", Value::Text),
    ("COVALENT_ALLOWED_HOSTS", Value::Text),
    ("COVALENT_LOCAL_GROUP", Value::Group),
    ("COVALENT_PROXY_SOCKET", Value::Path),
    ("COVALENT_UI_TERMINAL", Value::Switch),
    ("COVALENT_DASK_DASHBOARD", Value::Text),
    ("COVALENT_DATABASE", Value::Path),
    ("COVALENT_DATABASE_URL", Value::Text),
    ("COVALENT_CACHE_DB_URL", Value::Text),
    ("COVALENT_DATA_DIR", Value::Path),
    ("COVALENT_CACHE_DIR", Value::Path),
    ("COVALENT_LOGDIR", Value::Path),
    ("COVALENT_CONFIG_DIR", Value::Path),
    ("COVALENT_EXECUTOR_DIR", Value::Path),
    ("LOGLEVEL", Value::Level),
    ("COVALENT_LOG_TO_FILE", Value::Flag),
    ("COVALENT_PLUGIN_LOAD", Value::Flag),
    ("COVALENT_LOCAL_WORKERS", Value::Number),
    ("COVALENT_FLEET_LISTEN", Value::Place),
    ("COVALENT_FLEET_WAIT", Value::Time),
    ("COVALENT_DISABLE_DASK", Value::Switch),
    ("COVALENT_USE_OLD_DASK", Value::Flag),
    ("COVALENT_DEBUG_DB", Value::Flag),
    ("COVALENT_ENABLE_TASK_PACKING", Value::Flag),
    ("COVALENT_DISABLE_LEGACY_SUBLATTICES", Value::Flag),
    ("COVALENT_ASSET_CACHE_SIZE", Value::Count),
    ("COVALENT_HEARTBEAT_INTERVAL", Value::Count),
    ("COVALENT_HEARTBEAT_FILE", Value::Path),
    ("COVALENT_EXTRA_HEADERS", Value::Text),
    ("COVALENT_DISPATCH_BASE_ENDPOINT", Value::Text),
    ("COVALENT_DISPATCH_CACHE_DIR", Value::Path),
    ("COVALENT_RESULTS_DIR", Value::Path),
    ("XDG_CACHE_HOME", Value::Path),
    ("XDG_CONFIG_DIR", Value::Path),
    ("XDG_DATA_HOME", Value::Path),
    ("TMPDIR", Value::Path),
    ("SHELL", Value::Path),
    (
        "HOME",
        Value::Discouraged("every path of the server starts from the unit's own HOME"),
    ),
    (
        "PATH",
        Value::Discouraged("it must start with the environment's bin, as in the unit"),
    ),
];

/// Every variable that has an effect on a worker, and what it may hold.
const WORKER_VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_SERVER", Value::Place),
    ("COVALENT_WORKER_PROCESSES", Value::Count),
    ("COVALENT_WORKER_MEMORY", Value::Memory),
    ("COVALENT_WORKER_RESOURCES", Value::Resources),
    ("COVALENT_WORKER_ADDRESS", Value::Address),
    ("COVALENT_WORKER_PORTS", Value::Ports),
    ("LOGLEVEL", Value::Level),
    ("TMPDIR", Value::Path),
    (
        "COVALENT_WORKER_NAME",
        Value::Discouraged("the certificate says it: covalentctl join"),
    ),
    (
        "HOME",
        Value::Discouraged("every path of the worker starts from the unit's own HOME"),
    ),
    (
        "PATH",
        Value::Discouraged("it must start with the environment's bin, as in the unit"),
    ),
];

/// Every variable of the proxy that lets other machines in.
const HTTPS_VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_HTTPS_PORT", Value::Port),
    ("COVALENT_HTTPS_BIND", Value::Addresses),
    ("COVALENT_HTTPS_NAMES", Value::Names),
];

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
            Value::Place => {
                Some("a name or an address with a port, such as server.example.org:48009")
            }
            Value::Ports => Some("two ports such as 48010-48109, the smaller one first"),
            Value::Resources => Some("names with numbers, such as GPU=1"),
            Value::Address => Some("an IP address of this machine"),
            Value::Addresses => Some("addresses of this machine, separated by commas"),
            Value::Names => Some("names of hosts or addresses, separated by commas"),
            Value::Text | Value::Discouraged(_) => None,
        }
    }

    fn may_be(self, value: &str) -> bool {
        match self {
            Value::Port => value.parse().is_ok_and(|port: u16| port > 0),
            Value::Path => value.starts_with('/'),
            Value::Level => LEVELS.contains(&value.to_uppercase().as_str()),
            Value::Switch | Value::Flag => SWITCHES.contains(&value.to_lowercase().as_str()),
            Value::Count => value.parse().is_ok_and(|count: u32| count > 0),
            Value::Group => !value.contains([':', ',']),
            Value::Number => value.parse::<u32>().is_ok(),
            Value::Time => is_amount(value, &TIMES),
            Value::Memory => is_amount(value, &SIZES),
            Value::Place => is_place(value),
            Value::Ports => is_range(value),
            Value::Resources => value.split(',').all(is_resource),
            Value::Address => is_address(value.trim_matches(['[', ']'])),
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

/// Checks every assignment of a file.
pub(super) fn check(form: &Form, assignments: &[Assignment]) -> Vec<Problem> {
    let checked = assignments.iter().filter_map(|assignment| {
        let (severity, text) = check_one(form, assignment)?;
        Some(Problem {
            line: assignment.line,
            severity,
            text,
        })
    });
    checked.collect()
}

/// What is put where the unit's sandbox hides it: the server would start with nothing of it.
pub(super) fn hidden(host: &Host, form: &Form, assignments: &[Assignment]) -> Vec<Problem> {
    let is_written =
        |name: &str| form.value(name) == Some(Value::Path) && name != "SHELL" || name == "HOME";
    let mut problems = Vec::new();
    for Assignment { line, name, value } in assignments {
        if !is_written(name) || !value.starts_with('/') {
            continue;
        }
        let path = resolved(&host.path(value));
        // In a /tmp of its own the server keeps what may be gone after its end.
        let hidden = sandbox::hides(host, &path).filter(Hidden::is_a_home);
        problems.extend(hidden.map(|hidden| Problem {
            line: *line,
            severity: Severity::Harmful,
            text: format!("{name}: {hidden}: {}", hidden.cure(&path)),
        }));
    }
    problems
}

fn check_one(form: &Form, assignment: &Assignment) -> Option<(Severity, String)> {
    let Assignment { name, value, .. } = assignment;
    let Some(kind) = form.value(name) else {
        // Other variables are for tasks and plugins, and nobody can know them all.
        let ours = name.starts_with("COVALENT_");
        let text = format!("{name} has no effect; {} lists all", form.shipped());
        return ours.then_some((Severity::Harmless, text));
    };
    // An empty value is as good as none.
    if value.is_empty() {
        return None;
    }
    if let Value::Discouraged(reason) = kind {
        let text = format!("{name} should not be set here: {reason}");
        return Some((Severity::Harmless, text));
    }
    let expected = kind.expected().filter(|_| !kind.may_be(value))?;
    Some(if kind == Value::Flag {
        (Severity::Harmless, format!("{name} should be {expected}"))
    } else {
        let text = format!("{name} must be {expected}, not {value:?}");
        (Severity::Harmful, text)
    })
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// What may stand behind a number of seconds.
const TIMES: [&str; 5] = ["", "s", "min", "h", "d"];

/// What may stand behind a number of bytes.
const SIZES: [&str; 5] = ["", "K", "M", "G", "T"];

/// Whether it is a whole number above 0 with one of the units.
fn is_amount(value: &str, units: &[&str]) -> bool {
    let end = value.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = value.split_at(end.unwrap_or(value.len()));
    number.parse().is_ok_and(|number: u64| number > 0) && units.contains(&unit)
}

fn is_port(text: &str) -> bool {
    text.parse().is_ok_and(|port: u16| port > 0)
}

fn is_place(value: &str) -> bool {
    let Some((host, port)) = value.rsplit_once(':') else {
        return false;
    };
    // An IPv6 address without brackets has no port that can be told from it.
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.ends_with(']'),
        None => !host.is_empty() && !host.contains(':'),
    };
    let is_clean = !host.contains(|c: char| c.is_whitespace() || "/@".contains(c));
    is_host && is_clean && is_port(port)
}

fn is_range(value: &str) -> bool {
    let ports = value.split_once('-');
    ports.is_some_and(|(first, last)| {
        let number = |text: &str| text.parse::<u16>().unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, value: &str) -> Option<(Severity, String)> {
        let form = if name.starts_with("COVALENT_HTTPS_") {
            &HTTPS
        } else {
            &SERVER
        };
        problem_of(form, name, value)
    }

    fn problem_of(form: &Form, name: &str, value: &str) -> Option<(Severity, String)> {
        let assignment = Assignment {
            line: 3,
            name: name.into(),
            value: value.into(),
        };
        check_one(form, &assignment)
    }

    #[test]
    fn good_values_pass_and_bad_ones_say_what_is_expected() {
        for (name, good, bad, expected) in [
            (
                "COVALENT_SVC_PORT",
                "48008",
                "48oo8",
                "a port number from 1 to 65535, not \"48oo8\"",
            ),
            ("COVALENT_SVC_PORT", "80", "0", "1 to 65535"),
            ("COVALENT_DATA_DIR", "/srv/data", "data", "an absolute path"),
            ("LOGLEVEL", "debug", "LOUD", "one of CRITICAL"),
            ("COVALENT_ASSET_CACHE_SIZE", "64", "-1", "above 0"),
            ("COVALENT_SERVER_IFACE_ANY", "true", "yes", "must be 1 or 0"),
            ("COVALENT_UI_TERMINAL", "", "on", "must be 1 or 0"),
            (
                "COVALENT_LOCAL_GROUP",
                "physics",
                "physics,maths",
                "the name of one group",
            ),
            ("COVALENT_PROXY_SOCKET", "/run/p", "p", "an absolute path"),
            ("COVALENT_HTTPS_PORT", "443", "https", "1 to 65535"),
            (
                "COVALENT_HTTPS_BIND",
                "192.0.2.1, 2001:db8::1",
                "192.0.2.1 ssl",
                "addresses of this machine",
            ),
            (
                "COVALENT_HTTPS_BIND",
                "::",
                "localhost",
                "separated by commas",
            ),
            (
                "COVALENT_HTTPS_NAMES",
                "a.example.org,B,10.0.0.1",
                "https://a",
                "names of hosts or addresses",
            ),
            (
                "COVALENT_HTTPS_NAMES",
                "3com.example",
                "a..b",
                "names of hosts",
            ),
            ("COVALENT_HTTPS_NAMES", "a", "a b", "names of hosts"),
            ("COVALENT_HTTPS_NAMES", "a-b", "-a", "names of hosts"),
            ("COVALENT_HTTPS_NAMES", "a1", "1.2.3", "names of hosts"),
        ] {
            assert_eq!(problem(name, good), None);
            let (severity, text) = problem(name, bad).unwrap();
            assert_eq!(severity, Severity::Harmful);
            assert!(text.contains(name) && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn the_values_of_a_fleet_are_checked_on_both_sides() {
        for (form, name, good, bad) in [
            (
                &SERVER,
                "COVALENT_LOCAL_WORKERS",
                &["0", "8"][..],
                &["-1", "two"][..],
            ),
            (
                &SERVER,
                "COVALENT_FLEET_LISTEN",
                &["0.0.0.0:48009", "[::]:48009", "192.0.2.1:1"],
                &[
                    "48009",
                    "0.0.0.0",
                    "::1:48009",
                    "a b:1",
                    "x:0",
                    ":1",
                    "[::1:2",
                ],
            ),
            (
                &SERVER,
                "COVALENT_FLEET_WAIT",
                &["1h", "90", "30min"],
                &["soon", "0", "1.5h"],
            ),
            (
                &WORKER,
                "COVALENT_SERVER",
                &["server.example.org:48009"],
                &["server", "u@x:1"],
            ),
            (
                &WORKER,
                "COVALENT_WORKER_ADDRESS",
                &["192.0.2.2", "2001:db8::1"],
                &["gpu1"],
            ),
            (&WORKER, "COVALENT_WORKER_PROCESSES", &["8"], &["0", "all"]),
            (
                &WORKER,
                "COVALENT_WORKER_MEMORY",
                &["8G", "512M", "1000"],
                &["much", "-1G", "8GB"],
            ),
            (
                &WORKER,
                "COVALENT_WORKER_RESOURCES",
                &["GPU=1", "GPU=2, BIG_ONE=10"],
                &["GPU", "GPU=x", "=1", "GPU=0", "A=1 B=2"],
            ),
            (
                &WORKER,
                "COVALENT_WORKER_PORTS",
                &["48010-48109", "1-1"],
                &["48010", "2-1", "0-5", "1-70000"],
            ),
        ] {
            for value in good {
                assert_eq!(problem_of(form, name, value), None, "{name}={value}");
            }
            for value in bad {
                let (severity, text) = problem_of(form, name, value).unwrap();
                assert_eq!(severity, Severity::Harmful, "{name}={value}");
                assert!(text.contains(value), "{text}");
            }
        }
        // The server's are none of a worker's.
        let (_, text) = problem_of(&WORKER, "COVALENT_SVC_PORT", "1").unwrap();
        assert!(
            text.ends_with("/usr/share/covalent/worker.env lists all"),
            "{text}"
        );
    }

    #[test]
    fn a_variable_that_nobody_reads_is_harmless_and_other_programs_are_left_alone() {
        let (severity, text) = problem("COVALENT_SVC_PROT", "1").unwrap();
        assert_eq!(severity, Severity::Harmless);
        assert!(text.contains("has no effect"));
        assert_eq!(problem("AWS_PROFILE", "x"), None);
        let (severity, _) = problem("COVALENT_PLUGIN_LOAD", "yes").unwrap();
        assert_eq!(severity, Severity::Harmless);
    }

    /// The text of a shipped file with every example in force.
    fn in_force(file: &Form) -> String {
        let lines = file.text.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with([' ', '#']) => rest,
            _ => line,
        });
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    #[test]
    fn the_shipped_file_documents_every_variable_and_no_other() {
        for file in FILES {
            let text = in_force(file);
            let mut documented: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                .map(|(name, _)| name)
                .collect();
            let mut known: Vec<&str> = file
                .variables
                .iter()
                .filter(|(_, kind)| !matches!(kind, Value::Discouraged(_)))
                .map(|(name, _)| *name)
                .collect();
            documented.sort_unstable();
            known.sort_unstable();
            assert_eq!(documented, known, "{}", file.name);
        }
    }

    #[test]
    fn the_shipped_file_has_no_problem_as_it_is_and_with_every_line_in_force() {
        for file in FILES {
            for text in [file.text, &in_force(file)] {
                let (assignments, problems) = super::super::parse::parse(text.as_bytes(), &|| true);
                assert_eq!(problems, [], "{}", file.name);
                assert_eq!(check(file, &assignments), [], "{}", file.name);
            }
        }
    }
}
