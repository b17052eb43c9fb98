//! What a failed run of uv means for an administrator.
//!
//! uv has one exit status for everything, so its words have to tell; each was seen with the version
//! that the package ships, and the whole output stays in the message.

use super::requirement;
use super::requirement_file::RequirementFile;
use super::source::Source;
use super::wanted::Wanted;
use crate::system::command::CommandFailed;
use crate::system::failure::{self, Failure, Kind};
use crate::system::host::Host;
use crate::system::space;

/// Turns a failed run of uv into the error that an administrator can act on.
pub fn diagnose(error: anyhow::Error, source: &Source) -> anyhow::Error {
    let error = space::diagnose(error);
    let Some(failed) = error.downcast_ref::<CommandFailed>() else {
        return error;
    };
    let words = failed.output.stderr.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&["hash mismatch", "no `--hash`"]) || damaged(&words) {
        Failure::error(
            Kind::Wheel,
            format!(
                "{} from {source} is damaged or is not the wheel in the lock: {failed}",
                pin(&failed.output.stderr).unwrap_or("a file")
            ),
            match source {
                Source::Wheelhouse(_) => {
                    "install the package that holds it again (apt-get install --reinstall \
                     covalent-wheels, or dnf reinstall covalent-wheels)"
                }
                Source::Index(..) => {
                    "ask whoever runs the package index why it serves another file"
                }
            },
        )
    } else if contradicts(&words) {
        Failure::error(
            Kind::Settings,
            format!("the requirement files can't be met: {failed}"),
            "correct the requirement that is named above, in the .txt files of \
             /etc/covalent/requirements.d, then: covalentctl apply",
        )
    } else {
        Failure::error(
            Kind::Source,
            format!("could not get the wheels from {source}: {failed}"),
            "install covalent-wheels (apt-get install covalent-wheels, or dnf install \
             covalent-wheels) and with plugins covalent-plugin-wheels, or correct [index] in \
             /etc/covalent/covalentctl.toml, then: covalentctl apply",
        )
    }
}

/// Adds to a contradiction between requirements who wants what.
pub fn explain(error: anyhow::Error, wanted: &Wanted) -> anyhow::Error {
    let Some(failure) = failure::find(&error).filter(|failure| failure.kind == Kind::Settings)
    else {
        return error;
    };
    // uv's own words, not the command line before them.
    let Some((_, reasons)) = failure.message.split_once("No solution found") else {
        return error;
    };
    let mut parties = Vec::new();
    for RequirementFile { path, text } in wanted.requirements.iter().chain(&wanted.locks) {
        let entries = text.replace(" \\\n", "\n");
        for (line, text, name) in requirement::in_file(&entries) {
            if mentions(reasons, &name) {
                let wish = requirement::shown(text);
                parties.push(format!("{}:{line} wants {wish}", path.display()));
            }
        }
    }
    if parties.is_empty() {
        return error;
    }
    Failure::error(
        Kind::Settings,
        format!("{}\n  {}", failure.message, parties.join("\n  ")),
        failure.next.clone(),
    )
}

/// Says of a package of the administrator's that no source has what can be done about it.
pub fn explain_lack(error: anyhow::Error, wanted: &Wanted) -> anyhow::Error {
    let Some(failure) = failure::find(&error) else {
        return error;
    };
    let Some((_, reasons)) = failure.message.split_once("No solution found") else {
        return error;
    };
    let mut own = wanted.requirements.iter();
    let own = own
        .any(|file| requirement::in_file(&file.text).any(|(_, _, name)| mentions(reasons, &name)));
    if own && failure.kind == Kind::Source {
        Failure::error(
            Kind::Source,
            failure.message.clone(),
            "put its wheel into a folder that wheels = [...] names below [index] in \
             /etc/covalent/covalentctl.toml, or let a package index be asked there, \
             then: covalentctl apply",
        )
    } else {
        error
    }
}

/// Whether uv's words are about this package.
fn mentions(words: &str, name: &str) -> bool {
    words
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .any(|word| requirement::normalize(word) == name)
}

/// The requirement that uv's words are about, such as `click==8.5.1`.
fn pin(words: &str) -> Option<&str> {
    words
        .split('`')
        .find(|word| word.contains("==") && !word.contains(char::is_whitespace))
}

fn damaged(words: &str) -> bool {
    [
        "failed to read",
        "failed to extract",
        "failed to unzip",
        "invalid zip",
        "zip archive",
        "zip file",
    ]
    .iter()
    .any(|part| words.contains(part))
}

/// One error out of those of two sources: what the first one lacked is named in its own.
pub fn neither(first: anyhow::Error, second: anyhow::Error) -> anyhow::Error {
    match (failure::find(&first), failure::find(&second)) {
        (Some(lack), Some(last)) if last.kind == Kind::Source => Failure::error(
            Kind::Source,
            format!("{}\n  {}", lack.message, last.message),
            last.next.clone(),
        ),
        _ => second,
    }
}

/// Whether the requirements contradict each other or the lock, or are no requirements, which no
/// source can help with. A package that a source lacks reads much the same.
fn contradicts(words: &str) -> bool {
    let lacks = [
        "was not found",
        "no versions of",
        "was disabled",
        "there is no version",
    ];
    let malformed = [
        "couldn't parse requirement",
        "or the start of a requirement",
    ];
    malformed.iter().any(|part| words.contains(part))
        || (words.contains("no solution found") && !lacks.iter().any(|part| words.contains(part)))
}

/// The error where nothing may be tried.
pub fn none_allowed(host: &Host) -> anyhow::Error {
    Failure::error(
        Kind::Source,
        format!(
            "there are no wheels in {}, and {} says network = \"never\"",
            host.wheelhouse().display(),
            host.settings().display()
        ),
        "install covalent-wheels (apt-get install covalent-wheels, or dnf install \
         covalent-wheels), or allow the network, then: covalentctl apply",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::command::Command;

    #[test]
    fn what_uv_says_decides_the_kind() {
        let source = Source::Wheelhouse(Vec::new());
        for (words, kind, part) in [
            (
                "Failed to download `click==8.5.1`\n  Hash mismatch for",
                Kind::Wheel,
                "click==8.5.1 from",
            ),
            (
                "Failed to extract archive: a.whl",
                Kind::Wheel,
                "a file from the wheelhouse",
            ),
            (
                "Failed to download `click==8.5.1`\n  No space left on device (os error 28)",
                Kind::Space,
                "the file system is full",
            ),
            (
                "No solution found when resolving dependencies:\n  Because zipstream-ng was not \
                 found in the provided package locations",
                Kind::Source,
                "zipstream-ng was not",
            ),
            (
                "No solution found when resolving dependencies:\n  Because you require click<1 \
                 and click==8.5.1, we can conclude that your requirements are unsatisfiable.",
                Kind::Settings,
                "can't be met",
            ),
            (
                "Unexpected '=', expected '-c', '-e', '-r' or the start of a requirement: local.txt:1:1",
                Kind::Settings,
                "local.txt",
            ),
            (
                "Because click was not found in the provided",
                Kind::Source,
                "click was not found",
            ),
        ] {
            let script = format!("cat >&2 <<'END'\n{words}\nEND\nexit 1");
            let command = Command::new("/bin/sh", std::time::Duration::from_secs(5));
            let error = diagnose(command.args(["-c", &script]).run().unwrap_err(), &source);
            assert_eq!(failure::find(&error).unwrap().kind, kind, "{words}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
