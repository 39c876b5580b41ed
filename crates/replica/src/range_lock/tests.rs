//! The locks against a list that is searched whole, and the rules one by one.

use proptest::prelude::*;

use super::*;

use LockKind::{
    LocalWrite, PeerWrite, ResyncClaim, ResyncRead, ResyncWrite, VerifyClaim, VerifyRead,
};

/// A lock as the model keeps it, in the order of the line.
#[derive(Clone, Copy, Debug)]
struct ModelLock {
    id: LockId,
    kind: LockKind,
    offset: u64,
    end: u64,
    owner: u64,
    granted: bool,
    /// Taken in the place of this claim.
    under: Option<LockId>,
}

impl ModelLock {
    fn excludes(&self, other: &Self) -> bool {
        self.offset < other.end && other.offset < self.end && self.kind.conflicts_with(other.kind)
    }
}

/// Both implementations side by side.
#[derive(Default)]
struct Pair {
    locks: RangeLocks,
    model: Vec<ModelLock>,
    next_owner: u64,
}

impl Pair {
    fn acquire(&mut self, kind: LockKind, offset: u64, len: u64) {
        let owner = self.next_owner;
        self.next_owner += 1;
        let (id, acquired) = self.locks.acquire(kind, offset, len, owner);
        let granted = acquired == Acquired::Granted;
        let (end, under) = (offset + len, None);
        let lock = ModelLock { id, kind, offset, end, owner, granted, under };
        self.stand(self.model.len(), lock);
    }

    /// Takes a resync write under a claim that is held, if `index` finds one.
    fn acquire_under(&mut self, index: usize) {
        let claim = self.model[index];
        if claim.kind != ResyncClaim || !claim.granted {
            return;
        }
        let owner = self.next_owner;
        self.next_owner += 1;
        let (offset, end) = (claim.offset, claim.end);
        let (id, acquired) =
            self.locks.acquire_under(claim.id, ResyncWrite, offset, end - offset, owner);
        let (granted, under) = (acquired == Acquired::Granted, Some(claim.id));
        let lock = ModelLock { id, kind: ResyncWrite, offset, end, owner, granted, under };
        let same = self.model.iter().filter(|other| other.under == under).count();
        self.stand(index + 1 + same, lock);
    }

    fn stand(&mut self, place: usize, lock: ModelLock) {
        self.model.insert(place, lock);
        assert_eq!(lock.granted, self.may_hold(place), "{lock:?}");
    }

    /// Nobody before it in line, and nobody who holds, excludes it.
    fn may_hold(&self, place: usize) -> bool {
        let lock = &self.model[place];
        !self.model.iter().enumerate().any(|(index, other)| {
            index != place && (index < place || other.granted) && other.excludes(lock)
        })
    }

    /// Ends a lock, by release or cancellation as its state asks for.
    fn end(&mut self, index: usize) {
        let gone = self.model.remove(index);
        let mut granted = vec![Grant { lock: gone.id, owner: u64::MAX }];
        if gone.granted {
            self.locks.release(gone.id, &mut granted);
        } else {
            self.locks.cancel(gone.id, &mut granted);
        }
        assert_eq!(granted.remove(0).owner, u64::MAX, "what was there stays");
        let mut expected = Vec::new();
        for index in 0..self.model.len() {
            if !self.model[index].granted && self.may_hold(index) {
                self.model[index].granted = true;
                let lock = self.model[index];
                expected.push(Grant { lock: lock.id, owner: lock.owner });
            }
        }
        assert_eq!(granted, expected);
    }

