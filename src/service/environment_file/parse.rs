//! The format of systemd.exec(5), `EnvironmentFile=`, as systemd's `env-file.c` reads it.

use super::problem::{Assignment, Problem, Severity};

/// What ends a line. The first of the two bytes of CRLF does, and the other is an empty line.
const NEWLINE: &[u8] = b"\n\r";

/// What is cut off around names and values; no other blank is.
const BLANK: &[u8] = b" \t\n\r";

/// Reads the text: its assignments, and what systemd would not take as it was meant.
///
/// `joins_comments`: whether it is a systemd before 254, for which a comment with a backslash at its end
/// takes in the next line. It is asked only if there is one.
pub(super) fn parse(
    text: &[u8],
    joins_comments: &dyn Fn() -> bool,
) -> (Vec<Assignment>, Vec<Problem>) {
    if let Some(position) = text.iter().position(|byte| *byte == 0) {
        let line = 1 + text[..position]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let problem = "there is a NUL byte on this line, which makes systemd ignore the whole file";
        return (Vec::new(), vec![harmful(line, problem)]);
    }
    let mut reader = Reader {
        text,
        position: 0,
        line: 1,
        joins_comments,
    };
    let mut assignments = Vec::new();
    let mut problems = Vec::new();
    while let Some(first) = reader.skip_blanks() {
        let line = reader.line;
        if is_comment(first) {
            problems.extend(reader.comment());
            continue;
        }
        match reader.assignment() {
            Ok((name, value)) if is_name(&name) => {
                assignments.push(Assignment { line, name, value });
            }
            Ok((name, _)) => problems.push(harmful(
                line,
                format!(
                    "{name:?} is not a variable name: letters, digits and '_', no digit first, \
                     no word such as \"export\" before it"
                ),
            )),
            Err(problem) => problems.push(problem),
        }
    }
    (assignments, problems)
}

