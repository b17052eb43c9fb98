//! Plain text for roff (groff_char(7)).

/// Without an escape, and without a control line by accident.
pub fn escape(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    if text.starts_with('.') {
        format!("\\&{text}")
    } else {
        text
    }
}

/// What stands `in backquotes`, a name or a command, becomes bold.
pub fn escape_comment(text: &str) -> String {
    let mut words = text.split('`');
    let first = escape(words.next().unwrap_or_default());
    words.enumerate().fold(first, |text, (index, part)| {
        let font = if index % 2 == 0 { "\\fB" } else { "\\fR" };
        text + font + &escape(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_taken_for_an_instruction() {
        assert_eq!(escape(".env"), "\\&.env");
        assert_eq!(escape("'#' \\n a-b"), "\\(aq#\\(aq \\en a\\-b");
        assert_eq!(escape_comment("type `a -b` now"), "type \\fBa \\-b\\fR now");
    }
}