    fn check(&self) {
        let held: Vec<_> = self.model.iter().filter(|lock| lock.granted).collect();
        for (index, lock) in held.iter().enumerate() {
            assert!(!held[..index].iter().any(|other| other.excludes(lock)), "both are held");
        }
        for lock in &self.model {
            assert_eq!(self.locks.is_granted(lock.id), lock.granted);
        }
        assert_eq!(self.locks.len(), self.model.len());
        assert_eq!(self.locks.waiting(), self.model.len() - held.len());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(LockKind, u64, u64),
    AcquireUnder(prop::sample::Index),
    End(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 1..6_u64, 2 => 1..40_u64, 1 => Just(1000_u64)];
    let acquire = (prop::sample::select(&LockKind::ALL), 0..60_u64, len)
        .prop_map(|(kind, offset, len)| Step::Acquire(kind, offset, len));
    let under = any::<prop::sample::Index>().prop_map(Step::AcquireUnder);
    let end = any::<prop::sample::Index>().prop_map(Step::End);
    prop::collection::vec(prop_oneof![6 => acquire, 3 => under, 4 => end], 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Safe, in order of arrival, and without a lost wake-up: the model grants all that it may.
    #[test]
    fn behaves_as_a_searched_list(steps in steps(), shut in any::<prop::sample::Index>()) {
        let mut pair = Pair::default();
        for step in steps {
            match step {
                Step::Acquire(kind, offset, len) => pair.acquire(kind, offset, len),
                Step::End(_) | Step::AcquireUnder(_) if pair.model.is_empty() => {}
                Step::AcquireUnder(index) => pair.acquire_under(index.index(pair.model.len())),
                Step::End(index) => pair.end(index.index(pair.model.len())),
            }
            pair.check();
        }
        // Releasing what is held, in any order, lets everybody in.
        while !pair.model.is_empty() {
            let held: Vec<_> = (0..pair.model.len()).filter(|i| pair.model[*i].granted).collect();
            prop_assert!(!held.is_empty(), "nobody is held and {} wait", pair.model.len());
            pair.end(held[shut.index(held.len())]);
            pair.check();
        }
        prop_assert!(pair.locks.is_empty());
    }
}

#[test]
fn conflicts_are_as_drawn() {
    const Y: bool = true;
    const N: bool = false;
    let kinds =
        [LocalWrite, PeerWrite, ResyncClaim, ResyncRead, ResyncWrite, VerifyClaim, VerifyRead];
    let table = [
        [Y, Y, Y, Y, Y, Y, N],
        [Y, Y, N, Y, Y, N, Y],
        [Y, N, Y, N, N, N, N],
        [Y, Y, N, Y, Y, N, N],
        [Y, Y, N, Y, Y, N, Y],
        [Y, N, N, N, N, N, N],
        [N, Y, N, N, Y, N, N],
    ];
    assert_eq!(kinds, LockKind::ALL);
    for (one, row) in kinds.into_iter().zip(table) {
        for (other, conflict) in kinds.into_iter().zip(row) {
            assert_eq!(one.conflicts_with(other), conflict, "{one:?} {other:?}");
        }
    }
}

#[test]
fn nobody_overtakes_a_waiting_lock() {
    let (mut locks, mut granted) = (RangeLocks::with_capacity(8), Vec::new());
    let (first, _) = locks.acquire(LocalWrite, 0, 8192, 1);
    let (second, waits) = locks.acquire(LocalWrite, 4096, 8192, 2);
    assert_eq!(waits, Acquired::Waiting);
    // Does not touch the first, and yet comes behind the second.
    let (third, waits) = locks.acquire(LocalWrite, 8192, 4096, 3);
    assert_eq!(waits, Acquired::Waiting);
    assert_eq!(locks.acquire(LocalWrite, 12288, 1, 4).1, Acquired::Granted);
    locks.release(first, &mut granted);
    assert_eq!(granted, [Grant { lock: second, owner: 2 }]);
    locks.release(second, &mut granted);
    assert_eq!(granted[1..], [Grant { lock: third, owner: 3 }]);
}

#[test]
fn cancelling_lets_those_behind_pass_in_order() {
    let (mut locks, mut granted) = (RangeLocks::default(), Vec::new());
    let (_held, _) = locks.acquire(PeerWrite, 0, 1, 1);
    let (wide, _) = locks.acquire(LocalWrite, 0, 100, 2);
    let (late, _) = locks.acquire(PeerWrite, 90, 5, 3);
    let (later, _) = locks.acquire(PeerWrite, 10, 5, 4);
    locks.cancel(wide, &mut granted);
    assert_eq!(granted, [Grant { lock: late, owner: 3 }, Grant { lock: later, owner: 4 }]);
    assert!(!locks.is_granted(wide));
    assert_eq!(locks.waiting(), 0);
}

/// The target asks for a range; a peer's write passes, the application's waits for the reply.
#[test]
fn a_claim_lets_the_peer_pass_and_holds_the_application() {
    let (mut locks, mut granted) = (RangeLocks::default(), Vec::new());
    let (claim, _) = locks.acquire(ResyncClaim, 0, 65536, 1);
    let (peer, at_once) = locks.acquire(PeerWrite, 4096, 4096, 2);
    assert_eq!(at_once, Acquired::Granted);
    let (local, waits) = locks.acquire(LocalWrite, 32768, 4096, 3);
    assert_eq!(waits, Acquired::Waiting);
    // Before the application's write, which waits for it; behind the peer's, which is being
    // written.
    let (reply, waits) = locks.acquire_under(claim, ResyncWrite, 0, 65536, 4);
    assert_eq!(waits, Acquired::Waiting);
    assert_eq!(locks.acquire(PeerWrite, 0, 4096, 5).1, Acquired::Waiting);
    locks.release(peer, &mut granted);
    assert_eq!(granted, [Grant { lock: reply, owner: 4 }]);
    locks.release(reply, &mut granted);
    assert_eq!(granted[1].owner, 5);
    locks.release(claim, &mut granted);
    assert_eq!(granted[2..], [Grant { lock: local, owner: 3 }]);
}

/// The claim may go first, as when its session is lost while the reply is being written.
#[test]
fn a_resync_write_outlives_its_claim() {
    let (mut locks, mut granted) = (RangeLocks::default(), Vec::new());
    let (claim, _) = locks.acquire(ResyncClaim, 0, 4096, 1);
    let (local, _) = locks.acquire(LocalWrite, 0, 4096, 2);
    let (reply, at_once) = locks.acquire_under(claim, ResyncWrite, 0, 4096, 3);
    assert_eq!(at_once, Acquired::Granted);
    locks.release(claim, &mut granted);
    assert_eq!(granted, []);
    locks.release(reply, &mut granted);
    assert_eq!(granted, [Grant { lock: local, owner: 2 }]);
}

/// The verifying node asks; the peer's writes pass and stand before the read, the application's
/// waits for it, and nobody waits in a circle.
#[test]
fn a_verify_holds_the_application_and_reads_in_line() {
    let (mut locks, mut granted) = (RangeLocks::default(), Vec::new());
    let (claim, _) = locks.acquire(VerifyClaim, 0, 65536, 1);
    let (local, waits) = locks.acquire(LocalWrite, 4096, 4096, 2);
    assert_eq!(waits, Acquired::Waiting);
    let (before, at_once) = locks.acquire(PeerWrite, 8192, 4096, 3);
    assert_eq!(at_once, Acquired::Granted);
    let (read, waits) = locks.acquire(VerifyRead, 0, 65536, 4);
    assert_eq!(waits, Acquired::Waiting);
    assert_eq!(locks.acquire(PeerWrite, 16384, 4096, 5).1, Acquired::Waiting);
    locks.release(before, &mut granted);
    assert_eq!(granted, [Grant { lock: read, owner: 4 }]);
    locks.release(read, &mut granted);
    assert_eq!(granted[1].owner, 5);
    locks.release(claim, &mut granted);
    assert_eq!(granted[2..], [Grant { lock: local, owner: 2 }]);
}

#[test]
#[should_panic(expected = "used after its end")]
fn a_lock_ends_once() {
    let mut locks = RangeLocks::default();
    let (id, _) = locks.acquire(LocalWrite, 0, 1, 1);
    locks.release(id, &mut Vec::new());
    locks.acquire(LocalWrite, 0, 1, 2);
    locks.release(id, &mut Vec::new());
}

#[test]
#[should_panic(expected = "that was waiting")]
fn a_waiting_lock_is_not_released() {
    let mut locks = RangeLocks::default();
    locks.acquire(LocalWrite, 0, 1, 1);
    let (id, _) = locks.acquire(LocalWrite, 0, 1, 2);
    locks.release(id, &mut Vec::new());
}
