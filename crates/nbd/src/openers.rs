//! Who has a resource open, and the role that follows from it (DRBD's `auto-promote`).
//!
//! NBD has no message that says "open for writing": who chooses an export that is not read-only may
//! write. So the first such client takes the role of Primary for all, and it is given back behind
//! the last client, of whatever kind. A role that an operator has chosen is never given back.
//!
//! [`Openers`] decides; whoever serves the clients asks for the changes of role that it wants, one
//! at a time, and says how they went. Clients that come meanwhile wait here. How many those may be
//! is bounded by who lets them in.

/// The clients of a resource, as far as its role goes.
#[derive(Debug)]
pub struct Openers<C> {
    promotes: bool,
    open: usize,
    waiting: Vec<C>,
    /// A change that was asked for.
    change: Option<RoleChange>,
    /// The role was taken for clients.
    is_borrowed: bool,
    /// Operators' commands that take the resource down.
    ends: usize,
}

/// What a client is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening<C> {
    /// Open, or be refused for what stands in its way.
    Now(C),
    /// Wait; the promotion is to be asked for.
    Promote,
    /// Wait for the change of role that is under way.
    Wait,
}

/// A change of role, for the clients' sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// To Primary.
    Promote,
    /// To Secondary.
    Demote,
}

impl<C> Openers<C> {
    /// Of a resource that nobody has open; with `promotes`, clients that may write promote it.
    #[must_use]
    pub fn new(promotes: bool) -> Self {
        let waiting = Vec::new();
        Self { promotes, open: 0, waiting, change: None, is_borrowed: false, ends: 0 }
    }

    /// A client wants to open the resource, which `is_served` to clients now, or not.
    pub fn open(&mut self, client: C, writes: bool, is_served: bool) -> Opening<C> {
        if self.change.is_some() {
            self.waiting.push(client);
            return Opening::Wait;
        }
        if is_served || !writes || !self.promotes() {
            return Opening::Now(client);
        }
        self.waiting.push(client);
        self.change = Some(RoleChange::Promote);
        Opening::Promote
    }

    /// A client has opened it.
    pub fn opened(&mut self) {
        self.open += 1;
    }

    /// A client that had opened it is gone.
    ///
    /// # Panics
    /// If there was none.
    pub fn closed(&mut self) {
        self.open = self.open.checked_sub(1).expect("who closes has opened");
    }

    /// Whether the role is to be given back; if so the demotion is to be asked for. To be called
    /// when a client has closed, and when those that waited for a promotion have been told.
    #[must_use]
    pub fn gives_back(&mut self) -> bool {
        let is_used = self.open > 0 || !self.waiting.is_empty();
        let is_due = self.is_borrowed && !is_used && self.change.is_none() && self.ends == 0;
        if is_due {
            self.change = Some(RoleChange::Demote);
        }
        is_due
    }

    /// The change that was asked for has ended; who waited for it is returned. They open anew, but
    /// where a promotion came to nothing they are told of that.
    ///
    /// # Panics
    /// If none was asked for.
    pub fn changed(&mut self, is_done: bool) -> (RoleChange, Vec<C>) {
        let change = self.change.take().expect("only what was asked for ends");
        match change {
            RoleChange::Promote => self.is_borrowed = is_done,
            // Refused, somebody else is changing the role, who then decides about it.
            RoleChange::Demote => self.is_borrowed = false,
        }
        (change, std::mem::take(&mut self.waiting))
    }

    /// An operator has chosen the role.
    pub fn operator_chose(&mut self) {
        self.is_borrowed = false;
    }

    /// An operator takes the resource down: no client brings it up again.
    pub fn begin_end(&mut self) {
        self.ends += 1;
    }

    /// It stays up after all.
    ///
    /// # Panics
    /// If its end had not begun.
    pub fn cancel_end(&mut self) {
        self.ends = self.ends.checked_sub(1).expect("what is cancelled was begun");
    }

    /// From here on clients promote the resource, or do not.
    pub fn set_promotes(&mut self, promotes: bool) {
        self.promotes = promotes;
    }

