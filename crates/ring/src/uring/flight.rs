//! Operations that the kernel has, or will be given with the next enter.
//!
//! A flight owns its operation from submission to completion. Its number is the user data of the
//! submission, so a completion finds it without a search; numbers are reused only after the
//! completion, of which there is exactly one for each.

use bytes::Bytes;
use std::collections::VecDeque;
use std::ptr;

use crate::limits::SEND_PIECES_MAX;
use crate::op::Op;

/// One operation in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) token: u64,
    pub(super) op: Op,
    /// The header and vector of a send, which the kernel reads by address.
    pub(super) message: Option<Box<Message>>,
    pub(super) retries: u8,
    /// Whether a cancellation was asked for, so that EINTR means that it succeeded.
    pub(super) is_cancelled: bool,
}

/// All operations in flight; its storage is allocated once.
#[derive(Debug)]
pub(super) struct Flights {
    slots: Vec<Option<Flight>>,
    free: Vec<u32>,
}

/// What a gathered send passes to the kernel. Boxed, since `header` points to `pieces`; kept for
/// the next send.
#[derive(Debug)]
pub(super) struct Message {
    header: libc::msghdr,
    pieces: Vec<libc::iovec>,
}

impl Flights {
    pub(super) fn new(count: u32) -> Self {
        Self { slots: (0..count).map(|_| None).collect(), free: (0..count).rev().collect() }
    }

    /// The caller has checked that `len` is below the count.
    pub(super) fn insert(&mut self, flight: Flight) -> u32 {
        let number = self.free.pop().expect("the engine admits no more flights than it has slots");
        let slot = &mut self.slots[number as usize];
        assert!(slot.is_none(), "a free slot is empty");
        *slot = Some(flight);
        number
    }

    /// Ends a flight: the kernel has posted its completion.
    pub(super) fn remove(&mut self, number: u32) -> Flight {
        let flight = self.slots[number as usize].take();
        self.free.push(number);
        flight.expect("a completion belongs to a flight")
    }

    pub(super) fn flight_mut(&mut self, number: u32) -> &mut Flight {
        self.slots[number as usize].as_mut().expect("a completion belongs to a flight")
    }

    /// The numbers of the flights under a token. Looks at every slot: cancelling is rare.
    pub(super) fn cancel(&mut self, token: u64) -> Vec<u32> {
        let mut numbers = Vec::new();
        for (number, slot) in (0..).zip(&mut self.slots) {
            if let Some(flight) = slot.as_mut().filter(|flight| flight.token == token) {
                flight.is_cancelled = true;
                numbers.push(number);
            }
        }
        numbers
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Message {
    pub(super) fn new() -> Box<Self> {
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self { header, pieces: Vec::new() })
    }

    /// Points the message at the bytes of `pieces`, which must outlive the use of the result.
    pub(super) fn gather(&mut self, pieces: &VecDeque<Bytes>) -> *const libc::msghdr {
        self.pieces.clear();
        self.pieces.extend(pieces.iter().take(SEND_PIECES_MAX).map(|piece| libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        }));
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = self.pieces.len();
        &raw const self.header
    }
}
