//! Indexes of peers and volumes inside a resource, and sets of peers.

use std::ops::{Index, IndexMut};

use tandem_wire::{NodeId, VolumeNumber};

use crate::action::AttachGeneration;
use crate::resource::Resource;

/// A connection's place among the resource's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerIndex(pub(crate) u8);

/// A volume's place among the resource's volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VolumeIndex(pub(crate) u16);

/// A list that only its own kind of index opens.
#[derive(Debug)]
pub(crate) struct List<T>(Vec<T>);

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl<T> List<T> {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Index<PeerIndex> for List<T> {
    type Output = T;

    fn index(&self, index: PeerIndex) -> &T {
        &self.0[usize::from(index.0)]
    }
}

impl<T> IndexMut<PeerIndex> for List<T> {
    fn index_mut(&mut self, index: PeerIndex) -> &mut T {
        &mut self.0[usize::from(index.0)]
    }
}

impl<T> Index<VolumeIndex> for List<T> {
    type Output = T;

    fn index(&self, index: VolumeIndex) -> &T {
        &self.0[usize::from(index.0)]
    }
}

impl<T> IndexMut<VolumeIndex> for List<T> {
    fn index_mut(&mut self, index: VolumeIndex) -> &mut T {
        &mut self.0[usize::from(index.0)]
    }
}

/// A set of peers, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerSet(u32);

const _: () = assert!(NodeId::COUNT_MAX as u32 <= u32::BITS);

impl PeerSet {
    pub(crate) fn insert(&mut self, peer: PeerIndex) {
        self.0 |= 1 << peer.0;
    }

    /// Whether it was in.
    pub(crate) fn remove(&mut self, peer: PeerIndex) -> bool {
        let was = self.contains(peer);
        self.0 &= !(1 << peer.0);
        was
    }

    pub(crate) fn contains(self, peer: PeerIndex) -> bool {
        self.0 & 1 << peer.0 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = PeerIndex> {
        (0..NodeId::COUNT_MAX).map(PeerIndex).filter(move |peer| self.contains(*peer))
    }
}

impl Resource {
    pub(crate) fn peer_indexes(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        (0..u8::try_from(self.connections.len()).expect("at most 31 peers")).map(PeerIndex)
    }

    pub(crate) fn volume_indexes(&self) -> impl Iterator<Item = VolumeIndex> + use<> {
        (0..u16::try_from(self.volumes.len()).expect("volume numbers are u16")).map(VolumeIndex)
    }

    pub(crate) fn peer_by_node(&self, node: NodeId) -> Option<PeerIndex> {
        self.peer_indexes().find(|peer| self.connections[*peer].config.node_id == node)
    }

    pub(crate) fn volume_by_number(&self, number: VolumeNumber) -> Option<VolumeIndex> {
        self.volume_indexes().find(|volume| self.volumes[*volume].number == number)
    }

    /// The volume whose disk that is, unless it is another attach's by now.
    pub(crate) fn volume_of_attach(
        &self,
        number: VolumeNumber,
        generation: AttachGeneration,
    ) -> Option<VolumeIndex> {
        let volume = self.volume_by_number(number)?;
        (self.volumes[volume].generation == generation).then_some(volume)
    }
}
