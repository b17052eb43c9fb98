//! Work on threads of this process's own.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::{ScopedJoinHandle, available_parallelism, scope};

/// What a thread returned; its panic goes on here.
pub(crate) fn join<T>(thread: ScopedJoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What `work` returns for each part of `items`, of which every processor has one.
pub(crate) fn divide<I: Sync, T: Send>(items: &[I], work: impl Fn(&[I]) -> T + Sync) -> Vec<T> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let size = items.len().div_ceil(processors).max(1);
    scope(|scope| {
        let work = &work;
        let parts = items.chunks(size);
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_and_nothing_done_twice() {
        for length in [0, 1, 2, 99] {
            let items: Vec<usize> = (0..length).collect();
            assert_eq!(divide(&items, <[usize]>::to_vec).concat(), items);
        }
    }
}
