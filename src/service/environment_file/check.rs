//! Whether a file says what its variables may hold.

use super::form::Form;
use super::problem::{Assignment, Problem, Severity};
use super::value::Value;
use crate::system::file::resolved;
use crate::system::host::Host;
use crate::system::sandbox::{self, Hidden};

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

#[cfg(test)]
mod tests {
    use super::super::form::{FILES, HTTPS, SERVER, WORKER};
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
            ("COVALENT_SVC_PORT", "080", "+80", "1 to 65535"),
            ("COVALENT_HEARTBEAT_INTERVAL", "5", "+5", "above 0"),
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
                &["-1", "+2", "two"][..],
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
                    "[fe80::1]:48009",
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
                &["gpu1", "fe80::1", "fe80::1%eth0"],
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
