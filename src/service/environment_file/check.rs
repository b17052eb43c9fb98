//! What the variables of `covalent.env` and `worker.env` may hold.

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
    /// The same, read by Covalent itself, which takes anything else for a no or for a yes.
    Flag,
    /// A whole number above 0.
    Count,
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
    /// Anything.
    Text,
    /// Anything; and setting it does harm, for the reason given.
    Discouraged(&'static str),
}

/// Every variable that has an effect on Covalent's server, and what it may hold.
pub const VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_SVC_PORT", Value::Port),
    ("COVALENT_SERVER_IFACE_ANY", Value::Switch),
    ("COVALENT_DISPATCHER_ADDR", Value::Text),
    ("COVALENT_ALLOWED_HOSTS", Value::Text),
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

const LEVELS: [&str; 5] = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"];

const SWITCHES: [&str; 6] = ["0", "1", "f", "false", "t", "true"];

/// Where the package has the file as it came, with every variable.
pub(super) fn shipped(role: Role) -> &'static str {
    match role {
        Role::Server => "/usr/share/covalent/covalent.env",
        Role::Worker => "/usr/share/covalent/worker.env",
    }
}

fn known(role: Role, name: &str) -> Option<Value> {
    let variables = match role {
        Role::Server => VARIABLES,
        Role::Worker => WORKER_VARIABLES,
    };
    let found = variables.iter().find(|(known, _)| *known == name);
    found.map(|(_, kind)| *kind)
}

/// Checks every assignment.
pub(super) fn check(role: Role, assignments: &[Assignment]) -> Vec<Problem> {
    let problems = assignments.iter().map(|one| check_one(role, one));
    problems.flatten().collect()
}

/// What is put where the unit's sandbox hides it: the server would start with nothing of it.
pub(super) fn hidden(host: &Host, role: Role, assignments: &[Assignment]) -> Vec<Problem> {
    let is_written =
        |name: &str| known(role, name) == Some(Value::Path) && name != "SHELL" || name == "HOME";
    let mut problems = Vec::new();
    for Assignment { line, name, value } in assignments {
        let path = resolved(&host.path(value));
        // In a /tmp of its own the server keeps what may be gone after its end.
        let hidden = match is_written(name) && value.starts_with('/') {
            true => sandbox::hides(host, &path).filter(Hidden::is_a_home),
            false => None,
        };
        problems.extend(hidden.map(|hidden| Problem {
            line: *line,
            severity: Severity::Harmful,
            text: format!("{name}: {hidden}: {}", hidden.cure(&path)),
        }));
    }
    problems
}

