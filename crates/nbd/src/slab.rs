//! A vector of reusable slots whose keys are known to be stale.
//!
//! Slots are handed out again last-in first-out, so a steady load touches the same memory and
//! allocates nothing. Each reuse raises the slot's generation; a key of an earlier generation is a
//! bug of ours and panics instead of touching a stranger's entry.

use std::ops::{Index, IndexMut};

/// Name of one entry until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Option<u32>,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    slot: Slot<T>,
}

#[derive(Debug)]
enum Slot<T> {
    Free { next: Option<u32> },
    Used(T),
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: None, len: 0 }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        let Some(index) = self.free else {
            let index = u32::try_from(self.entries.len()).expect("limits keep slabs small");
            self.entries.push(Entry { generation: 0, slot: Slot::Used(value) });
            return Key { index, generation: 0 };
        };
        let entry = &mut self.entries[index as usize];
        let Slot::Free { next } = entry.slot else {
            panic!("slot {index} is in the free list and in use");
        };
        self.free = next;
        entry.slot = Slot::Used(value);
        Key { index, generation: entry.generation }
    }

    pub(crate) fn remove(&mut self, key: Key) -> T {
        let entry = &mut self.entries[key.index()];
        assert_eq!(entry.generation, key.generation, "stale key of slot {}", key.index);
        let slot = std::mem::replace(&mut entry.slot, Slot::Free { next: self.free });
        let Slot::Used(value) = slot else { panic!("slot {} was removed twice", key.index) };
        entry.generation = entry.generation.wrapping_add(1);
        self.free = Some(key.index);
        self.len -= 1;
        value
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.entries.len()
    }
}

impl<T> Index<Key> for Slab<T> {
    type Output = T;

    fn index(&self, key: Key) -> &T {
        let entry = &self.entries[key.index()];
        assert_eq!(entry.generation, key.generation, "stale key of slot {}", key.index);
        let Slot::Used(value) = &entry.slot else { panic!("slot {} is free", key.index) };
        value
    }
}

impl<T> IndexMut<Key> for Slab<T> {
    fn index_mut(&mut self, key: Key) -> &mut T {
        let entry = &mut self.entries[key.index()];
        assert_eq!(entry.generation, key.generation, "stale key of slot {}", key.index);
        let Slot::Used(value) = &mut entry.slot else { panic!("slot {} is free", key.index) };
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_under_new_keys() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!((slab[a], slab[b], slab.len()), ('a', 'b', 2));
        assert_eq!(slab.remove(a), 'a');
        let c = slab.insert('c');
        assert_eq!((c.index(), slab[c], slab[b]), (a.index(), 'c', 'b'));
        assert_ne!(a, c);
        assert_eq!((slab.len(), slab.slots()), (2, 2));
    }

    #[test]
    #[should_panic(expected = "stale key")]
    fn a_stale_key_is_caught() {
        let mut slab = Slab::new();
        let a = slab.insert('a');
        slab.remove(a);
        slab.insert('b');
        let _ = slab[a];
    }
}
