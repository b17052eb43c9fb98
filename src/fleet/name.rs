//! Names of workers.

use std::fmt;
use std::str::FromStr;

/// Characters of a name at most, as of a part of a host's name (RFC 1035).
const LONGEST: usize = 63;

/// The name of the server in its certificate, which no worker can have.
pub const SERVER: &str = "server";

/// A worker's name. It is part of file names and of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerName(String);

impl WorkerName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerName {
    type Err = String;

    fn from_str(text: &str) -> Result<WorkerName, String> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        let is_name = (1..=LONGEST).contains(&text.len())
            && ends
                .iter()
                .all(|end| end.is_some_and(|byte| is_word(*byte)))
            && bytes
                .iter()
                .all(|byte| is_word(*byte) || b"-.".contains(byte))
            && !text.contains("..");
        if text == SERVER {
            return Err(format!("{SERVER} is the server's own name"));
        }
        if !is_name {
            return Err(format!(
                "a name has 1 to {LONGEST} small letters, digits, '-' and '.', and begins and ends \
                 with a letter or a digit"
            ));
        }
        Ok(WorkerName(text.into()))
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_of_a_file_name_or_is_refused() {
        for good in ["gpu1", "w2.example.org", "a", "a-b", &"a".repeat(LONGEST)] {
            assert_eq!(good.parse::<WorkerName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "-a",
            "a-",
            "a.",
            "A",
            "a/b",
            "a b",
            "a\n",
            "é",
            SERVER,
            &"a".repeat(LONGEST + 1),
        ] {
            bad.parse::<WorkerName>().unwrap_err();
        }
    }
}
