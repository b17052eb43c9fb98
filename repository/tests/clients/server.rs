//! A static web server on loopback.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

/// What happens at the requests for a file that is called so, one after the other: after it was read, and
/// before the answer.
#[derive(Default)]
struct Events {
    name: String,
    next: VecDeque<Box<dyn FnOnce() + Send>>,
}

/// A server that goes on as long as this process lives.
pub struct Server {
    /// Where it answers.
    pub address: String,
    events: Arc<Mutex<Events>>,
}

impl Server {
    /// Serves `folder`.
    pub fn new(folder: &Path) -> Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Server {
            address: format!("http://{}", listener.local_addr()?),
            events: Arc::default(),
        };
        let (folder, events) = (folder.to_owned(), server.events.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, events) = (folder.clone(), events.clone());
                // A client that went away is no concern of the others.
                thread::spawn(move || answer(&folder, &events, stream));
            }
        });
        Ok(server)
    }

    /// Has something happen while a client reads: at each of its requests for a file that is called so,
    /// as long as there is something left.
    pub fn at_requests(&self, name: &str, next: Vec<Box<dyn FnOnce() + Send>>) {
        *self.events.lock().expect("a lock") = Events {
            name: name.into(),
            next: next.into(),
        };
    }

    /// What has not happened.
    pub fn left(&self) -> usize {
        self.events.lock().expect("a lock").next.len()
    }
}

fn answer(folder: &Path, events: &Mutex<Events>, mut stream: TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("a request")??;
    // What else the client says makes no difference.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).context("a path")?;
    let path: PathBuf = folder.join(path.trim_start_matches('/'));
    let (status, body) = match fs::read(&path) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let due = {
        let mut events = events.lock().expect("a lock");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(&events.name) {
            events.next.pop_front()
        } else {
            None
        }
    };
    if let Some(happen) = due {
        happen();
    }
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    Ok(())
}
