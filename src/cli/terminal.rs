//! Text for a terminal.

use std::io::IsTerminal;

/// Colour only for a terminal, and never against the wish in `NO_COLOR`.
pub(super) fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !unwanted
}

/// The width of a column that these words stand in.
pub(super) fn column<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    words.map(|word| word.chars().count()).max().unwrap_or(0)
}
