//! What the helper remembers: one JSON file.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::interpreter::Probes;
use super::requirement::Versions;
use crate::system::failure;
use crate::system::file;
use crate::system::host::Host;

/// The remembered state.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub struct State {
    /// What interpreters answered.
    pub interpreters: Probes,
    /// Why the newest attempt failed, until one succeeds.
    pub failure: Option<FailedAttempt>,
    /// What somebody installed into an environment by hand: part of every later one.
    pub carried: Versions,
    /// The generation that the administrator went back to.
    pub held: Option<Held>,
    /// The generation that was active before the current one.
    pub previous: Option<String>,
}

/// A generation that stays the active one although it is not what is wanted.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Held {
    /// The generation's name.
    pub generation: String,
    /// The fingerprint of what was wanted then: as long as that is all, the generation stays.
    pub instead_of: Option<String>,
    /// Why, if it was not the administrator who went back: the server could not start.
    #[serde(default)]
    pub because: Option<FailedAttempt>,
}

/// An attempt to build what is wanted that failed.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct FailedAttempt {
    /// When it failed.
    pub when: Timestamp,
    /// The kind's name, or `other`.
    pub kind: String,
    /// What happened and why.
    pub message: String,
    /// What to type next; empty where that is unknown.
    pub next: String,
    /// The fingerprint of what was wanted, where it was known.
    pub fingerprint: Option<String>,
}

impl FailedAttempt {
    /// The record of `error`.
    pub fn new(error: &anyhow::Error, fingerprint: Option<String>) -> FailedAttempt {
        let failure = failure::find(error);
        FailedAttempt {
            when: Timestamp::now(),
            kind: failure.map_or_else(|| "other".into(), |failure| failure.kind.name()),
            message: failure::describe(error),
            next: failure.map_or_else(String::new, |failure| failure.next.clone()),
            fingerprint,
        }
    }
}

impl State {
    /// Reads the file; a missing one is an empty one. Each field for itself: what another version
    /// wrote in another form is as if it were not there, and costs none of the others.
    pub fn read(host: &Host) -> Result<State> {
        fn field<T: DeserializeOwned + Default>(state: &mut serde_json::Value, name: &str) -> T {
            serde_json::from_value(state[name].take()).unwrap_or_default()
        }
        let path = host.state().join("state.json");
        // One that can't be read, taken for an empty one, would be lost with the next that is written.
        let text = file::read(&path)?.unwrap_or_default();
        let Ok(mut state @ serde_json::Value::Object(_)) = serde_json::from_slice(&text) else {
            return Ok(State::default());
        };
        Ok(State {
            interpreters: field(&mut state, "interpreters"),
            failure: field(&mut state, "failure"),
            carried: field(&mut state, "carried"),
            held: field(&mut state, "held"),
            previous: field(&mut state, "previous"),
        })
    }

    /// Writes the file.
    pub fn write(&self, host: &Host) -> Result<()> {
        file::make_folder(&host.state(), 0o755)?;
        let text = serde_json::to_vec_pretty(self).context("writing the state as JSON")?;
        file::write(&host.state().join("state.json"), &text, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::failure::{Failure, Kind};
    use std::fs;

    #[test]
    fn what_is_written_is_read_again() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        assert!(State::read(&host).unwrap().failure.is_none());
        let error = Failure::error(Kind::Space, "/opt is full", "make space");
        let state = State {
            failure: Some(FailedAttempt::new(&error, Some("f00".into()))),
            ..State::default()
        };
        state.write(&host).unwrap();
        let failure = State::read(&host).unwrap().failure.unwrap();
        assert_eq!(
            (failure.kind.as_str(), failure.next.as_str()),
            ("space", "make space")
        );
    }

    #[test]
    fn a_file_of_another_version_or_a_damaged_one_stops_nobody() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.state()).unwrap();
        for text in ["{\"from_the_future\": 1}", "{", ""] {
            fs::write(host.state().join("state.json"), text).unwrap();
            assert!(State::read(&host).unwrap().interpreters.is_empty());
        }
    }

    #[test]
    fn a_field_in_another_form_costs_none_of_the_others() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.state()).unwrap();
        let text = r#"{"failure": {"new": 1}, "carried": {"six": "1.0"}, "previous": "a"}"#;
        fs::write(host.state().join("state.json"), text).unwrap();
        let state = State::read(&host).unwrap();
        assert_eq!(state.carried["six"], "1.0");
        assert_eq!(state.previous.as_deref(), Some("a"));
        assert!(state.failure.is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_an_empty_one() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        fs::create_dir_all(host.state().join("state.json")).unwrap();
        let error = State::read(&host).unwrap_err();
        assert!(format!("{error:#}").contains("state.json"), "{error:#}");
    }
}
