//! How much of a shard's payload buffers its clients may use, so that peers always find some.
//!
//! Clients that want more wait. One request may need more buffers at once than are left when
//! several clients have each been given a part of theirs; so one client at a time, the *favourite*,
//! may go further than the others until one of its requests has been answered. And a client that
//! holds nothing always gets its turn: those that hoard replies stand in nobody's way.

/// Counts what the clients of a shard hold, in bytes of whole buffers.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    limit_of_favourite: u64,
    limit_of_newcomers: u64,
    charged: u64,
    favourite: Option<usize>,
}

impl Budget {
    /// Clients together may hold `limit` bytes, the favourite half of it on top, and those that
    /// hold nothing yet a quarter of it above that.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            limit_of_favourite: limit + limit / 2,
            limit_of_newcomers: limit + limit / 4 * 3,
            charged: 0,
            favourite: None,
        }
    }

    /// Whether a client that holds `held` bytes may begin another part; if not, it is to ask again.
    pub(crate) fn admits(&mut self, client: usize, held: u64) -> bool {
        let is_newcomer = held == 0 && self.charged < self.limit_of_newcomers;
        if self.charged < self.limit || is_newcomer {
            return true;
        }
        *self.favourite.get_or_insert(client) == client && self.charged < self.limit_of_favourite
    }

    pub(crate) fn charge(&mut self, bytes: u64) {
        self.charged += bytes;
    }

    pub(crate) fn release(&mut self, bytes: u64) {
        assert!(bytes <= self.charged, "no more is released than was charged");
        self.charged -= bytes;
    }

    /// A request of the client was answered, or the client is gone.
    pub(crate) fn end_favour(&mut self, client: usize) {
        self.favourite.take_if(|favourite| *favourite == client);
    }
}

/// What a part of `len` bytes of data costs: the slot of its buffer.
pub(crate) fn charge_of(len: usize) -> u64 {
    match len {
        0..=0x1000 => 0x1000,
        0x1001..=0x1_0000 => 0x1_0000,
        _ => 0x10_0000,
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn beyond_the_limit_only_the_favourite_goes_on_and_only_so_far() {
        let mut budget = Budget::new(100);
        assert!(budget.admits(1, 0));
        budget.charge(100);
        assert!(budget.admits(1, 50));
        assert!(!budget.admits(2, 50));
        budget.charge(50);
        assert!(!budget.admits(1, 100));
        budget.release(20);
        budget.end_favour(1);
        assert!(budget.admits(2, 50));
        assert!(!budget.admits(1, 80));
    }

    #[test]
    fn who_holds_nothing_gets_a_turn_while_others_hoard() {
        let mut budget = Budget::new(100);
        budget.charge(150);
        assert!(!budget.admits(1, 150));
        assert!(budget.admits(2, 0));
        budget.charge(25);
        assert!(!budget.admits(3, 0));
    }
}
