//! A file of settings that explains itself: comments, and below each the settings that it is about,
//! commented out or in force.

/// What follows one another in the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line that divides the file, and in TOML a table.
    Heading(String),
    /// Comments that are about no setting.
    Prose(String),
    /// Settings that have one explanation.
    Settings {
        /// The name and the value of each.
        lines: Vec<(String, String)>,
        /// The explanation.
        about: String,
    },
}

/// The pieces of a file.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut comment = Vec::new();
    for line in text.lines() {
        let setting = line.strip_prefix('#').unwrap_or(line);
        if let Some(title) = line.strip_prefix("# ----") {
            prose(&mut pieces, &mut comment);
            pieces.push(Piece::Heading(title.trim_matches(['-', ' ']).into()));
        } else if let Some(table) = line.strip_prefix('[') {
            pieces.push(Piece::Heading(format!("[{table}")));
            prose(&mut pieces, &mut comment);
        } else if setting.is_empty() {
            prose(&mut pieces, &mut comment);
        } else if let Some(words) = setting.strip_prefix(' ') {
            comment.push(words);
        } else if let Some((name, value)) = setting.split_once('=') {
            let line = (name.trim().into(), value.trim().into());
            match pieces.last_mut() {
                Some(Piece::Settings { lines, .. }) if comment.is_empty() => lines.push(line),
                _ => pieces.push(Piece::Settings {
                    lines: vec![line],
                    about: std::mem::take(&mut comment).join(" "),
                }),
            }
        }
    }
    prose(&mut pieces, &mut comment);
    pieces
}

/// Ends a comment that no setting follows.
fn prose(pieces: &mut Vec<Piece>, comment: &mut Vec<&str>) {
    if !comment.is_empty() {
        pieces.push(Piece::Prose(std::mem::take(comment).join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_the_comment_above_it() {
        let text = "# What it\n# is.\n#\n# ---- Where ----\n# The port.\n#PORT=1\n#OTHER='a = b'\n\
                    # A note.\n\n# The name.\nname = \"x\"\n\n# About it.\n[index]\n# Its address.\n#url = \"y\"\n";
        let settings = |lines: &[(&str, &str)], about: &str| Piece::Settings {
            lines: lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            about: about.into(),
        };
        assert_eq!(
            pieces(text),
            [
                Piece::Prose("What it is.".into()),
                Piece::Heading("Where".into()),
                settings(&[("PORT", "1"), ("OTHER", "'a = b'")], "The port."),
                Piece::Prose("A note.".into()),
                settings(&[("name", "\"x\"")], "The name."),
                Piece::Heading("[index]".into()),
                Piece::Prose("About it.".into()),
                settings(&[("url", "\"y\"")], "Its address."),
            ]
        );
    }
}
