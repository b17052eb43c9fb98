//! Kills and full disks at every step: what is left is never half of something.
//!
//! The real uv and the real Python build small environments on a file system of their own, which
//! is mounted from a file. Needs root, and what scripts/build has left in target.

mod file_system;
mod tree;

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use covalentctl::system::failpoint;
use rustix::fs::{IFlags, ioctl_getflags};

use crate::tree::{Found, Tree};

/// How many random moments of a run are tried.
const RANDOM_KILLS: u32 = 110;

/// How many of a file system that runs full.
const RANDOM_FILLS: u32 = 150;

/// What an administrator does, in turn; between them they build, share, activate, prune and go back.
const OPERATIONS: [&[&str]; 6] = [
    &["add", "zict"],
    &["apply", "--rebuild"],
    &["rollback"],
    &["remove", "zict"],
    &["apply", "--transaction"],
    &["rollback"],
];

/// How many runs ended how.
#[derive(Debug, Default)]
struct Tally {
    old: u32,
    new: u32,
    broken: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &str, found: Result<Found>) {
        match found {
            Ok(Found::Old) => self.old += 1,
            Ok(Found::New) => self.new += 1,
            Err(error) => self.broken.push(format!("{what}: {error:#}")),
        }
    }

    fn finish(&self, title: &str) -> Result<()> {
        println!(
            "{title}: {} tried, {} ended old, {} new, {} broken",
            self.old + self.new + self.broken.len() as u32,
            self.old,
            self.new,
            self.broken.len()
        );
        ensure!(self.broken.is_empty(), "{:#?}", self.broken);
        Ok(())
    }
}

/// Numbers without a pattern, the same in every run (xorshift; Marsaglia 2003).
struct Random(u64);

impl Random {
    /// A part of `whole`.
    fn part(&mut self, whole: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        whole.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[test]
#[ignore = "mounts a file system: scripts/test"]
fn a_kill_at_every_step_leaves_the_old_environment_or_the_new_one() -> Result<()> {
    let tree = Tree::new()?;
    let mut tally = Tally::default();
    // No environment yet: absent counts as old.
    for point in failpoint::ALL {
        let (killed, found) = at_point(&tree, point, &["apply"])?;
        tally.count(point, found);
        if killed {
            tree.forget_environments()?;
        }
    }
    for point in failpoint::ALL {
        let mut hit = false;
        for operation in OPERATIONS {
            let (killed, found) = at_point(&tree, point, operation)?;
            hit |= killed;
            tally.count(&format!("{point}, {operation:?}"), found);
        }
        if point == "carried" {
            tree.install_by_hand()?;
            let (killed, found) = at_point(&tree, point, &["apply", "--rebuild"])?;
            hit = killed;
            tally.count(point, found);
        }
        ensure!(hit, "no operation comes by {point}");
    }
    tally.finish("killed at a named step")
}

/// Runs an operation that ends at a point if it comes by it. Whether it did, and what it left.
fn at_point(tree: &Tree, point: &str, operation: &[&str]) -> Result<(bool, Result<Found>)> {
    let before = tree.active();
    let mut command = tree.command(operation);
    command.env("COVALENTCTL_FAILPOINT", point);
    let status = command
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    Ok((killed, tree.look(before.as_deref())))
}

#[test]
#[ignore = "mounts a file system: scripts/test"]
fn a_kill_at_any_moment_leaves_the_old_environment_or_the_new_one() -> Result<()> {
    let tree = Tree::new()?;
    tree.ok(&["apply"])?;
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut tally = Tally::default();
    // Twice what a run takes, so that some come to their end.
    let started = Instant::now();
    tree.ok(&["apply", "--rebuild"])?;
    let longest = 2 * started.elapsed();
    for number in 0..RANDOM_KILLS {
        let operation = OPERATIONS[number as usize % OPERATIONS.len()];
        let before = tree.active();
        let moment = random.part(longest);
        let mut child = spawn(tree.command(operation))?;
        let ended = wait(&mut child, moment)?;
        if ended {
            // Nothing to kill.
        } else if number % 2 == 0 {
            // As a power cut: the helper and what it runs.
            rustix::process::kill_process_group(
                rustix::process::Pid::from_child(&child),
                rustix::process::Signal::KILL,
            )?;
        } else {
            // As the kernel's out-of-memory killer: uv goes on.
            child.kill()?;
        }
        child.wait()?;
        let what = format!("{operation:?} killed after {moment:?}");
        tally.count(&what, tree.look(before.as_deref()));
    }
    ensure!(tally.old > 0 && tally.new > 0, "all alike: {tally:?}");
    tally.finish("killed at a random moment")
}

#[test]
#[ignore = "mounts a file system: scripts/test"]
fn a_file_system_that_runs_full_leaves_the_old_environment_or_the_new_one() -> Result<()> {
    let tree = Tree::new()?;
    tree.ok(&["apply"])?;
    let generations = tree.path("opt/virtualenvs/.covalent");
    let flags = ioctl_getflags(File::open(&generations)?)?;
    ensure!(
        flags.contains(IFlags::TOPDIR),
        "what is removed there delays what is made after it: {flags:?}"
    );
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = Tally::default();
    let mut refused = 0;
    let start = Instant::now();
    tree.ok(&["apply", "--rebuild"])?;
    let usual = start.elapsed();
    for number in 0..RANDOM_FILLS {
        let operation = OPERATIONS[number as usize % OPERATIONS.len()];
        let before = tree.active();
        let mut child = spawn(tree.command(operation))?;
        let moment = random.part(usual);
        wait(&mut child, moment)?;
        tree.fill()?;
        let output = child.wait_with_output()?;
        let what = format!("{operation:?}, full after {moment:?}");
        // 12: nothing to go back to, nothing to remove. 6: a full file system, told as that.
        let code = output.status.code().context("ended by a signal")?;
        if code == 6 {
            refused += 1;
        }
        let found = tree.environment(before.as_deref());
        tree.empty()?;
        let found = found.and_then(|found| {
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                [0, 6, 12].contains(&code),
                "it ended with status {code}: {said}"
            );
            tree.look(before.as_deref()).map(|_| found)
        });
        tally.count(&what, found);
    }
    println!("{refused} were refused for want of space");
    tally.finish("full at a random moment")
}

fn spawn(mut command: Command) -> Result<Child> {
    Ok(command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?)
}

/// Waits for the end or for `moment`; whether it was the end.
fn wait(child: &mut Child, moment: Duration) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < moment {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(child.try_wait()?.is_some())
}
