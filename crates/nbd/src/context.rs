//! Metadata contexts: what BLOCK_STATUS can tell of an export.
//!
//! Every export offers `base:allocation`, and for each peer of its resource which blocks that peer
//! lacks: as `x-tandem:out-of-sync/PEER`, and under the name `qemu:dirty-bitmap:PEER`, which other
//! people's tools can read. A context is known by its place in this list, which on the wire is its
//! id less one.

use crate::limits::PEERS_MAX;

/// A context of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Context(u8);

/// What a context tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// Where space is taken, and where zeroes are read: [`crate::wire::allocation`].
    Allocation,
    /// What is out of sync with a peer: [`crate::wire::bitmap`].
    OutOfSync {
        /// The peer's place in [`crate::ExportInfo::peers`].
        peer: usize,
    },
}

/// Contexts that a client has chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContextSet(u64);

/// A range of one kind, as BLOCK_STATUS tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes.
    pub len: u64,
    /// [`crate::wire::allocation`] or [`crate::wire::bitmap`] bits.
    pub flags: u32,
}

impl Context {
    /// All that an export offers.
    pub(crate) fn all(peers: &[String]) -> impl Iterator<Item = Self> {
        let count = 1 + 2 * peers.len().min(PEERS_MAX);
        (0..count).map(|place| Self(u8::try_from(place).expect("few peers")))
    }

    /// What it tells.
    #[must_use]
    pub fn kind(self) -> ContextKind {
        match self.0 {
            0 => ContextKind::Allocation,
            place => ContextKind::OutOfSync { peer: usize::from((place - 1) / 2) },
        }
    }

    /// Its name on the wire.
    pub(crate) fn id(self) -> u32 {
        u32::from(self.0) + 1
    }

    pub(crate) fn name(self, peers: &[String]) -> String {
        match self.kind() {
            ContextKind::Allocation => "base:allocation".into(),
            ContextKind::OutOfSync { peer } if self.0 % 2 == 1 => {
                format!("x-tandem:out-of-sync/{}", peers[peer])
            }
            ContextKind::OutOfSync { peer } => format!("qemu:dirty-bitmap:{}", peers[peer]),
        }
    }
}

impl ContextSet {
    /// None.
    pub const NONE: Self = Self(0);

    pub(crate) fn insert(&mut self, context: Context) {
        self.0 |= 1 << context.0;
    }

    pub(crate) fn take_first(&mut self) -> Option<Context> {
        let first = u8::try_from(self.0.trailing_zeros()).expect("at most 64");
        let context = (first < 64).then_some(Context(first))?;
        self.0 &= self.0 - 1;
        Some(context)
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Brings what the shell has found into the form of a reply: neighbours of one kind are one extent,
/// none is empty, and together they are no longer than `len_max` and no more than `count_max`.
///
/// # Panics
/// If nothing is told of the first byte.
pub(crate) fn tidied(
    extents: impl IntoIterator<Item = Extent>,
    len_max: u64,
    count_max: usize,
) -> Vec<Extent> {
    let mut tidied: Vec<Extent> = Vec::new();
    let mut left = len_max;
    for Extent { len, flags } in extents {
        let len = len.min(left);
        if len == 0 {
            continue;
        }
        let count = tidied.len();
        match tidied.last_mut() {
            Some(last) if last.flags == flags => last.len += len,
            Some(_) | None if count == count_max => break,
            Some(_) | None => tidied.push(Extent { len, flags }),
        }
        left -= len;
    }
    assert!(!tidied.is_empty(), "at least the first byte is told of");
    tidied
}

const _: () = assert!(2 * PEERS_MAX < 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_context_has_its_name_and_kind() {
        let peers = ["bob".to_owned(), "eve".to_owned()];
        let all: Vec<_> = Context::all(&peers).collect();
        let names: Vec<_> = all.iter().map(|context| context.name(&peers)).collect();
        let expected = [
            "base:allocation",
            "x-tandem:out-of-sync/bob",
            "qemu:dirty-bitmap:bob",
            "x-tandem:out-of-sync/eve",
            "qemu:dirty-bitmap:eve",
        ];
        assert_eq!(names, expected);
        assert_eq!(all[0].kind(), ContextKind::Allocation);
        for (context, peer) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
            assert_eq!(all[context].kind(), ContextKind::OutOfSync { peer });
        }
        assert_eq!(Context::all(&vec!["x".into(); 99]).count(), 63);
    }

    #[test]
    fn a_set_gives_each_of_its_contexts_once() {
        let mut set = ContextSet::default();
        for place in [62, 0, 7, 0] {
            set.insert(Context(place));
        }
        assert_eq!(set.len(), 3);
        let taken: Vec<_> = std::iter::from_fn(|| set.take_first()).collect();
        assert_eq!(taken, [Context(0), Context(7), Context(62)]);
        assert!(set.is_empty());
    }

    #[test]
    fn extents_are_merged_and_cut() {
        let extent = |len, flags| Extent { len, flags };
        let found = [extent(0, 9), extent(5, 1), extent(5, 1), extent(7, 0), extent(9, 3)];
        let tidied = |len, count| tidied(found, len, count);
        assert_eq!(tidied(100, 9), [extent(10, 1), extent(7, 0), extent(9, 3)]);
        assert_eq!(tidied(12, 9), [extent(10, 1), extent(2, 0)]);
        assert_eq!(tidied(100, 1), [extent(10, 1)]);
        assert_eq!(tidied(3, 1), [extent(3, 1)]);
    }
}
