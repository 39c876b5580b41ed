//! Processes bound to processors for a while.

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tandem_tests::{Context, Failure, Result};

/// Processes, and where they were allowed to run before. Dropped, it lets them run there again.
#[derive(Debug)]
pub struct Binding {
    before: Vec<(u32, CpuSet)>,
}

/// The processors for a Primary and for its peer: the first two that we may use, or the one that
/// there is.
///
/// # Errors
/// The system does not tell.
pub fn processors() -> Result<[usize; 2]> {
    let ours = sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|processor| ours.is_set(*processor));
    let first = allowed.next().ok_or_else(|| Failure::new("no processor may be used"))?;
    Ok([first, allowed.next().unwrap_or(first)])
}

impl Binding {
    /// Binds all threads of each process to its processor, and so those that they start.
    ///
    /// # Errors
    /// One is gone, or may not be bound.
    pub fn new(processes: &[(u32, usize)]) -> Result<Self> {
        let mut binding = Self { before: Vec::new() };
        for (pid, processor) in processes {
            let before = sched_getaffinity(Some(id(*pid)?)).about(format!("process {pid}"))?;
            binding.before.push((*pid, before));
            let mut only = CpuSet::new();
            only.set(*processor);
            bind(*pid, &only)?;
        }
        Ok(binding)
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        for (pid, before) in &self.before {
            // One that is gone needs it no more.
            let _ = bind(*pid, before);
        }
    }
}

fn bind(pid: u32, to: &CpuSet) -> Result<()> {
    let folder = format!("/proc/{pid}/task");
    for thread in std::fs::read_dir(&folder).about(&folder)? {
        let Some(thread) = thread?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match sched_setaffinity(Some(id(thread)?), to) {
            // io_uring's workers stay where the kernel puts them; a thread may end meanwhile.
            Ok(()) | Err(Errno::INVAL | Errno::SRCH) => {}
            Err(error) => return Err(error).about(format!("thread {thread} of process {pid}")),
        }
    }
    Ok(())
}

fn id(pid: u32) -> Result<Pid> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Failure::new("a pid that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_are_bound_until_it_is_dropped() {
        let (hang_up, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let of_all = || -> Vec<CpuSet> {
            let threads = std::fs::read_dir("/proc/self/task").expect("we run");
            let ids = threads.map(|it| it.expect("one").file_name().into_string().expect("digits"));
            let ids = ids.filter_map(|name| Pid::from_raw(name.parse().expect("a number")));
            ids.filter_map(|id| sched_getaffinity(Some(id)).ok()).collect()
        };
        let before = sched_getaffinity(None).expect("the system tells");
        let [_, last] = processors().expect("there is one");
        let binding = Binding::new(&[(std::process::id(), last)]).expect("ours may be bound");
        let mut only = CpuSet::new();
        only.set(last);
        assert!(of_all().len() >= 2 && of_all().iter().all(|set| *set == only));
        drop(binding);
        assert!(of_all().iter().all(|set| *set == before));
        drop(hang_up);
        let _ = thread.join();
    }
}
