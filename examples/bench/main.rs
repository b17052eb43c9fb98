//! The figures that are promised, each beside its peer in one run. For scripts/bench.

mod environment;
mod installation;
mod report;
mod repository;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => {
            installation::compare()?;
            environment::compare()?;
            repository::compare()
        }
        Some("installation") => installation::compare(),
        Some("environment") => environment::compare(),
        Some("repository") => repository::compare(),
        Some(other) => {
            bail!("there is no {other}; there are: installation, environment, repository")
        }
    }
}
