//! What the kernel answers too rarely to be waited for: the results are handed in here.

use super::Uring;
use super::flight::Flight;
use crate::limits::RETRIES_MAX;
use crate::testing::{disk_folder, file_in};
use crate::{Access, Config, Op, OpenOptions, Pool, open};

/// A ring with one read of 4096 bytes that it takes for submitted, and the number of that flight.
fn read_in_flight(retries: u8, is_cancelled: bool) -> (Uring, u32) {
    let path = file_in(&disk_folder(), 4096);
    let disk = open(&path, &OpenOptions::default()).unwrap();
    let pool = Pool::default();
    let mut uring = Uring::new(Config::default(), &pool).unwrap();
    let handle = uring.register(disk.file, Access::Ring).unwrap();
    let buffer = pool.take(4096).unwrap();
    let op = Op::Read { file: crate::FileId(handle), offset: 0, buffer };
    uring.descriptors.begin(handle).unwrap();
    let flight = Flight { token: 9, op, message: None, retries, is_cancelled };
    let number = uring.flights.insert(flight);
    (uring, number)
}

#[test]
fn a_transient_error_is_tried_again_and_not_reported() {
    for errno in [libc::EINTR, libc::EAGAIN] {
        let (mut uring, number) = read_in_flight(0, false);
        assert!(uring.land(number, -errno).is_none());
        let mut out = Vec::new();
        while out.is_empty() {
            uring.wait(None, &mut out).unwrap();
        }
        assert_eq!(*out[0].result.as_ref().unwrap(), 4096);
        assert_eq!((out[0].token, uring.stats().retries), (9, 1));
    }
}

#[test]
fn a_transient_error_that_stays_is_reported() {
    let (mut uring, number) = read_in_flight(RETRIES_MAX, false);
    let done = uring.land(number, -libc::EAGAIN).unwrap();
    assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    assert_eq!(uring.operations(), 0);
}

/// A worker thread is interrupted by the cancellation that it was asked for.
#[test]
fn an_interruption_of_what_was_cancelled_is_its_cancellation() {
    let (mut uring, number) = read_in_flight(0, true);
    let done = uring.land(number, -libc::EINTR).unwrap();
    assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
}

#[test]
fn other_errors_are_reported_at_once() {
    let (mut uring, number) = read_in_flight(0, false);
    let done = uring.land(number, -libc::EIO).unwrap();
    assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(uring.stats().retries, 0);
}
