//! The one place where a connection's bytes can be changed on their way: plain today.
//!
//! Everything sent passes [`Transform::seal`], everything received passes [`Transform::open`]. No
//! code outside may assume that the buffer written to a disk is the buffer on the wire: payload may
//! be received into its own buffer only where [`Transform::is_transparent`] says so.

use std::collections::VecDeque;

use bytes::Bytes;

/// What happens to bytes between the daemon and the socket.
#[derive(Debug)]
pub(crate) enum Transform {
    /// Nothing.
    Plain,
}

impl Transform {
    /// Takes the pieces to be sent, in order, and appends what goes on the wire to `wire`.
    pub(crate) fn seal(&mut self, pieces: &mut VecDeque<Bytes>, wire: &mut VecDeque<Bytes>) {
        match self {
            Self::Plain => wire.append(pieces),
        }
    }

    /// Turns what was received into what was sent, in place; returns how many bytes that makes.
    pub(crate) fn open(&mut self, received: &mut [u8]) -> usize {
        match self {
            Self::Plain => received.len(),
        }
    }

    /// Whether bytes on the wire are the bytes meant, so that they may be received anywhere.
    pub(crate) fn is_transparent(&self) -> bool {
        match self {
            Self::Plain => true,
        }
    }
}
