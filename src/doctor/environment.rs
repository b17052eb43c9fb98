//! The environment, and the interpreter that it needs.

use super::verdict::{Verdict, bad, doubtful, first, from_error, good, shown, skipped};
use crate::environment::generation::{Damage, Generation, changes, damage};
use crate::environment::source;
use crate::environment::state::{Held, State};
use crate::environment::wanted::Wanted;
use crate::settings::Settings;
use crate::system::host::Host;

/// Whether there is an interpreter that Covalent runs on.
pub(super) fn interpreter(host: &Host) -> Verdict {
    match wanted(host) {
        Ok(wanted) => good(format!(
            "Python {} ({})",
            wanted.interpreter.version_text(),
            wanted.interpreter.path.display()
        )),
        Err(error) => from_error(&error),
    }
}

/// Whether the environment is the one that is wanted.
pub(super) fn environment(host: &Host) -> Verdict {
    let path = host.environment().display().to_string();
    let Some(generation) = Generation::active(host) else {
        let failure = State::read(host).ok().and_then(|state| state.failure);
        return match failure {
            Some(failed) => bad(
                format!("{path} could not be built: {}", failed.message),
                failed.next,
            ),
            None => bad(
                format!("{path} has not been built"),
                "sudo covalentctl apply",
            ),
        };
    };
    if !generation.runs() {
        return bad(
            format!(
                "{path} was built for Python {} ({}), which is gone or has another version now",
                generation.manifest.interpreter.version_text(),
                generation.manifest.interpreter.path.display()
            ),
            "sudo covalentctl apply",
        );
    }
    let state = match State::read(host) {
        Ok(state) => state,
        Err(error) => return from_error(&error),
    };
    if let Some(failed) = state.failure {
        return doubtful(
            format!(
                "it works, but a newer one could not be made: {}",
                failed.message
            ),
            failed.next,
        );
    }
    if !changes(&generation).is_empty() {
        return doubtful(
            "it works, but packages in it were installed, replaced or removed by hand",
            "sudo covalentctl apply",
        );
    }
    let path = generation.path.display();
    match (wanted(host), state.held) {
        (
            _,
            Some(Held {
                generation: id,
                because: Some(failed),
                ..
            }),
        ) if id == generation.manifest.id => {
            doubtful(format!("it works, but {}", failed.message), failed.next)
        }
        (_, Some(held)) if held.generation == generation.manifest.id => {
            good(format!("{path}, kept by covalentctl rollback"))
        }
        (Ok(wanted), _) if wanted.fingerprint != generation.manifest.fingerprint => doubtful(
            "it works, but a lock, the interpreter or a requirement file has changed since",
            "sudo covalentctl apply",
        ),
        _ => good(path.to_string()),
    }
}

/// Whether each file of the environment is what its package has installed.
pub(super) fn packages(host: &Host) -> Verdict {
    let Some(generation) = Generation::active(host) else {
        return skipped("the environment has not been built");
    };
    let damaged = damage(&generation.path);
    if damaged.is_empty() {
        let count = generation.manifest.packages.len();
        return good(format!(
            "every file of {count} packages is as it was installed"
        ));
    }
    let line = |damage: &Damage| {
        let file = shown(&generation.path.join(&damage.file));
        format!("{}: {file} {}", damage.package, damage.what)
    };
    let lines: Vec<String> = damaged.iter().map(line).collect();
    let rebuild = "sudo covalentctl apply --rebuild";
    bad(
        first(&lines),
        if generation.manifest.source == source::INDEX {
            // The files of its cache may be links to those of the environment.
            format!("sudo rm -r {}/*; {rebuild}", host.cache().display())
        } else {
            rebuild.into()
        },
    )
}

fn wanted(host: &Host) -> anyhow::Result<Wanted> {
    let settings = Settings::read(host)?;
    Wanted::read(host, &settings, &mut State::read(host)?)
}
