//! What a build starts from.

use super::Generation;
use super::bytecode::Modules;
use super::resolve::Resolution;
use crate::environment::wanted::{LAYOUT, Wanted};
use crate::settings::Settings;

/// What to build, and how.
#[derive(Debug)]
pub struct Blueprint<'a> {
    /// What it shall be.
    pub wanted: &'a Wanted,
    /// The settings, of which the sources of wheels count here.
    pub settings: &'a Settings,
    /// A generation whose resolved versions stay.
    pub before: Option<&'a Generation>,
    /// Whether files of that generation may be shared.
    pub share: bool,
    /// Whether its resolved versions stay.
    pub resolution: Resolution,
    /// Which modules to compile.
    pub modules: Modules,
}

impl Blueprint<'_> {
    /// The generation to start from: one of the same interpreter and of the same layout.
    pub(super) fn base(&self) -> Option<&Generation> {
        self.before.filter(|before| {
            let (made_for, wanted) = (&before.manifest.interpreter, &self.wanted.interpreter);
            self.share
                && before.manifest.layout == LAYOUT
                && made_for.path == wanted.path
                && made_for.abi == wanted.abi
                && made_for.version[..2] == wanted.version[..2]
        })
    }
}
