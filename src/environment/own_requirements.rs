//! The requirement file that `covalentctl add` and `remove` keep.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::requirement;
use crate::system::failpoint;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::system::turn::Turn;

/// What the file begins with when `add` makes it.
const HEAD: &str = "\
# Python packages of your own in the environment of the Covalent server, in pip's
# requirement format. Kept by `covalentctl add` and `covalentctl remove`; after a
# change by hand: covalentctl apply
";

/// For root alone: an address in it may hold a password.
const MODE: u32 = 0o640;

/// The file and its text.
#[derive(Clone, Debug)]
pub struct LocalFile {
    path: PathBuf,
    text: Option<String>,
}

impl LocalFile {
    /// Reads the file; one that is missing has no text.
    pub fn read(host: &Host) -> Result<LocalFile> {
        let path = host.local_requirements();
        let text = file::read_text(&path)?;
        Ok(LocalFile { path, text })
    }

    /// Writes the file, or removes it if there is no text.
    pub fn write(&self) -> Result<()> {
        match &self.text {
            Some(text) => {
                file::make_folder(self.path.parent().unwrap_or(&self.path), 0o755)?;
                file::write(&self.path, text.as_bytes(), MODE)
            }
            None => file::remove(&self.path).map(drop),
        }
    }

    /// Writes the file as `after`, does `work`, and takes the change back if that fails; so does the
    /// next run if this one is cut off.
    pub fn edited<T>(
        host: &Host,
        _turn: &Turn,
        after: LocalFile,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let before = LocalFile::read(host)?;
        let text = serde_json::to_vec(&before.text).context("writing a text as JSON")?;
        let note = host.requirements_before();
        file::make_folder(&host.state(), 0o755)?;
        file::write(&note, &text, 0o600)?;
        let result = after.write().and_then(|()| {
            failpoint::pass("edited");
            work()
        });
        if result.is_err() {
            before.write()?;
        }
        file::remove(&note)?;
        result
    }

    /// A copy with these requirements; each takes the place of one of the same name.
    pub fn with(&self, requirements: &[String]) -> Result<LocalFile> {
        let mut lines: Vec<String> = self
            .text
            .as_deref()
            .unwrap_or(HEAD)
            .lines()
            .map(String::from)
            .collect();
        for wanted in requirements {
            let name = checked_name(wanted)?;
            let same = |line: &String| {
                requirement::in_file(line)
                    .next()
                    .is_some_and(|(_, _, there)| there == name)
            };
            let wanted = wanted.trim().to_string();
            match lines.iter().position(same) {
                Some(place) => lines[place] = wanted,
                None => lines.push(wanted),
            }
        }
        Ok(self.with_lines(&lines))
    }

    /// A copy without the requirement of this normalized name; `None` if there is none.
    pub fn without(&self, name: &str) -> Option<LocalFile> {
        let text = self.text.as_deref()?;
        let named: Vec<usize> = requirement::in_file(text)
            .filter(|(_, _, there)| there == name)
            .map(|(line, _, _)| line)
            .collect();
        let left = text.lines().enumerate();
        let left = left.filter(|(index, _)| !named.contains(&(index + 1)));
        let left: Vec<String> = left.map(|(_, line)| line.to_string()).collect();
        (!named.is_empty()).then(|| self.with_lines(&left))
    }

    fn with_lines(&self, lines: &[String]) -> LocalFile {
        let text = lines
            .iter()
            .fold(String::new(), |text, line| text + line + "\n");
        LocalFile {
            path: self.path.clone(),
            text: Some(text),
        }
    }
}

/// Takes back the change of a run that was cut off.
pub fn recover(host: &Host, _turn: &Turn) -> Result<()> {
    let note = host.requirements_before();
    let Some(text) = file::read(&note)? else {
        return Ok(());
    };
    let before = LocalFile {
        path: host.local_requirements(),
        text: serde_json::from_slice(&text)
            .with_context(|| format!("reading {}", note.display()))?,
    };
    before.write()?;
    file::remove(&note).map(drop)
}

fn checked_name(wanted: &str) -> Result<String> {
    let sound = !wanted.chars().any(char::is_control);
    requirement::name(wanted).filter(|_| sound).ok_or_else(|| {
        Failure::error(
            Kind::Settings,
            format!("{wanted:?} is not a requirement that starts with the name of a package"),
            "write it as in 'numpy', 'pennylane<1' or 'name @ https://…'; anything else that pip \
             takes can stand in a file of yours, /etc/covalent/requirements.d/NAME.txt",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: Option<&str>) -> LocalFile {
        LocalFile {
            path: "/x".into(),
            text: text.map(String::from),
        }
    }

    fn add(text: Option<&str>, requirements: &[&str]) -> String {
        let requirements: Vec<String> = requirements.iter().map(ToString::to_string).collect();
        file(text).with(&requirements).unwrap().text.unwrap()
    }

    #[test]
    fn a_requirement_is_added_or_takes_the_place_of_its_like() {
        assert_eq!(add(None, &["numpy"]), format!("{HEAD}numpy\n"));
        assert_eq!(
            add(
                Some("# mine\nNum_Py<2  # old\nsix"),
                &["num-py>=2", "scipy"]
            ),
            "# mine\nnum-py>=2\nsix\nscipy\n"
        );
    }

    #[test]
    fn a_requirement_is_removed_and_comments_stay() {
        let left = file(Some("# mine\nnumpy<2\nsix\n"))
            .without("numpy")
            .unwrap();
        assert_eq!(left.text.unwrap(), "# mine\nsix\n");
        assert!(file(Some("six\n")).without("numpy").is_none());
        assert!(file(None).without("numpy").is_none());
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for wanted in [
            "",
            "--pre",
            "two words",
            "./x.whl",
            "six\n--index-url http://x",
        ] {
            assert!(
                file(None).with(&[wanted.to_string()]).is_err(),
                "{wanted:?}"
            );
        }
    }
}
