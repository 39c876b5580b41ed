//! Independent runs, several at a time: they share a counter and nothing else.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many as were asked for, or as there are processors.
pub fn count(asked: Option<NonZeroUsize>) -> usize {
    let processors = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    asked.unwrap_or_else(processors).get()
}

/// Calls `run` with every number below `count`, from so many threads.
pub fn for_each(count: u64, jobs: usize, run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    run(index);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        let seen: Vec<AtomicU64> = (0..50).map(|_| AtomicU64::new(0)).collect();
        let times = |index: u64| &seen[usize::try_from(index).expect("small")];
        for_each(50, 3, |index| {
            times(index).fetch_add(1, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{seen:?}");
        assert!(count(None) >= 1);
    }
}
