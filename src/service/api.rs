//! The server's own API, asked as a client would.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::system::connection::connect;

/// How long an answer of the server may take before something is wrong.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: far more than those that are asked for have. Whoever else
/// listens there may send anything.
const SIZE_LIMIT: u64 = 1 << 20;

/// Workflows in an answer at most. Each has some 300 bytes.
const PAGE: usize = 1000;

/// Answers that are read at most: whoever else listens there may never come to the last one.
const PAGES: usize = 100;

/// A workflow, named as the API names it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Workflow {
    /// What `ct.redispatch` and `ct.get_result` take.
    pub dispatch_id: String,
    /// The name of the function that was dispatched.
    pub lattice_name: String,
}

/// What runs.
#[derive(Debug, Default, Serialize)]
pub struct Running {
    /// How many workflows.
    pub count: u64,
    /// The latest of them.
    pub workflows: Vec<Workflow>,
}

/// The API's answer.
#[derive(Deserialize)]
struct Page {
    dispatches: Vec<Dispatch>,
}

#[derive(Deserialize)]
struct Dispatch {
    dispatch_id: String,
    root_dispatch_id: Option<String>,
    name: Option<String>,
}

impl Dispatch {
    /// Whether it is a task of another one.
    fn is_sublattice(&self) -> bool {
        (self.root_dispatch_id.as_ref()).is_some_and(|root| *root != self.dispatch_id)
    }
}

/// The server answers, but not this account.
#[derive(Debug)]
pub struct NotLetIn;

impl std::fmt::Display for NotLetIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it does not let this account in")
    }
}

impl std::error::Error for NotLetIn {}

/// The workflows that run, at most `names` of them by name. The server reads its database for it.
pub fn running(address: &Address, names: u8) -> Result<Running> {
    let mut running = Running::default();
    for offset in (0..PAGES).map(|page| page * PAGE) {
        // What the UI asks instead takes the server ten times as long once it has many workflows.
        let path = format!("/api/v2/dispatches?status=RUNNING&count={PAGE}&offset={offset}");
        let answer =
            get(address, &path).with_context(|| format!("asking {address} which workflows run"))?;
        let Page { dispatches } = serde_json::from_str(&answer)
            .with_context(|| format!("reading what {address} answers"))?;
        let is_last = dispatches.len() < PAGE;
        for dispatch in dispatches {
            if dispatch.is_sublattice() {
                continue;
            }
            running.count += 1;
            if running.workflows.len() < names.into() {
                running.workflows.push(Workflow {
                    dispatch_id: dispatch.dispatch_id,
                    lattice_name: dispatch.name.unwrap_or_default(),
                });
            }
        }
        if is_last {
            break;
        }
    }
    Ok(running)
}

/// The answer's text; anything but 200 is an error.
fn get(address: &Address, path: &str) -> Result<String> {
    let port: u16 = address
        .port
        .parse()
        .with_context(|| format!("{:?} is not a port number", address.port))?;
    let mut stream = connect((address.host.as_str(), port), ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let place = address.to_string();
    let host = place.trim_start_matches("http://");
    // HTTP/1.0: the answer ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(SIZE_LIMIT).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("it does not answer like an HTTP server");
    };
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_string()),
        Some("403") => bail!(NotLetIn),
        _ => bail!("it answers {status:?}"),
    }
}

/// Answers a question as a test's server; returns the question's head.
#[cfg(test)]
pub fn answer(mut stream: std::net::TcpStream, answer: &str) -> String {
    use std::io::{BufRead, BufReader};

    // Whoever closes before all is read resets the connection.
    let lines = BufReader::new(&stream).lines().map(Result::unwrap);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    stream.write_all(answer.as_bytes()).unwrap();
    head.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// What is made of an answer.
    fn made_of(answered: &'static str) -> Result<Running> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port().to_string(),
        };
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            answer(stream, answered)
        });
        let running = running(&address, 1);
        let request = server.join().unwrap();
        let host = format!("\nHost: 127.0.0.1:{}", address.port);
        assert!(request.ends_with(&format!("offset=0 HTTP/1.0{host}")));
        running
    }

    #[test]
    fn what_runs_is_read_from_an_answer_and_nothing_else_is() {
        let running = made_of(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"dispatches\":[\
             {\"dispatch_id\":\"a\",\"root_dispatch_id\":\"b\",\"name\":\"part\"},\
             {\"dispatch_id\":\"b\",\"root_dispatch_id\":\"b\",\"name\":\"w\",\"status\":\"RUNNING\"},\
             {\"dispatch_id\":\"c\"}],\"metadata\":{\"count\":3}}",
        )
        .unwrap();
        assert_eq!((running.count, running.workflows.len()), (2, 1));
        assert_eq!(running.workflows[0].lattice_name, "w");
        for (answered, reason) in [
            (
                "HTTP/1.1 500 Internal Server Error\r\n\r\n{}",
                "answers \"HTTP/1.1 500",
            ),
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "it does not let this account in",
            ),
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                "does not answer like an HTTP server",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "reading what http"),
        ] {
            let error = format!("{:#}", made_of(answered).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
