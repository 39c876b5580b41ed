//! Signs of life on a link: pings, their answers, and packets that take long to arrive.
//!
//! A ping waits behind what was sent before it. On a narrow link a large packet can take longer
//! than a ping may, so whoever sees one arriving says so unasked, by a `PingAck`.

use std::time::Duration;

use crate::time::Instant;

/// What is known of the life of a peer.
#[derive(Debug)]
pub(crate) struct Signs {
    /// When bytes last came.
    pub(crate) heard_at: Instant,
    /// When the ping was sent that nothing has come since.
    pub(crate) pinged_at: Option<Instant>,
    /// Pings whose answers have not come.
    unanswered: u32,
    /// Since when a packet has been arriving, or when the peer was last told that it is.
    arriving_since: Option<Instant>,
    /// When a packet was last known to be on its way, here or at the peer.
    pub(crate) moved_at: Instant,
}

impl Signs {
    /// Those of a link that has just come up.
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard_at: now, pinged_at: None, unanswered: 0, arriving_since: None, moved_at: now }
    }

    /// Bytes came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// A ping goes out.
    pub(crate) fn pinged(&mut self, now: Instant) {
        self.pinged_at.get_or_insert(now);
        self.unanswered += 1;
    }

    /// The peer answers a ping. Where it was not asked, it says that a packet is arriving there.
    pub(crate) fn ping_acked(&mut self, now: Instant) {
        match self.unanswered.checked_sub(1) {
            Some(unanswered) => self.unanswered = unanswered,
            None => self.moved_at = now,
        }
    }

    /// Bytes came that are not a whole packet yet. Whether the peer is to be told: once in `pause`.
    pub(crate) fn packet_arrives(&mut self, pause: Duration, now: Instant) -> bool {
        let since = *self.arriving_since.get_or_insert(now);
        let is_long = now >= since + pause;
        if is_long {
            (self.arriving_since, self.moved_at) = (Some(now), now);
        }
        is_long
    }

    /// A packet has come.
    pub(crate) fn packet_arrived(&mut self) {
        self.arriving_since = None;
    }
}
