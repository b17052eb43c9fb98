//! `covalentctl doctor`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::terminal::colour;
use crate::doctor::{Verdict, examine};
use crate::system::failure::Kind;
use crate::system::host::Host;
use crate::system::print;
use crate::system::terminal::Colour;

/// Check everything that can be wrong, and say how to fix it
///
/// Prints one line for each check. A check that failed is followed by the cause and the command
/// that helps. The exit status is 11 if anything is wrong. doctor reads every file of the
/// environment, and asks the package index if one is needed. Checks that only root can do are
/// marked as such.
#[derive(Args, Debug)]
pub struct Doctor {}

impl Doctor {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        let paint = colour();
        let mut wrong = 0;
        for check in examine(host) {
            let (word, code) = match check.verdict {
                Verdict::Good(_) => ("good", 32),
                Verdict::Doubtful { .. } => ("warn", 33),
                Verdict::Bad { .. } => ("BAD ", 31),
                Verdict::Skipped(_) => ("skip", 2),
            };
            let word = if paint {
                Colour(code).of(word)
            } else {
                word.to_string()
            };
            match &check.verdict {
                Verdict::Good(text) | Verdict::Skipped(text) => {
                    print::answer(format_args!("{word}  {}: {text}\n", check.name))?;
                }
                Verdict::Doubtful { cause, cure } | Verdict::Bad { cause, cure } => {
                    let name = check.name;
                    print::answer(format_args!(
                        "{word}  {name}: {cause}\n      Next: {cure}\n"
                    ))?;
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