    /// Whether a client that may write would promote the resource.
    #[must_use]
    pub fn promotes(&self) -> bool {
        self.promotes && self.ends == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Openers, Opening, RoleChange};

    /// Opened by one client for whom it was promoted.
    fn borrowed() -> Openers<u32> {
        let mut openers = Openers::new(true);
        assert_eq!(openers.open(1, true, false), Opening::Promote);
        assert_eq!(openers.changed(true), (RoleChange::Promote, vec![1]));
        assert_eq!(openers.open(1, true, true), Opening::Now(1));
        openers.opened();
        assert!(!openers.gives_back());
        openers
    }

    #[test]
    fn the_first_one_promotes_and_behind_the_last_one_it_is_given_back() {
        let mut openers = borrowed();
        assert_eq!(openers.open(2, true, true), Opening::Now(2));
        openers.opened();
        openers.closed();
        assert!(!openers.gives_back());
        openers.closed();
        assert!(openers.gives_back() && !openers.gives_back());
        // Who comes during the demotion promotes anew.
        assert_eq!(openers.open(3, true, true), Opening::Wait);
        assert_eq!(openers.changed(true), (RoleChange::Demote, vec![3]));
        assert_eq!(openers.open(3, true, false), Opening::Promote);
    }

    #[test]
    fn who_comes_during_a_promotion_waits_and_hears_of_its_failure() {
        let mut openers = Openers::new(true);
        assert_eq!(openers.open(1, true, false), Opening::Promote);
        assert_eq!(openers.open(2, true, false), Opening::Wait);
        assert_eq!(openers.open(3, false, false), Opening::Wait);
        assert!(!openers.gives_back());
        assert_eq!(openers.changed(false), (RoleChange::Promote, vec![1, 2, 3]));
        assert!(!openers.gives_back(), "what was not taken is not given back");
        assert_eq!(openers.open(4, true, false), Opening::Promote);
    }

    #[test]
    fn all_who_waited_may_be_gone_when_the_promotion_is_done() {
        let mut openers = Openers::new(true);
        assert_eq!(openers.open(1, true, false), Opening::Promote);
        let _ = openers.changed(true);
        assert!(openers.gives_back());
    }

    #[test]
    fn who_only_reads_takes_part_but_does_not_promote() {
        let mut openers = Openers::new(true);
        assert_eq!(openers.open(1, false, false), Opening::Now(1));
        let mut openers = borrowed();
        assert_eq!(openers.open(2, false, true), Opening::Now(2));
        openers.opened();
        openers.closed();
        assert!(!openers.gives_back(), "a reader is left");
        openers.closed();
        assert!(openers.gives_back());
    }

    #[test]
    fn what_an_operator_chose_stays() {
        let mut openers = Openers::new(true);
        assert_eq!(openers.open(1, true, true), Opening::Now(1));
        openers.opened();
        openers.closed();
        assert!(!openers.gives_back(), "the operator has promoted it");
        let mut openers = borrowed();
        openers.operator_chose();
        openers.closed();
        assert!(!openers.gives_back(), "the operator has taken the role over");
    }

    #[test]
    fn a_demotion_that_somebody_forestalls_is_not_tried_again() {
        let mut openers = borrowed();
        openers.closed();
        assert!(openers.gives_back());
        assert_eq!(openers.changed(false), (RoleChange::Demote, vec![]));
        assert!(!openers.gives_back());
    }

    #[test]
    fn nobody_promotes_what_is_taken_down_or_is_not_to_be_promoted() {
        let mut openers = Openers::new(false);
        assert_eq!(openers.open(1, true, false), Opening::Now(1));
        openers.set_promotes(true);
        openers.begin_end();
        assert_eq!(openers.open(2, true, false), Opening::Now(2));
        assert!(!openers.promotes());
        openers.cancel_end();
        assert_eq!(openers.open(3, true, false), Opening::Promote);
        let mut openers = borrowed();
        openers.begin_end();
        openers.closed();
        assert!(!openers.gives_back(), "that is done by who takes it down");
    }
}
