//! The figures that are promised, each beside its peer in one run. For scripts/bench.

mod access;
mod dispatch;
mod environment;
mod fleet;
mod https;
mod installation;
mod report;
mod repository;
mod service;
mod verbs;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

/// What is measured, and how thoroughly.
#[derive(Parser)]
struct Arguments {
    /// What to measure; without it, everything
    subject: Option<Subject>,

    /// How often the service is started and restarted
    #[arg(long, default_value_t = 10)]
    rounds: u32,

    /// Dispatch 3,000 tasks in one workflow, 200 workflows, beside 10,000 finished ones, and on PostgreSQL, too
    #[arg(long)]
    wide: bool,

    /// Of dispatch and fleet, only the rows with this in their names; it can be given several times
    #[arg(long)]
    row: Vec<String>,

    /// For how many seconds the service is left alone
    #[arg(long, default_value_t = 600)]
    idle: u64,

    /// An earlier covalentctl, to measure what the verbs took with it: target/stage/covalentctl of
    /// an earlier build
    #[arg(long)]
    earlier: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    Installation,
    Environment,
    Service,
    Dispatch,
    Access,
    Fleet,
    Repository,
    Verbs,
}

fn main() -> Result<()> {
    let Arguments {
        subject,
        rounds,
        wide,
        row,
        idle,
        earlier,
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
    if wanted(Subject::Dispatch) {
        dispatch::compare(wide, &row)?;
    }
    if wanted(Subject::Access) {
        access::compare()?;
        https::compare(rounds)?;
    }
    if wanted(Subject::Fleet) {
        fleet::compare(&row)?;
    }
    if wanted(Subject::Repository) {
        repository::compare()?;
    }
    match earlier {
        Some(earlier) if wanted(Subject::Verbs) => verbs::compare(&earlier, rounds)?,
        None if subject == Some(Subject::Verbs) => {
            bail!("verbs are measured beside --earlier FILE")
        }
        _ => {}
    }
    Ok(())
}
