//! Random numbers of the system: for names that must not repeat, from one start to the next.

use rustix::rand::{GetRandomFlags, getrandom};

/// 64 random bits.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        // Waits only in the first seconds of a machine, and fails only on a signal during that.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    u64::from_ne_bytes(bytes)
}
