//! A slab: values in slots that are used again, named by keys that are not.
//!
//! A key carries its slot's use count, so a late name of an earlier value finds nothing: that is
//! what makes late completions and late acks harmless. Nothing is allocated once it has grown.

/// Names a value in a [`Slab`]: slot in the low 32 bits, use count in the 24 bits above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64);

impl Key {
    /// Bits a key fits in.
    pub(crate) const BITS: u32 = 56;
    const USES: u32 = 1 << 24;

    fn new(slot: u32, uses: u32) -> Self {
        Self(u64::from(uses % Self::USES) << 32 | u64::from(slot))
    }

    /// The key as a number of [`Key::BITS`] bits.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The key that `bits` stand for; any number names something or nothing.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    fn slot(self) -> usize {
        usize::try_from(self.0 & u64::from(u32::MAX)).expect("32 bits fit")
    }
}

#[derive(Debug)]
struct Slot<T> {
    uses: u32,
    value: Option<T>,
}

/// Values under [`Key`]s.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            assert!(slot.value.is_none(), "a free slot is empty");
            slot.value = Some(value);
            return Key::new(index, slot.uses);
        }
        let index = u32::try_from(self.slots.len()).expect("limits keep slabs small");
        self.slots.push(Slot { uses: 0, value: Some(value) });
        Key::new(index, 0)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.slot())?;
        if !Self::names(key, slot) {
            return None;
        }
        slot.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot())?;
        if !Self::names(key, slot) {
            return None;
        }
        slot.value.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let index = key.slot();
        let slot = self.slots.get_mut(index)?;
        if !Self::names(key, slot) {
            return None;
        }
        let value = slot.value.take()?;
        slot.uses = slot.uses.wrapping_add(1);
        self.free.push(u32::try_from(index).expect("it came from 32 bits"));
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).expect("limits keep slabs small");
            slot.value.as_ref().map(|value| (Key::new(index, slot.uses), value))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    fn names(key: Key, slot: &Slot<T>) -> bool {
        key.0 >> 32 == u64::from(slot.uses % Key::USES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_value_and_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }
}
