//! Finding a machine's first process among the host's processes.

use std::collections::HashMap;
use std::fs;

/// A process as proc_pid_status(5) tells it.
struct Process {
    parent: u32,
    /// Its number in each process namespace, ours first.
    numbers: Vec<u32>,
}

/// The first process of the machine that runs under the process `supervisor`.
///
/// Its number is 1 in the innermost of three namespaces: ours, the
/// supervisor's, and the machine's.
pub(crate) fn find(supervisor: u32) -> Option<u32> {
    let processes = processes();
    let depth = processes.get(&supervisor)?.numbers.len() + 2;
    processes
        .iter()
        .filter(|(_, process)| process.numbers.len() == depth && process.numbers.last() == Some(&1))
        .find(|(number, _)| descends(&processes, **number, supervisor))
        .map(|(number, _)| *number)
}

/// The parent of a process, if it is there.
pub(crate) fn parent(number: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    parse(&status).map(|process| process.parent)
}

fn descends(processes: &HashMap<u32, Process>, from: u32, ancestor: u32) -> bool {
    let mut number = from;
    while let Some(process) = processes.get(&number) {
        if process.parent == ancestor {
            return true;
        }
        number = process.parent;
    }
    false
}

/// All processes that this one can see. Those that end meanwhile are left out.
fn processes() -> HashMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((
                number,
                parse(&fs::read_to_string(path.join("status")).ok()?)?,
            ))
        })
        .collect()
}

fn parse(status: &str) -> Option<Process> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    Some(Process {
        parent: field("PPid:")?.trim().parse().ok()?,
        numbers: field("NSpid:")?
            .split_whitespace()
            .map_while(|n| n.parse().ok())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let process = parse("Name:\tsystemd\nPPid:\t1634\nNSpid:\t1636\t7\t1\n").unwrap();
        assert_eq!((process.parent, process.numbers), (1634, vec![1636, 7, 1]));
    }

    #[test]
    fn descent_is_followed_to_the_end() {
        let process = |parent| Process {
            parent,
            numbers: vec![],
        };
        let tree = HashMap::from([
            (2, process(1)),
            (3, process(2)),
            (4, process(3)),
            (9, process(0)),
        ]);
        assert!(descends(&tree, 4, 2));
        assert!(!descends(&tree, 9, 2));
    }
}
