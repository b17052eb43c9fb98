//! How to publish.

use crate::index::Suite;

/// How to publish.
#[derive(Debug)]
pub struct Settings {
    /// The suite that packages go into.
    pub suite: Suite,
    /// Where machines reach the tree; as before if not given.
    pub address: Option<String>,
    /// How many versions of a package to keep.
    pub keep: usize,
    /// How many days apt trusts the indexes.
    pub valid_days: u16,
    /// Whether to sign although nothing else changes.
    pub resign: bool,
}
