//! What is asked of systemd, where one is running.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::command::Command;
use super::host::Host;
use super::role::Role;

/// A question is answered at once, unless the machine is in trouble.
pub const QUESTION_LIMIT: Duration = Duration::from_secs(30);

/// Whether systemd is the machine's init (sd_booted(3)).
pub fn is_running(host: &Host) -> bool {
    host.is_real() && host.path("/run/systemd/system").is_dir()
}

/// Its version, such as 252; nothing without systemd.
pub fn version(host: &Host) -> Option<u32> {
    if !is_running(host) {
        return None;
    }
    let asked = Command::new("systemctl", QUESTION_LIMIT).args(["--version"]);
    let said = asked.output().ok()?.stdout;
    // systemd 252 (252.39-1~deb12u1)
    said.split_whitespace().nth(1)?.parse().ok()
}

/// Whether the machine is a container (systemd-detect-virt(1)).
pub fn is_in_container() -> bool {
    let asked =
        Command::new("systemd-detect-virt", QUESTION_LIMIT).args(["--container", "--quiet"]);
    asked.output().is_ok_and(|output| output.succeeded())
}

/// Properties of the unit by their names (systemctl(1), `show`); empty without systemd.
pub fn show(host: &Host, properties: &[&str]) -> BTreeMap<String, String> {
    if !is_running(host) {
        return BTreeMap::new();
    }
    let output = Command::new("systemctl", QUESTION_LIMIT)
        .args(["show", "--property", &properties.join(",")])
        .args([Role::of(host).unit()])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// A path as one word of a unit's list (systemd.syntax(7), "Quoting"), in which nothing stands for
/// something else (systemd.unit(5), "Specifiers"). None of a name that would end the line.
pub fn word(path: &Path) -> Option<String> {
    let text = path
        .to_str()
        .filter(|text| !text.contains(char::is_control))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if text.chars().all(is_plain) {
        return Some(text.into());
    }
    let text = text.replace('\\', r"\\").replace('"', "\\\"");
    Some(format!("\"{}\"", text.replace('%', "%%")))
}

/// The words of a property that is a list: one with a space is shown in quotes, and by systemd 239 not at all.
pub fn words(list: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut is_quoted = false;
    let mut rest = list.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' if !is_quoted => words.extend(word.take()),
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(rest.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What a unit does, as its `ActiveState` (systemctl(1)).
pub fn state_of(unit: &str) -> Result<String> {
    let output = Command::new("systemctl", QUESTION_LIMIT)
        .args(["show", "--property", "ActiveState", "--value", unit])
        .run()?;
    Ok(output.stdout.trim().into())
}

/// Ends a transient unit of ours, with everything in it.
pub fn end(unit: &str) {
    let command = Command::new("systemctl", QUESTION_LIMIT).args(["stop", unit]);
    // One that has ended by itself is gone.
    let _ = command.output();
}

/// Becomes journalctl(1) for what the unit has said; what comes back is why that failed.
pub fn logs(host: &Host, options: &[OsString]) -> Result<()> {
    if !is_running(host) {
        bail!(
            "systemd is not running, so there is no journal: what the {} says is on the standard \
             error of `covalentctl serve`",
            Role::of(host).noun()
        );
    }
    Err(Command::in_place("journalctl")
        .args(["--unit", Role::of(host).unit()])
        .args(options)
        .exec())
}

/// What the unit does, as its `ActiveState` (systemctl(1)); nothing without systemd.
pub fn state(host: &Host) -> Result<Option<String>> {
    if !is_running(host) {
        return Ok(None);
    }
    // That systemd can't be asked does not mean that the server does not run.
    let state = show(host, &["ActiveState"]).remove("ActiveState");
    let role = Role::of(host);
    state.map(Some).with_context(|| {
        format!(
            "systemd does not say whether the {} runs: systemctl show {} says why",
            role.noun(),
            role.service()
        )
    })
}

/// Whether the unit runs.
pub fn is_active(host: &Host) -> Result<bool> {
    Ok(state(host)?.is_some_and(|state| state == "active"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_quotes_is_one() {
        let shown = r#"/var/lib "-/srv/my data" "/srv/q\"t\\x\$d" /srv/100%"#;
        let expected = ["/var/lib", "-/srv/my data", r#"/srv/q"t\x$d"#, "/srv/100%"];
        assert_eq!(words(shown), expected);
        assert_eq!(words("").len(), 0);
    }
}