fn is_comment(first: u8) -> bool {
    first == b'#' || first == b';'
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn harmful(line: usize, text: impl Into<String>) -> Problem {
    Problem {
        line,
        severity: Severity::Harmful,
        text: text.into(),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    position: usize,
    line: usize,
    joins_comments: &'a dyn Fn() -> bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.position += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        Some(byte)
    }

    /// The first byte that is neither blank nor a line's end; it is not taken.
    fn skip_blanks(&mut self) -> Option<u8> {
        while BLANK.contains(&self.peek()?) {
            self.next();
        }
        self.peek()
    }

    /// Takes a comment. What a backslash at its end does depends on systemd.
    fn comment(&mut self) -> Option<Problem> {
        let mut joined = None;
        while let Some(byte) = self.next().filter(|byte| !NEWLINE.contains(byte)) {
            let line = self.line;
            let escaped = (byte == b'\\').then(|| self.next()).flatten();
            if escaped.is_some_and(|escaped| NEWLINE.contains(&escaped)) {
                joined.get_or_insert((line, self.position));
                if !(self.joins_comments)() {
                    break;
                }
            }
        }
        let (line, start) = joined?;
        let mut lines = self.text[start..self.position].split(|byte| NEWLINE.contains(byte));
        let is_setting = |line: &[u8]| {
            let first = line.trim_ascii_start().first();
            first.is_some_and(|first| !is_comment(*first))
        };
        let text = "the comment ends in a backslash, so systemd before 254 takes the next line for a \
                    part of it: remove the backslash";
        Some(Problem {
            line,
            severity: if lines.any(is_setting) {
                Severity::Harmful
            } else {
                Severity::Harmless
            },
            text: text.into(),
        })
    }

    /// Name and value; the line is taken whole, even when it is wrong.
    fn assignment(&mut self) -> Result<(String, String), Problem> {
        let line = self.line;
        let mut name = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'\n' | b'\r') => {
                    let text = "there is no '=' on this line; systemd ignores it";
                    return Err(harmful(line, text));
                }
                Some(b'=') => {
                    self.next();
                    break;
                }
                Some(_) => name.extend(self.next()),
            }
        }
        let value = self.value()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        match (text(trim_end(&name)), text(&value)) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            _ => Err(harmful(
                line,
                "there is a byte that is not UTF-8, which makes systemd ignore the whole file",
            )),
        }
    }

    /// Quoted parts, and at most one bare part behind them, up to the end of the line. Within
    /// the bare part a quote is a character like any other.
    fn value(&mut self) -> Result<Vec<u8>, Problem> {
        let mut value = Vec::new();
        let mut bare = false;
        // Blanks at the end are cut off, but not quoted or escaped ones.
        let mut kept = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' | b'\r' => {
                    self.next();
                    break;
                }
                b'\'' | b'"' if !bare => {
                    value.extend(self.quoted()?);
                    kept = value.len();
                }
                b'\\' => {
                    self.next();
                    bare = true;
                    value.extend(self.next().filter(|escaped| !NEWLINE.contains(escaped)));
                    kept = value.len();
                }
                blank if BLANK.contains(&blank) && !bare => drop(self.next()),
                _ => {
                    bare = true;
                    value.extend(self.next());
                }
            }
        }
        value.truncate(trim_end(&value).len().max(kept));
        Ok(value)
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Problem> {
        let line = self.line;
        let quote = self.next();
        let mut text = Vec::new();
        loop {
            match self.next() {
                None => {
                    let mark = char::from(quote.unwrap_or(b'"'));
                    let text = format!("a quote ({mark}) is opened here and never closed");
                    return Err(harmful(line, text));
                }
                byte if byte == quote => return Ok(text),
                Some(b'\\') if quote == Some(b'"') => match self.next() {
                    Some(b'\n') | None => {}
                    Some(escaped @ (b'"' | b'\\' | b'`' | b'$')) => text.push(escaped),
                    Some(other) => text.extend([b'\\', other]),
                },
                Some(byte) => text.push(byte),
            }
        }
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !BLANK.contains(byte));
    &text[..end.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd from 254 on.
    fn read(text: &str) -> (Vec<Assignment>, Vec<Problem>) {
        parse(text.as_bytes(), &|| false)
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        for (text, value) in [
            ("A=b", "b"),
            ("A = b c ", "b c"),
            ("A=", ""),
            ("A='b  \"c\" \\n'", "b  \"c\" \\n"),
            ("A=\"b\\\"c\\$d\\n\"  ", "b\"c$d\\n"),
            ("A=\"b\\\nc\"", "bc"),
            ("A=\"b\nc\"", "b\nc"),
            ("A=b\\\nc", "bc"),
            ("A=b\\ ", "b "),
            ("A=\"b \"", "b "),
            ("A='b' \"c\" d", "bcd"),
            ("A=b\"c\"", "b\"c\""),
            ("A={\"b\": 1}", "{\"b\": 1}"),
            ("A=b # not a comment", "b # not a comment"),
            ("A=b=c", "b=c"),
            ("A=b\r\n", "b"),
            ("A=\"b\"\r\n", "b"),
            ("# comment\rA=b", "b"),
            ("A=b\\\r\n", "b"),
            // A blank that is not ASCII is a character like any other.
            ("A=b\u{a0}", "b\u{a0}"),
        ] {
            let (assignments, problems) = read(text);
            assert_eq!(problems, [], "{text:?}");
            assert_eq!(assignments.len(), 1, "{text:?}");
            assert_eq!(assignments[0].name, "A", "{text:?}");
            assert_eq!(assignments[0].value, value, "{text:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_lines_are_counted() {
        let (assignments, problems) = read("# A=1\n\n ; B=2\nC=\"x\ny\"\nD=4\n");
        let places: Vec<_> = assignments
            .iter()
            .map(|a| (a.line, a.name.as_str()))
            .collect();
        assert_eq!(places, [(4, "C"), (6, "D")]);
        assert_eq!(problems, []);
    }

    #[test]
    fn what_systemd_would_drop_is_a_problem_with_its_line() {
        for (text, line, part) in [
            ("A=1\nB\nC=3", 2, "no '='"),
            ("export A=1", 1, "not a variable name"),
            ("1A=2", 1, "not a variable name"),
            ("A=1\nB=\"2\nC=3", 2, "never closed"),
            ("A='", 1, "never closed"),
            ("\u{feff}A=1", 1, "not a variable name"),
            ("A=1\nB=2\0", 2, "the whole file"),
        ] {
            let (_, problems) = read(text);
            assert_eq!(problems.len(), 1, "{text:?}");
            assert_eq!(problems[0].line, line, "{text:?}");
            assert!(problems[0].text.contains(part), "{:?}", problems[0]);
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_costs_systemd_the_whole_file() {
        for (text, line) in [(&b"A=1\nB=caf\xe9\n"[..], 2), (b"caf\xe9=1", 1)] {
            let (_, problems) = parse(text, &|| false);
            assert_eq!((problems.len(), problems[0].line), (1, line));
            assert_eq!(problems[0].severity, Severity::Harmful);
            assert!(problems[0].text.contains("not UTF-8"), "{problems:?}");
        }
        // Not in a comment.
        assert_eq!(parse(b"# caf\xe9\nA=1", &|| false).1, []);
    }

    #[test]
    fn a_comment_with_a_backslash_at_its_end_is_told_and_read_as_systemd_does() {
        use Severity::{Harmful, Harmless};
        for (text, older, newer) in [
            (
                "#\n# C:\\\nA=1\nB=2",
                (1, Some((2, Harmful))),
                (2, Some((2, Harmless))),
            ),
            (
                "# C:\\\n# more\nA=1",
                (1, Some((1, Harmless))),
                (1, Some((1, Harmless))),
            ),
            (
                "# C:\\\n\nA=1",
                (1, Some((1, Harmless))),
                (1, Some((1, Harmless))),
            ),
            ("# C:\\\\\nA=1", (1, None), (1, None)),
            ("# C:\\x\nA=1", (1, None), (1, None)),
            // The backslash takes in the first byte of the line's end, and the second ends it.
            (
                "# C:\\\r\nA=1",
                (1, Some((1, Harmless))),
                (1, Some((1, Harmless))),
            ),
        ] {
            for (joins, expected) in [(true, older), (false, newer)] {
                let (assignments, problems) = parse(text.as_bytes(), &|| joins);
                let problem = problems
                    .first()
                    .map(|problem| (problem.line, problem.severity));
                assert_eq!((assignments.len(), problem), expected, "{text:?} {joins}");
            }
        }
    }
}
