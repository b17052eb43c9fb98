//! What a line of the file says, and what can be wrong with it.

/// One assignment of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The line it starts on, counted from 1.
    pub line: usize,
    /// The variable.
    pub name: String,
    /// Its value, quotes and escapes resolved.
    pub value: String,
}

/// Whether the server can run in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It runs; the line does not do what its author meant.
    Harmless,
    /// It would not start, or would lose something.
    Harmful,
}

/// Something that is wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what would be right. Never holds a value that may be a secret.
    pub text: String,
}
