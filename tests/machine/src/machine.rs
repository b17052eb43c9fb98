//! A running machine.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::builder::Builder;
use crate::command::Output;
use crate::directory::Directory;
use crate::leader;
use crate::root::Root;
use crate::script::{Script, enter};
use crate::slot::Slot;
use crate::supervisor::Supervisor;

/// A booted machine; dropping it ends it at once and removes all that it wrote.
pub struct Machine {
    // First, so that nothing is released before the machine is gone.
    pub(crate) supervisor: Supervisor,
    pub(crate) leader: u32,
    pub(crate) directory: Directory,
    _root: Root,
    _slot: Option<Slot>,
}

impl Machine {
    /// A machine of `suite`: one that `scripts/root` knows, or the path of a
    /// root file system. `COVALENT_TEST_ROOT_RPM=/srv/fedora` (and so on for
    /// each suite) puts another root in the place of a known one.
    pub fn builder(suite: &str) -> Builder {
        Builder::new(suite)
    }

    pub(crate) fn started(
        supervisor: Supervisor,
        directory: Directory,
        root: Root,
        slot: Option<Slot>,
    ) -> Result<Machine> {
        let mut machine = Machine {
            supervisor,
            leader: 0,
            directory,
            _root: root,
            _slot: slot,
        };
        machine.wait_until_up()?;
        Ok(machine)
    }

    /// Its name, which no other machine on this host has.
    pub fn name(&self) -> String {
        self.directory.name()
    }

    /// The host's number of the machine's first process.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// What its console has shown so far.
    pub fn console(&self) -> String {
        self.directory.console()
    }

    /// A shell script to be run inside by `/bin/sh -e`, with more said about how.
    pub fn script(&self, text: &str) -> Script<'_> {
        Script::new(self, text)
    }

    /// Runs a shell script as root; it may fail.
    pub fn sh(&self, text: &str) -> Result<Output> {
        self.script(text).run()
    }

    /// Runs a shell script as root and returns its standard output; if it fails,
    /// the error holds all that it said.
    pub fn ok(&self, text: &str) -> Result<String> {
        self.script(text).ok()
    }

    /// Runs a shell script as an ordinary user (each root has one, `alice`), in
    /// the user's home; it may fail.
    pub fn as_user(&self, user: &str, text: &str) -> Result<Output> {
        self.script(text).user(user).run()
    }

    /// Writes a file, making the directories above it, as an editor would: one
    /// that exists keeps its owner. `mode` is as in `0o640`.
    pub fn write_file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.script(r#"mkdir -p "$(dirname "$1")"; cat >"$1"; chmod "$2" "$1""#)
            .arguments([path, &format!("{mode:o}")])
            .input(content)
            .ok()
            .map(drop)
    }

    /// A file's text; bytes that are not UTF-8 are replaced.
    pub fn read_file(&self, path: &str) -> Result<String> {
        self.script(r#"cat -- "$1""#).arguments([path]).ok()
    }

    /// Whether there is anything at `path`, a dangling symlink included.
    pub fn exists(&self, path: &str) -> Result<bool> {
        let output = self
            .script(r#"[ -e "$1" ] || [ -L "$1" ]"#)
            .arguments([path])
            .run()?;
        ensure!(
            matches!(output.code(), Some(0 | 1)),
            "cannot look for {path}: {output}"
        );
        Ok(output.success())
    }

    /// A program inside, as `user`, for the caller to start with inputs and
    /// outputs of its own. No time limit: [`Machine::script`] has one.
    pub fn command(&self, user: &str, program: &str) -> Command {
        enter(self.leader, user, program)
    }

    /// A program of the host in the machine's network: a browser, for instance,
    /// that opens a page on the machine's loopback.
    pub fn netns_command(&self, program: &str) -> Command {
        in_network_of(self.leader, program)
    }

    /// A program of the host on another host of the machine's network, which
    /// reaches the machine at [`ADDRESS`](crate::ADDRESS) and is itself at
    /// [`NEIGHBOUR`](crate::NEIGHBOUR).
    pub fn neighbour_command(&self, program: &str) -> Result<Command> {
        Ok(in_network_of(self.neighbour()?, program))
    }

    /// A process of the host that is in the neighbour's network.
    pub(crate) fn neighbour(&self) -> Result<u32> {
        leader::parent(self.leader).with_context(|| format!("{} is not running", self.name()))
    }
}

fn in_network_of(process: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{process}/ns/net"))
        .args(["--", program]);
    command
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({}, leader {})", self.name(), self.leader)
    }
}