fn check_one(role: Role, assignment: &Assignment) -> Option<Problem> {
    let Assignment { line, name, value } = assignment;
    let problem = |severity, text| {
        Some(Problem {
            line: *line,
            severity,
            text,
        })
    };
    let Some(kind) = known(role, name) else {
        // Other variables are for tasks and plugins, and nobody can know them all.
        let ours = name.starts_with("COVALENT_");
        let text = format!("{name} has no effect; {} lists all", shipped(role));
        return ours.then(|| problem(Severity::Harmless, text)).flatten();
    };
    // The launcher takes an empty value for none.
    if value.is_empty() {
        return None;
    }
    let is_switch = SWITCHES.contains(&value.to_lowercase().as_str());
    let expected = match kind {
        Value::Port if value.parse().is_ok_and(|port: u16| port > 0) => return None,
        Value::Port => "a port number from 1 to 65535",
        Value::Path if value.starts_with('/') => return None,
        Value::Path => "an absolute path",
        Value::Level if LEVELS.contains(&value.to_uppercase().as_str()) => return None,
        Value::Level => "one of CRITICAL, ERROR, WARNING, INFO, DEBUG",
        Value::Count if value.parse().is_ok_and(|count: u32| count > 0) => return None,
        Value::Count => "a whole number above 0",
        Value::Number if value.parse().is_ok_and(|_: u32| true) => return None,
        Value::Number => "a whole number",
        Value::Time if is_amount(value, &TIMES) => return None,
        Value::Time => "a time such as 30min or 1h",
        Value::Memory if is_amount(value, &SIZES) => return None,
        Value::Memory => "an amount of memory such as 8G",
        Value::Place if is_place(value) => return None,
        Value::Place => "a name or an address with a port, such as server.example.org:48009",
        Value::Ports if is_range(value) => return None,
        Value::Ports => "two ports such as 48010-48109, the smaller one first",
        Value::Resources if value.split(',').all(is_resource) => return None,
        Value::Resources => "names with numbers, such as GPU=1",
        Value::Address if value.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => return None,
        Value::Address => "an IP address of this machine",
        Value::Switch | Value::Flag if is_switch => return None,
        Value::Switch => "1 or 0",
        Value::Flag => {
            let text = format!("{name} should be 1 or 0");
            return problem(Severity::Harmless, text);
        }
        Value::Text => return None,
        Value::Discouraged(reason) => {
            return problem(
                Severity::Harmless,
                format!("{name} should not be set here: {reason}"),
            );
        }
    };
    problem(
        Severity::Harmful,
        format!("{name} must be {expected}, not {value:?}"),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped file of each role.
    const SHIPPED: [(Role, &str); 2] = [
        (Role::Server, include_str!("../../../systemd/covalent.env")),
        (Role::Worker, include_str!("../../../systemd/worker.env")),
    ];

    fn problem(name: &str, value: &str) -> Option<(Severity, String)> {
        problem_of(Role::Server, name, value)
    }

    fn problem_of(role: Role, name: &str, value: &str) -> Option<(Severity, String)> {
        let assignment = Assignment {
            line: 3,
            name: name.into(),
            value: value.into(),
        };
        check_one(role, &assignment).map(|problem| (problem.severity, problem.text))
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
        ] {
            assert_eq!(problem(name, good), None);
            let (severity, text) = problem(name, bad).unwrap();
            assert_eq!(severity, Severity::Harmful);
            assert!(text.contains(name) && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn the_values_of_a_fleet_are_checked_on_both_sides() {
        use Role::{Server, Worker};
        for (role, name, good, bad) in [
            (
                Server,
                "COVALENT_LOCAL_WORKERS",
                &["0", "8"][..],
                &["-1", "two"][..],
            ),
            (
                Server,
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
                Server,
                "COVALENT_FLEET_WAIT",
                &["1h", "90", "30min"],
                &["soon", "0", "1.5h"],
            ),
            (
                Worker,
                "COVALENT_SERVER",
                &["server.example.org:48009"],
                &["server", "u@x:1"],
            ),
            (
                Worker,
                "COVALENT_WORKER_ADDRESS",
                &["192.0.2.2", "2001:db8::1"],
                &["gpu1"],
            ),
            (Worker, "COVALENT_WORKER_PROCESSES", &["8"], &["0", "all"]),
            (
                Worker,
                "COVALENT_WORKER_MEMORY",
                &["8G", "512M", "1000"],
                &["much", "-1G", "8GB"],
            ),
            (
                Worker,
                "COVALENT_WORKER_RESOURCES",
                &["GPU=1", "GPU=2, BIG_ONE=10"],
                &["GPU", "GPU=x", "=1", "GPU=0", "A=1 B=2"],
            ),
            (
                Worker,
                "COVALENT_WORKER_PORTS",
                &["48010-48109", "1-1"],
                &["48010", "2-1", "0-5", "1-70000"],
            ),
        ] {
            for value in good {
                assert_eq!(problem_of(role, name, value), None, "{name}={value}");
            }
            for value in bad {
                let (severity, text) = problem_of(role, name, value).unwrap();
                assert_eq!(severity, Severity::Harmful, "{name}={value}");
                assert!(text.contains(value), "{text}");
            }
        }
        // The server's are none of a worker's.
        let (_, text) = problem_of(Worker, "COVALENT_SVC_PORT", "1").unwrap();
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

    #[test]
    fn the_shipped_file_documents_every_variable_and_no_other() {
        for ((role, shipped), variables) in SHIPPED.iter().zip([VARIABLES, WORKER_VARIABLES]) {
            let mut documented: Vec<&str> = shipped
                .lines()
                .filter_map(|line| line.strip_prefix('#'))
                .filter(|line| !line.starts_with([' ', '#']))
                .filter_map(|line| line.split_once('='))
                .map(|(name, _)| name)
                .collect();
            let mut known: Vec<&str> = variables
                .iter()
                .filter(|(_, kind)| !matches!(kind, Value::Discouraged(_)))
                .map(|(name, _)| *name)
                .collect();
            documented.sort_unstable();
            known.sort_unstable();
            assert_eq!(documented, known, "{role:?}");
        }
    }

    #[test]
    fn the_shipped_file_has_no_problem_as_it_is_and_with_every_line_in_force() {
        for (role, shipped) in SHIPPED {
            let in_force: String = shipped
                .lines()
                .map(|line| match line.strip_prefix('#') {
                    Some(rest) if !rest.starts_with([' ', '#']) => rest,
                    _ => line,
                })
                .flat_map(|line| [line, "\n"])
                .collect();
            for text in [shipped, &in_force] {
                let (assignments, problems) = super::super::parse::parse(text.as_bytes(), &|| true);
                assert_eq!(problems, []);
                assert_eq!(check(role, &assignments), []);
            }
        }
    }
}
