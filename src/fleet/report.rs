//! How the workers are, as the server's launcher says: the account's word.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::system::host::Host;
use crate::unprivileged;

/// Bytes of the report that are read: thousands of workers have less.
const SIZE_LIMIT: u64 = 4 << 20;

/// Characters of a reason that are shown.
const REASON: usize = 500;

/// A day: an earlier time is shown with its date.
const DAY: i64 = 24 * 60 * 60;

/// What the launcher writes (`server/covalent_service/`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The workers that have been seen since the server's start, by their names.
    pub workers: BTreeMap<String, Worker>,
    /// How many tasks wait for something that no worker has, by its name.
    pub waiting: BTreeMap<String, u64>,
}

/// How a worker is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It computes.
    Running,
    /// It gets no new tasks.
    Draining,
    /// The server has not let it in.
    Refused,
    /// Its connection has ended.
    Gone,
    /// Something else, as a later version may say.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A worker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// How it is.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub since: f64,
    /// How many tasks it runs.
    pub busy: u64,
    /// How many it can run at a time.
    pub slots: u64,
    /// What tasks can ask for by name.
    pub resources: BTreeMap<String, f64>,
    /// Why it was refused.
    pub reason: String,
}

impl Report {
    /// Reads it; nothing where no server has written one.
    pub fn read(host: &Host) -> Option<Report> {
        let text = unprivileged::read(&host.fleet_report(), SIZE_LIMIT).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// `2 tasks wait for GPU: no worker has it`, for each of them.
    pub fn shortages(&self) -> impl Iterator<Item = String> {
        self.waiting.iter().map(|(name, count)| match count {
            1 => format!("1 task waits for {name}: no worker has it"),
            _ => format!("{count} tasks wait for {name}: no worker has it"),
        })
    }
}

impl Worker {
    /// How it is, in words.
    pub fn sentence(&self, now: Timestamp) -> String {
        let Worker { busy, slots, .. } = self;
        match self.state {
            State::Running => {
                let resources = self.resources.iter();
                let resources = resources.map(|(name, count)| format!("  {name}={count}"));
                format!(
                    "running  {busy} of {slots} busy{}",
                    resources.collect::<String>()
                )
            }
            State::Draining => format!("draining: {busy} of {slots} busy"),
            State::Refused => {
                let reason: String = self.reason.chars().take(REASON).collect();
                format!("refused: {reason}")
            }
            State::Gone => format!("gone since {}", clock(self.since, now)),
            State::Unknown => "unknown: this covalentctl is older than the server".into(),
        }
    }
}

/// `14:05 UTC`, and the date of what was on another day.
#[expect(clippy::cast_possible_truncation, reason = "fractions are cut off")]
fn clock(seconds: f64, now: Timestamp) -> String {
    let Ok(when) = Timestamp::from_second(seconds as i64) else {
        return "an unknown time".into();
    };
    let is_today = now.as_second() - when.as_second() < DAY;
    let form = if is_today {
        "%H:%M UTC"
    } else {
        "%Y-%m-%d %H:%M UTC"
    };
    when.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Report> {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        let path = host.fleet_report();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        Report::read(&host)
    }

    #[test]
    fn each_state_has_its_words() {
        let text = r#"{"workers": {
            "gpu1": {"state": "running", "since": 1, "busy": 3, "slots": 8, "resources": {"GPU": 1.0},
                     "address": "192.0.2.2", "reason": ""},
            "w2": {"state": "refused", "reason": "python 3.12 here, 3.11 there"},
            "w3": {"state": "gone", "since": 1795701900.5},
            "w4": {"state": "draining", "busy": 1, "slots": 2},
            "w5": {"state": "dancing"}}, "waiting": {"GPU": 2, "TPU": 1}}"#;
        let report = read(text).unwrap();
        let said = |name: &str, now: &str| report.workers[name].sentence(now.parse().unwrap());
        let now = "2026-11-26T15:00:00Z";
        assert_eq!(said("gpu1", now), "running  3 of 8 busy  GPU=1");
        assert_eq!(said("w2", now), "refused: python 3.12 here, 3.11 there");
        assert_eq!(said("w3", now), "gone since 14:05 UTC");
        assert_eq!(
            said("w3", "2026-11-28T15:00:00Z"),
            "gone since 2026-11-26 14:05 UTC"
        );
        assert_eq!(said("w4", now), "draining: 1 of 2 busy");
        assert!(said("w5", now).starts_with("unknown"));
        let shortages: Vec<String> = report.shortages().collect();
        assert_eq!(
            shortages,
            [
                "2 tasks wait for GPU: no worker has it",
                "1 task waits for TPU: no worker has it"
            ]
        );
    }

    #[test]
    fn what_is_no_report_is_none() {
        for text in [
            "",
            "{",
            r#"{"workers": 1}"#,
            r#"{"workers": {"a": {"busy": -1}}}"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(5 << 20));
        assert!(read(&long).is_none());
        assert!(read("{}").unwrap().workers.is_empty());
    }
}
