//! Who holds the lock on a file, as far as the system tells: for the error message only.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::fs::{fstat, major, minor};

/// The process that locked the file by flock. Unknown if it lives in another PID namespace.
pub(super) fn holder(file: BorrowedFd<'_>) -> Option<u32> {
    let stat = fstat(file).ok()?;
    let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
    let place = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    find(&fs::read_to_string("/proc/locks").ok()?, &place)
}

/// Finds `1: FLOCK  ADVISORY  WRITE 4711 fe:00:133 0 EOF` by its place.
fn find(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_flock = words.next()? == "FLOCK";
        let pid = words.nth(2)?.parse().ok().filter(|pid| *pid > 0);
        if is_flock && words.next()? == place { pid } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn finds_the_flock_of_the_file_and_nothing_else() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:00:5 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 8 fe:00:6 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fe:00:5 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4711 fe:00:5 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE -1 fe:00:9 0 EOF\n\
                     5: FLOCK\n";
        assert_eq!(find(locks, "fe:00:5"), Some(4711));
        assert_eq!(find(locks, "fe:00:6"), Some(8));
        assert_eq!(find(locks, "fe:00:7"), None);
        assert_eq!(find(locks, "fe:00:9"), None);
        assert_eq!(find("", "fe:00:5"), None);
    }
}
