//! What processes have used, from `/proc`.

use std::time::{Duration, Instant};

use tandem_tests::{Context, Result};

/// All of some processes' threads together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a processor, nanoseconds, in steps of 10 ms; that of threads that have ended is in
    /// it, and that of child processes that have.
    pub cpu_ns: u64,
    /// Times that a thread which still runs gave a processor up, or lost it.
    pub switches: u64,
    /// Memory, KiB.
    pub rss_kib: u64,
}

/// How long a child whose client is gone may take to end.
const CHILD_LIMIT: Duration = Duration::from_secs(1);

impl Usage {
    /// Of these processes until now, when the children that serve clients have ended: only then is
    /// their time known.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub fn of_ended(pids: &[u32]) -> Result<Self> {
        let begun = Instant::now();
        while pids.iter().any(|pid| has_children(*pid)) && begun.elapsed() < CHILD_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self::of(pids)
    }

    /// Of these processes until now.
    ///
    /// # Errors
    /// One of them is gone.
    pub fn of(pids: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let folder = format!("/proc/{pid}");
            let read = |path: String| std::fs::read_to_string(&path).about(path);
            sum.rss_kib += field(&read(format!("{folder}/status"))?, "VmRSS:");
            sum.cpu_ns += ticks(&read(format!("{folder}/stat"))?) * TICK_NS;
            let tasks = std::fs::read_dir(format!("{folder}/task")).about(&folder)?;
            for task in tasks {
                let task = task?.path().display().to_string();
                // A thread may end between being listed and being looked at.
                let Ok(status) = std::fs::read_to_string(format!("{task}/status")) else {
                    continue;
                };
                sum.switches += field(&status, "voluntary_ctxt_switches:")
                    + field(&status, "nonvoluntary_ctxt_switches:");
            }
        }
        Ok(sum)
    }
}

/// Linux's `USER_HZ` is 100 everywhere.
const TICK_NS: u64 = 10_000_000;

/// `utime`, `stime`, `cutime` and `cstime` of a process: the 14th to 17th field of its `stat`, the
/// 12th to 15th behind the name, which may have anything in it.
fn ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let numbers = rest.split_whitespace().skip(11).take(4);
    numbers.filter_map(|word| word.parse::<u64>().ok()).sum()
}

fn has_children(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut children = threads.map(|it| std::fs::read_to_string(it.path().join("children")));
    children.any(|children| children.is_ok_and(|children| !children.is_empty()))
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_child_that_has_ended_counts() {
        let pids = [std::process::id()];
        let before = Usage::of(&pids).expect("it runs");
        let work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let mut child = std::process::Command::new("sh").args(["-c", work]).spawn().expect("sh");
        assert!(has_children(pids[0]));
        // Nobody waits for it here, as the server does.
        child.wait().expect("it ends");
        let after = Usage::of_ended(&pids).expect("it runs");
        assert!(after.cpu_ns >= before.cpu_ns + 2 * TICK_NS);
    }

    #[test]
    fn a_process_that_works_has_used_something() {
        let pids = [std::process::id()];
        let before = Usage::of(&pids).expect("it runs");
        let mut sum = 0_u64;
        while Usage::of(&pids).expect("it runs").cpu_ns < before.cpu_ns + 2 * TICK_NS {
            sum = sum.wrapping_add(1);
        }
        assert!(before.rss_kib > 100 && sum > 0);
        let stat = "1 (a) b) S 1 1 1 0 -1 4194560 8 9 0 0 70 30 5 6 20 0 1 0";
        assert_eq!(ticks(stat), 111);
        assert_eq!(field("a: 1\nVmRSS:\t  12 kB\n", "VmRSS:"), 12);
    }
}
