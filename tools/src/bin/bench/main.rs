//! The figures that are promised, each beside its peer in one run. For scripts/bench.

mod environment;
mod installation;
mod report;
mod repository;
mod service;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// What is measured, and how thoroughly.
#[derive(Parser)]
struct Arguments {
    /// What to measure; without it, everything
    subject: Option<Subject>,

    /// How often the service is started and restarted
    #[arg(long, default_value_t = 10)]
    rounds: u32,

    /// For how many seconds the service is left alone
    #[arg(long, default_value_t = 600)]
    idle: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    Installation,
    Environment,
    Service,
    Repository,
}

fn main() -> Result<()> {
    let Arguments {
        subject,
        rounds,
        idle,
    } = Arguments::parse();
    let wanted = |one| subject.is_none_or(|subject| subject == one);
    if wanted(Subject::Installation) {
        installation::compare()?;
    }
    if wanted(Subject::Environment) {
        environment::compare()?;
    }
    if wanted(Subject::Service) {
        service::compare(rounds, idle)?;
    }
    if wanted(Subject::Repository) {
        repository::compare()?;
    }
    Ok(())
}
