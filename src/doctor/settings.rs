//! What the administrator has set.

use anyhow::Result;

use super::verdict::{Verdict, bad, doubtful, from_error, good};
use crate::service::environment_file::{EnvironmentFile, Severity};
use crate::settings::Settings;
use crate::system::host::Host;

/// Whether `covalentctl.toml` can be used.
pub(super) fn settings(host: &Host) -> Verdict {
    match Settings::read(host) {
        Ok(_) => good(host.settings().display().to_string()),
        Err(error) => from_error(&error),
    }
}

/// Whether each line of `covalent.env`, or of a worker's `worker.env`, does what its author meant.
pub(super) fn environment_file(host: &Host) -> Verdict {
    judged(EnvironmentFile::read(host))
}

/// The same for any of these files.
pub(super) fn judged(file: Result<EnvironmentFile>) -> Verdict {
    let file = match file {
        Ok(file) => file,
        Err(error) => return from_error(&error),
    };
    if !file.path.exists() {
        return doubtful(
            format!(
                "{} is missing, so the defaults are used",
                file.path.display()
            ),
            format!(
                "install -m 0640 {} /etc/covalent/, unless that is meant",
                file.form.shipped()
            ),
        );
    }
    let lines = |severity| file.describe(severity).join("\n      ");
    let cure = file.cure();
    let (harmful, harmless) = (lines(Severity::Harmful), lines(Severity::Harmless));
    if !harmful.is_empty() {
        bad(harmful, cure)
    } else if !harmless.is_empty() {
        doubtful(harmless, cure)
    } else {
        good(file.path.display().to_string())
    }
}
