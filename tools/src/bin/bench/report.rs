//! What is printed: seconds, sums, and ratios with their goals.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A step and how long it took.
pub type Step = (&'static str, Duration);

/// Does it, and says how long it took.
pub fn time<T>(what: &'static str, work: impl FnOnce() -> Result<T>) -> Result<Step> {
    let start = Instant::now();
    work().context(what)?;
    Ok((what, start.elapsed()))
}

/// Prints the steps and their sum, and returns it in seconds.
pub fn report(title: &str, steps: &[Step]) -> f64 {
    println!("\n{title}");
    for (what, taken) in steps {
        println!("{:8.2} s  {what}", taken.as_secs_f64());
    }
    let sum = steps.iter().map(|(_, taken)| taken.as_secs_f64()).sum();
    println!("{sum:8.2} s  in all");
    sum
}

/// Prints rows of figures, each with what they are.
pub fn table(title: &str, rows: &[(&str, &[f64])]) {
    println!("\n{title}");
    for (what, figures) in rows {
        for figure in *figures {
            print!("{figure:9.3}");
        }
        println!("  {what}");
    }
}

/// Prints a figure that may be at most `goal`, and whether it is.
pub fn verdict(what: &str, value: f64, goal: f64) {
    let word = if value <= goal { "met" } else { "missed" };
    println!("\n{what}: {value:.3} (goal: at most {goal:.3}, {word})");
}
