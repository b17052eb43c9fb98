//! The format of systemd.exec(5), `EnvironmentFile=`.

use super::problem::{Assignment, Problem, Severity};

/// Reads the text: its assignments, and what systemd would not take as it was meant.
pub(super) fn parse(text: &str) -> (Vec<Assignment>, Vec<Problem>) {
    let mut reader = Reader {
        characters: text.chars().collect(),
        position: 0,
        line: 1,
    };
    let mut assignments = Vec::new();
    let mut problems = Vec::new();
    while let Some(first) = reader.skip_blank_lines() {
        let line = reader.line;
        if first == '#' || first == ';' {
            reader.rest_of_line();
            continue;
        }
        match reader.assignment() {
            Ok((name, value)) if is_name(&name) => {
                assignments.push(Assignment { line, name, value });
            }
            Ok((name, _)) => problems.push(harmful(
                line,
                format!(
                    "{name:?} is no name of a variable: letters, digits and '_', no digit first, \
                     no word such as \"export\" before it"
                ),
            )),
            Err(problem) => problems.push(problem),
        }
    }
    (assignments, problems)
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

struct Reader {
    characters: Vec<char>,
    position: usize,
    line: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += 1;
        if character == '\n' {
            self.line += 1;
        }
        Some(character)
    }

    /// The first character that is neither blank nor a line's end; it is not taken.
    fn skip_blank_lines(&mut self) -> Option<char> {
        while self.peek()?.is_whitespace() {
            self.next();
        }
        self.peek()
    }

    fn rest_of_line(&mut self) -> String {
        let mut text = String::new();
        while let Some(character) = self.next() {
            if character == '\n' {
                break;
            }
            text.push(character);
        }
        text
    }

    /// Name and value; the line is taken whole, also when it is wrong.
    fn assignment(&mut self) -> Result<(String, String), Problem> {
        let line = self.line;
        let mut name = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => {
                    let text = "there is no '=' on this line; systemd ignores it";
                    return Err(harmful(line, text));
                }
                Some('=') => {
                    self.next();
                    break;
                }
                Some(_) => name.extend(self.next()),
            }
        }
        Ok((name.trim_end().to_string(), self.value()?))
    }

    /// Quoted parts, and at most one bare part behind them, up to the end of the line. Within
    /// the bare part a quote is a character like any other.
    fn value(&mut self) -> Result<String, Problem> {
        let mut value = String::new();
        let mut bare = false;
        // Blanks at the end are cut off, but not quoted or escaped ones.
        let mut kept = 0;
        while let Some(character) = self.peek() {
            match character {
                '\n' => {
                    self.next();
                    break;
                }
                '\'' | '"' if !bare => {
                    value.push_str(&self.quoted()?);
                    kept = value.len();
                }
                '\\' => {
                    self.next();
                    bare = true;
                    value.extend(self.next().filter(|&escaped| escaped != '\n'));
                    kept = value.len();
                }
                blank if blank.is_whitespace() && !bare => drop(self.next()),
                _ => {
                    bare = true;
                    value.extend(self.next());
                }
            }
        }
        value.truncate(value.trim_end().len().max(kept));
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, Problem> {
        let line = self.line;
        let quote = self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => {
                    let mark = quote.unwrap_or('"');
                    let text = format!("a quote ({mark}) is opened here and never closed");
                    return Err(harmful(line, text));
                }
                character if character == quote => return Ok(text),
                Some('\\') if quote == Some('"') => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped @ ('"' | '\\' | '`' | '$')) => text.push(escaped),
                    Some(other) => text.extend(['\\', other]),
                },
                Some(character) => text.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let (assignments, problems) = parse(text);
            assert_eq!(problems, [], "{text:?}");
            assert_eq!(assignments.len(), 1, "{text:?}");
            assert_eq!(assignments[0].name, "A", "{text:?}");
            assert_eq!(assignments[0].value, value, "{text:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_lines_are_counted() {
        let (assignments, problems) = parse("# A=1\n\n ; B=2\nC=\"x\ny\"\nD=4\n");
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
            ("export A=1", 1, "no name"),
            ("1A=2", 1, "no name"),
            ("A=1\nB=\"2\nC=3", 2, "never closed"),
            ("A='", 1, "never closed"),
        ] {
            let (_, problems) = parse(text);
            assert_eq!(problems.len(), 1, "{text:?}");
            assert_eq!(problems[0].line, line, "{text:?}");
            assert!(problems[0].text.contains(part), "{:?}", problems[0]);
        }
    }
}
