//! What may reach a terminal or a log, and whether there is a terminal.

use std::io::{self, IsTerminal};

/// What somebody else has said, a task's name or an index's answer: it must not steer the terminal.
pub fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "?")
}

/// The code of a colour (ECMA-48, SGR).
#[derive(Clone, Copy, Debug)]
pub struct Colour(pub u8);

impl Colour {
    /// How the text is shown in it.
    pub fn of(self, text: &str) -> String {
        format!("\x1b[{}m{text}\x1b[0m", self.0)
    }
}

/// [`printable`] but for colours.
pub fn painted(text: &str) -> String {
    let mut rest = text.split('\x1b');
    let mut shown = printable(rest.next().unwrap_or_default());
    for part in rest {
        let end = part.strip_prefix('[').and_then(|code| code.split_once('m'));
        match end {
            Some((code, text)) if code.parse::<u8>().is_ok() => {
                shown.push_str(&format!("\x1b[{code}m{}", printable(text)));
            }
            _ => shown.push_str(&format!("?{}", printable(part))),
        }
    }
    shown
}

/// [`printable`], as a part of a line: nothing in it can look like another line.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Whether the process has a terminal, whether or not its streams lead there.
pub fn is_at_one() -> bool {
    // tty(4)
    std::fs::File::open("/dev/tty").is_ok()
        || io::stdout().is_terminal()
        || io::stderr().is_terminal()
}

/// Whether somebody types and sees what is said.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_shown() {
        let hostile = "a\u{1b}]0;x\u{7}b\u{9b}31mc\rd\u{7f}";
        assert_eq!(
            printable(&format!("{hostile}\ne\tf")),
            "a?]0;x?b?31mc?d?\ne\tf"
        );
        assert_eq!(one_line("a\nb"), "a?b");
        let text = Colour(31).of("bad") + "\x1b]0;x\x07\x1b[2J\x1b";
        assert_eq!(painted(&text), "\x1b[31mbad\x1b[0m?]0;x??[2J?");
    }
}
