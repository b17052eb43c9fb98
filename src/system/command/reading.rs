//! Reading what a child writes.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::POLL;

/// How long after a child's end its output may still come.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes of a child's output that are kept; a lock with all of its hashes has a tenth.
const KEPT: usize = 16 << 20;

/// What a child has written to a pipe so far, read in a thread so that it never waits for us.
pub struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    /// Begins to read, if there is something to read.
    pub fn new<R: Read + Send + 'static>(pipe: Option<R>) -> Reader {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut chunk = [0; 8192];
            let Some(mut pipe) = pipe else { return };
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                if let Ok(mut bytes) = sink.lock() {
                    let room = KEPT - bytes.len();
                    bytes.extend_from_slice(&chunk[..count.min(room)]);
                }
            }
        });
        Reader { bytes, thread }
    }

    /// The text, once the pipe is closed or [`GRACE`] is over: a grandchild may hold it open.
    pub fn text(self) -> String {
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < GRACE {
            thread::sleep(POLL);
        }
        let bytes = self.bytes.lock().map(|bytes| bytes.clone());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }
}
