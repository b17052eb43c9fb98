//! What a first installation takes over by itself.

use anyhow::Result;

use super::in_place::{Plan, adopt, runs_as_another};
use super::unit::replaced;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;

/// Takes over what a Covalent that was set up by hand has at the places of the package; says what that
/// is, and what is left to be typed. A worker has no server that could go on with it.
pub fn at_installation(host: &Host, progress: &Progress) -> Result<()> {
    if !host.first_installation().exists() || Role::of(host) == Role::Worker {
        return Ok(());
    }
    let plan = Plan::of(host)?;
    if let Some(unit) = &plan.unit {
        progress.warn(&format!(
            "{} hides the package's unit, so its server keeps running as before; to switch to the package: \
             sudo covalentctl adopt",
            unit.display()
        ));
        return Ok(());
    }
    if plan.has_data() || runs_as_another(host)? {
        adopt(host, &plan, progress)?;
    }
    if let Some(unit) = replaced(host) {
        progress.say(&format!("the previous unit is now {}", unit.copy.display()));
        if !unit.variables.is_empty() {
            progress.warn(&format!(
                "it set {}, which the package's does not: write that into /etc/covalent/covalent.env if \
                 it is meant to stay",
                unit.variables.join(" ")
            ));
        }
    }
    Ok(())
}
