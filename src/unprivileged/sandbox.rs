//! The sandbox of the unit, as it is in force: its file, and the drop-ins of the administrator.

use std::fs;

use crate::system::host::Host;
use crate::system::role::Role;
use crate::system::systemd;

/// How the names of the settings begin that are about the life of the server's process, its
/// environment and its output. All others say what its processes may do, or how much.
const ABOUT_THE_SERVER: [&str; 36] = [
    "BusName",
    "Delegate",
    "Environment",
    "Exec",
    "ExitType",
    "FileDescriptor",
    "FinalKill",
    "Group",
    "GuessMainPID",
    "Kill",
    "LogLevelMax",
    "LogRateLimit",
    "NonBlocking",
    "NotifyAccess",
    "OOMPolicy",
    "OpenFile",
    "PassEnvironment",
    "PIDFile",
    "RemainAfterExit",
    "Reload",
    "Restart",
    "RootDirectoryStartOnly",
    "RuntimeDirectory",
    "RuntimeMax",
    "SendSIG",
    "Sockets",
    "Standard",
    "StartLimit",
    "SuccessExitStatus",
    "Syslog",
    "TTY",
    "Timeout",
    "Type",
    "UnsetEnvironment",
    "User",
    "Watchdog",
];

/// Where the server starts; a child starts elsewhere.
const WORKING_DIRECTORY: &str = "WorkingDirectory";

/// The assignments that make up the sandbox, in their order (systemd.exec(5),
/// systemd.resource-control(5)).
pub(super) fn in_force(host: &Host) -> Vec<String> {
    let shown = systemd::show(host, &["FragmentPath", "DropInPaths"]);
    let paths = ["FragmentPath", "DropInPaths"].map(|name| shown.get(name));
    let paths = paths.into_iter().flatten();
    let texts: Vec<String> = paths
        .flat_map(|list| systemd::words(list))
        // What systemd 239 shows in the place of a path with a space is a name in the caller's folder.
        .filter(|path| path.starts_with('/'))
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect();
    let text = match texts.first() {
        Some(unit) if unit.contains("[Service]") => texts.join("\n"),
        // There is none: it was masked, or is not installed yet.
        _ => Role::of(host).unit_file().to_string(),
    };
    assignments(&text)
        .into_iter()
        .filter(|line| {
            let name = line.split('=').next().unwrap_or_default();
            name != WORKING_DIRECTORY
                && !ABOUT_THE_SERVER.iter().any(|start| name.starts_with(start))
        })
        .collect()
}

/// The assignments of `[Service]` in the text of a unit and of its drop-ins (systemd.syntax(7)). A unit that
/// systemd-run(1) makes knows no specifiers: `%%` is `%`.
fn assignments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut section = "";
    let mut begun = String::new();
    for line in text.lines() {
        let line = line.trim();
        // A comment between two parts of a line is left out.
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(part);
            begun.push(' ');
            continue;
        }
        let whole = std::mem::take(&mut begun) + line;
        if whole.starts_with('[') {
            section = line;
        } else if let (true, Some((name, value))) = (section == "[Service]", whole.split_once('='))
        {
            let value = value.trim().replace("%%", "%");
            found.push(format!("{}={value}", name.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_packages_sandbox_is_passed_on_and_none_before_it() {
        let passed = in_force(&Host::at("/nowhere"));
        let packaged = Role::Server.unit_file();
        let (before, sandbox) = packaged.split_once("# The sandbox.").unwrap();
        let lines: Vec<&str> = sandbox
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        for line in lines.iter().filter(|line| line.contains('=')) {
            assert!(passed.iter().any(|passed| passed == line), "{line}");
        }
        let limits = ["LimitCORE=0", "LimitNOFILE=65536", "OOMScoreAdjust"];
        for line in before
            .lines()
            .filter(|line| passed.iter().any(|passed| passed == line))
        {
            assert!(limits.iter().any(|limit| line.starts_with(limit)), "{line}");
        }
    }

    #[test]
    fn a_drop_in_adds_and_takes_back() {
        let text = "[Unit]\nAfter=a\n[Service]\nReadWritePaths=/a \\\n# why\n  /b\n\
                    [Install]\nWantedBy=c\n\n[Service]\n ReadWritePaths = \n\
                    ReadWritePaths=\"/100%% c\"\nSupplementaryGroups=d\n";
        let expected = [
            "ReadWritePaths=/a  /b",
            "ReadWritePaths=",
            "ReadWritePaths=\"/100% c\"",
            "SupplementaryGroups=d",
        ];
        assert_eq!(assignments(text), expected);
    }
}
