//! What the variables of a file of variables may hold.

use super::problem::{Assignment, Problem, Severity};
use crate::system::file::resolved;
use crate::system::host::Host;
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
    /// Anything.
    Text,
    /// Anything; and setting it does harm, for the reason given.
    Discouraged(&'static str),
}

/// A file of variables as it is shipped. Every such file is checked by its table, and has a manual
/// page that is made from both.
#[derive(Debug)]
pub struct Shipped {
    /// Its name, below `/etc/covalent` and, as it is shipped, below `/usr/share/covalent`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Every variable that has an effect, and what it may hold.
    pub variables: &'static [(&'static str, Value)],
}

impl Shipped {
    /// What the variable `name` may hold, if it has an effect.
    pub fn value(&self, name: &str) -> Option<Value> {
        let mut variables = self.variables.iter();
        variables
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }
}

/// Every file of variables.
pub const FILES: &[&Shipped] = &[&SERVER];

/// That of Covalent's server.
pub const SERVER: Shipped = Shipped {
    name: "covalent.env",
    about: "the environment of the Covalent server",
    text: include_str!("../../../systemd/covalent.env"),
    variables: SERVERS,
};

const SERVERS: &[(&str, Value)] = &[
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
            Value::Text | Value::Discouraged(_) => true,
        }
    }
}

/// Checks every assignment of a file.
pub(super) fn check(file: &Shipped, assignments: &[Assignment]) -> Vec<Problem> {
    let checked = assignments.iter().filter_map(|assignment| {
        let (severity, text) = check_one(file, assignment)?;
        Some(Problem {
            line: assignment.line,
            severity,
            text,
        })
    });
    checked.collect()
}

/// What is put where the unit's sandbox hides it: the server would start with nothing of it.
pub(super) fn hidden(host: &Host, file: &Shipped, assignments: &[Assignment]) -> Vec<Problem> {
    let is_written =
        |name: &str| file.value(name) == Some(Value::Path) && name != "SHELL" || name == "HOME";
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

fn check_one(file: &Shipped, assignment: &Assignment) -> Option<(Severity, String)> {
    let Assignment { name, value, .. } = assignment;
    let Some(kind) = file.value(name) else {
        // Other variables are for tasks and plugins, and nobody can know them all.
        let ours = name.starts_with("COVALENT_");
        let all = format!("/usr/share/covalent/{}", file.name);
        let text = format!("{name} has no effect; {all} lists all");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, value: &str) -> Option<(Severity, String)> {
        let assignment = Assignment {
            line: 3,
            name: name.into(),
            value: value.into(),
        };
        check_one(&SERVER, &assignment)
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
    fn a_variable_that_nobody_reads_is_harmless_and_other_programs_are_left_alone() {
        let (severity, text) = problem("COVALENT_SVC_PROT", "1").unwrap();
        assert_eq!(severity, Severity::Harmless);
        assert!(text.contains("has no effect"));
        assert_eq!(problem("AWS_PROFILE", "x"), None);
        let (severity, _) = problem("COVALENT_PLUGIN_LOAD", "yes").unwrap();
        assert_eq!(severity, Severity::Harmless);
    }

    /// The text of a shipped file with every example in force.
    fn in_force(file: &Shipped) -> String {
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
