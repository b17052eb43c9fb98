//! `covalentctl doctor`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::status::colour;
use crate::doctor::{Verdict, examine};
use crate::failure::Kind;
use crate::host::Host;
use crate::state::needs_root;

/// Look for everything that can be wrong, and say what to type
///
/// One line a check: what was looked at and how it is; below a bad one, the cause and the cure.
/// Exits with 11 if anything is wrong. Needs root: it reads files that nobody else may.
#[derive(Args, Debug)]
pub struct Doctor {}

impl Doctor {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        if host.is_real() && !rustix::process::geteuid().is_root() {
            return Err(needs_root("looking at every file"));
        }
        let paint = colour();
        let mut wrong = 0;
        for check in examine(host) {
            let (word, code) = match check.verdict {
                Verdict::Good(_) => ("good", "32"),
                Verdict::Doubtful { .. } => ("look", "33"),
                Verdict::Bad { .. } => ("BAD ", "31"),
            };
            let word = match paint {
                true => format!("\x1b[{code}m{word}\x1b[0m"),
                false => word.to_string(),
            };
            match &check.verdict {
                Verdict::Good(text) => println!("{word}  {}: {text}", check.name),
                Verdict::Doubtful { cause, cure } | Verdict::Bad { cause, cure } => {
                    println!("{word}  {}: {cause}\n      Next: {cure}", check.name);
                }
            }
            wrong += usize::from(matches!(check.verdict, Verdict::Bad { .. }));
        }
        Ok(match wrong {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::from(Kind::Unhealthy.exit_status()),
        })
    }
}
