//! The manual page of a file of settings, from its own comments and the table that checks it.

use covalentctl::settings_files::{self, Form, Rule, Value};

use crate::commented::{Piece, pieces};
use crate::roff::{escape, escape_comment};

/// What the value of the setting of a name must be.
type Expected = dyn Fn(&str) -> Option<String>;

/// A file with a page.
pub struct File {
    /// Its name below `/etc/covalent`.
    pub name: &'static str,
    about: &'static str,
    text: &'static str,
    expected: Box<Expected>,
    /// What can be set and should not, with the reason.
    discouraged: Vec<(&'static str, &'static str)>,
    see_also: &'static str,
}

/// Every file that has one.
pub fn files() -> Vec<File> {
    let mut files: Vec<File> = settings_files::VARIABLES
        .iter()
        .copied()
        .map(variables)
        .collect();
    files.push(File {
        name: "covalentctl.toml",
        about: "how covalentctl builds the environment of the Covalent server",
        text: settings_files::COVALENTCTL_TOML,
        expected: Box::new(|name| rule(name).and_then(Rule::expected)),
        discouraged: Vec::new(),
        see_also: ".BR covalentctl (1)\n",
    });
    files
}

fn rule(name: &str) -> Option<Rule> {
    let mut settings = settings_files::SETTINGS.iter();
    settings
        .find(|(known, _)| *known == name)
        .map(|(_, rule)| *rule)
}

fn variables(file: &'static Form) -> File {
    let discouraged = file
        .variables
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Discouraged(reason) => Some((*name, *reason)),
            _ => None,
        });
    File {
        name: file.name,
        about: file.about,
        text: file.text,
        expected: Box::new(|name| file.value(name)?.expected().map(String::from)),
        discouraged: discouraged.collect(),
        see_also: ".BR covalentctl (1),\n.BR systemd.exec (5)\n",
    }
}

impl File {
    /// The page in roff. `source` is the program and its version.
    pub fn page(&self, source: &str) -> String {
        let name = escape(self.name);
        let title = self.name.to_uppercase();
        let mut page = format!(
            ".TH {title} 5 \"\" \"{source}\"\n.ad l\n.nh\n.SH NAME\n{name} \\- {}\n.SH SYNOPSIS\n\
             .I /etc/covalent/{name}\n.SH DESCRIPTION\n",
            escape(self.about)
        );
        let pieces = pieces(self.text);
        let description = pieces
            .iter()
            .take_while(|piece| matches!(piece, Piece::Prose(_)))
            .count();
        let (description, settings) = pieces.split_at(description);
        for piece in description {
            self.add(piece, &mut page);
        }
        page += ".SH SETTINGS\n";
        for piece in settings {
            self.add(piece, &mut page);
        }
        if !self.discouraged.is_empty() {
            page += ".SH \"NOT TO BE SET\"\n";
        }
        for (name, reason) in &self.discouraged {
            page += &format!(".TP\n.B {}\nNot here: {}.\n", escape(name), escape(reason));
        }
        page + ".SH \"SEE ALSO\"\n" + self.see_also
    }

    fn add(&self, piece: &Piece, page: &mut String) {
        match piece {
            Piece::Heading(title) => *page += &format!(".SS {}\n", escape(title)),
            Piece::Prose(text) => *page += &format!(".PP\n{}\n", escape_comment(text)),
            Piece::Settings { lines, about } => {
                for (index, (name, value)) in lines.iter().enumerate() {
                    let tag = if index == 0 { "TP" } else { "TQ" };
                    let (name, value) = (escape(name), escape(value));
                    *page += &format!(".{tag}\n\\fB{name}\\fR={value}\n");
                }
                *page += &format!("{}\n", escape_comment(about));
                // What all of them must be; else the explanation says it of each.
                let mut expected = lines.iter().map(|(name, _)| (self.expected)(name));
                let first = expected.next().flatten();
                if let Some(must) =
                    first.filter(|first| expected.all(|other| other.as_ref() == Some(first)))
                {
                    *page += &format!(".br\nMust be {}.\n", escape(&must));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_file_is_on_its_page_with_what_it_must_be() {
        let files = files();
        assert!(files.iter().any(|file| file.name == "covalent.env"));
        for file in files {
            let page = file.page("covalentctl 1");
            for line in file.text.lines() {
                let setting = line.strip_prefix('#').unwrap_or(line);
                if let Some((name, _)) = setting.split_once('=')
                    && !setting.starts_with(' ')
                {
                    let tag = format!("\\fB{}\\fR=", escape(name.trim()));
                    assert!(page.contains(&tag), "{}: {name}", file.name);
                }
            }
            for (name, _) in file.discouraged {
                assert!(page.contains(&format!(".B {name}\n")));
            }
            assert!(page.contains("\nMust be "), "{}", file.name);
        }
    }
}
