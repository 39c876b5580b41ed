//! Descriptors that a process is started with.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Once;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The listening sockets that a service manager has passed on: `LISTEN_FDS` of them from number 3
/// on, if `LISTEN_PID` is this process. They are given once; a second call finds none.
pub fn listen_fds() -> Vec<OwnedFd> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let count = match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => number("LISTEN_FDS").unwrap_or(0),
        Some(_) | None => 0,
    };
    let mut taken = Vec::new();
    GIVEN.call_once(|| {
        let numbers = FIRST..FIRST + i32::try_from(count.min(COUNT_MAX)).expect("few");
        taken = numbers.filter_map(take).collect();
    });
    taken
}

fn take(number: i32) -> Option<OwnedFd> {
    // SAFETY: only an owner may close a descriptor. By the protocol of LISTEN_FDS this one was
    // opened for this process before it began and belongs to nobody in it, and `GIVEN` lets no
    // other call take it again. It is forgotten, not closed, where it turns out not to be open.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    match fcntl_getfd(&fd) {
        Ok(flags) => {
            // Handlers that are run need not inherit it. It is open, so this cannot fail.
            let _ = fcntl_setfd(&fd, flags | FdFlags::CLOEXEC);
            Some(fd)
        }
        Err(_) => {
            std::mem::forget(fd);
            None
        }
    }
}

/// The first number, by systemd's protocol.
const FIRST: i32 = 3;

/// More are not taken: nobody has so many addresses.
const COUNT_MAX: u32 = 64;

static GIVEN: Once = Once::new();
