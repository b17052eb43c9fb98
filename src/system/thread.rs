//! The end of a thread of this process's own.

use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

/// What a thread returned; its panic goes on here.
pub(crate) fn join<T>(thread: ScopedJoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
