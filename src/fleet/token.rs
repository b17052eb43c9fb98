//! The line that makes a machine a worker: its name, where the server is, and its identity.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::name::WorkerName;
use super::place::Place;
use crate::certificates::{Certificate, Identity, Key, Name, Purpose};
use crate::system::failure::{Failure, Kind};

/// How a token of this form begins.
const FORM: &str = "covalent1";

/// A machine's identity in a fleet. Whoever has it is that machine, so it is never shown but for the
/// one line that the server prints.
#[derive(Debug)]
pub struct Token {
    /// The machine's name in the fleet.
    pub name: WorkerName,
    /// The server.
    pub server: Place,
    /// Who has signed what the server and the machine show one another.
    pub authority: Certificate,
    /// What the machine shows.
    pub identity: Identity,
}

impl Token {
    /// The line.
    pub fn line(&self) -> String {
        let Identity { certificate, key } = &self.identity;
        let parts = [self.authority.der(), certificate.der(), key.der()];
        let [authority, certificate, key] = parts.map(|der| STANDARD.encode(der));
        let (name, server) = (&self.name, &self.server);
        format!("{FORM},{name},{server},{authority},{certificate},{key}")
    }

    /// Reads a line, and makes sure that it is whole, genuine in itself, and valid now.
    pub fn read(line: &str, now: Timestamp) -> Result<Token> {
        let read = parse(line.trim()).and_then(|token| token.checked(now));
        read.map_err(|why| {
            Failure::error(
                Kind::Settings,
                format!("what was given is not the identity of a worker: {why:#}"),
                "on the server: sudo covalentctl worker add NAME; here: sudo covalentctl join, and \
                 paste the whole line that it printed",
            )
        })
    }

    fn checked(self, now: Timestamp) -> Result<Token> {
        let Identity { certificate, key } = &self.identity;
        ensure!(
            certificate.belongs_to(key),
            "its key is not its certificate's"
        );
        certificate.check(&self.authority, now)?;
        let name = self.name.as_str();
        ensure!(
            certificate.common_name == name && certificate.names == [Name::from(name)],
            "its certificate is for another name"
        );
        ensure!(
            certificate.purposes.contains(&Purpose::Client),
            "its certificate is not for connecting to a server"
        );
        Ok(self)
    }
}

fn parse(line: &str) -> Result<Token> {
    if line.is_empty() {
        bail!("nothing came");
    }
    let parts: Vec<&str> = line.split(',').collect();
    let [form, name, server, authority, certificate, key] = parts[..] else {
        bail!("it does not have six parts with commas between them");
    };
    ensure!(form == FORM, "it does not begin with {FORM}");
    // What is in a part is not to be shown: it may be the key.
    let name = name.parse().map_err(|_| Part("name"))?;
    let server = server.parse().map_err(|_| Part("server"))?;
    let der = |text: &str, what| STANDARD.decode(text).map_err(|_| Part(what));
    let authority = der(authority, "authority's certificate")?;
    let certificate = der(certificate, "certificate")?;
    let key = der(key, "key")?;
    Ok(Token {
        name,
        server,
        authority: Certificate::from_der(authority).context(Part("authority's certificate"))?,
        identity: Identity {
            certificate: Certificate::from_der(certificate).context(Part("certificate"))?,
            key: Key::from_der(&key).context(Part("key"))?,
        },
    })
}

/// A part that can't be read.
#[derive(Debug)]
struct Part(&'static str);

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its {} can't be read", self.0)
    }
}

impl std::error::Error for Part {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::authority;

    fn token() -> Token {
        let authority = authority::create("server.example.org").unwrap();
        let name: WorkerName = "gpu1".parse().unwrap();
        Token {
            identity: authority::worker(&authority, &name).unwrap(),
            authority: authority.certificate().clone(),
            server: "server.example.org".parse().unwrap(),
            name,
        }
    }

    #[test]
    fn a_line_holds_all_of_it_and_fits_a_terminals() {
        let token = token();
        let line = token.line();
        let read = Token::read(&format!("  {line}\n"), Timestamp::now()).unwrap();
        assert_eq!(read.line(), line);
        assert_eq!(read.server.to_string(), "server.example.org:48009");
        // A terminal hands over 4095 characters of a line at most (termios(3), "Canonical mode").
        assert!(line.len() < 2000, "{}", line.len());
    }

    #[test]
    fn a_line_that_is_not_whole_or_not_genuine_is_refused_and_not_shown() {
        let (token, other) = (token(), token());
        let line = token.line();
        let others = other.line();
        let [ours, theirs] = [&line, &others].map(|line| line.split(',').collect::<Vec<_>>());
        let with = |at: usize, part: &str| {
            let mut parts = ours.clone();
            parts[at] = part;
            parts.join(",")
        };
        for (given, why) in [
            (String::new(), "nothing came"),
            ("hello".into(), "six parts"),
            (line[..line.len() - 20].into(), "its key can't be read"),
            (with(0, "covalent2"), "does not begin with covalent1"),
            (with(1, "gpu2"), "for another name"),
            (with(1, "../x"), "its name can't be read"),
            (with(2, "u@x"), "its server can't be read"),
            (with(3, theirs[3]), "was not signed by"),
            (with(4, theirs[4]), "its key is not its certificate's"),
            (with(5, theirs[5]), "its key is not its certificate's"),
            (with(4, "AAAA"), "its certificate can't be read"),
        ] {
            let error = Token::read(&given, Timestamp::now()).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(why), "{why}: {said}");
            assert!(!said.contains(&ours[5][..40]), "{said}");
        }
        let late = token.identity.certificate.end + jiff::SignedDuration::from_hours(1);
        let said = Token::read(&line, late).unwrap_err().to_string();
        assert!(said.contains("has expired"), "{said}");
    }
}
