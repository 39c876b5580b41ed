//! A table whose entries are named by small numbers, which are used again when free.

/// The table.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    /// The number that the next [`insert`](Self::insert) will give.
    pub(crate) fn next_key(&self) -> usize {
        self.free.last().copied().unwrap_or(self.entries.len())
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        if let Some(key) = self.free.pop() {
            assert!(self.entries[key].is_none(), "a free entry is empty");
            self.entries[key] = Some(value);
            return key;
        }
        self.entries.push(Some(value));
        self.entries.len() - 1
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let value = self.entries.get_mut(key)?.take();
        if value.is_some() {
            self.free.push(key);
        }
        value
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.entries.get_mut(key)?.as_mut()
    }

    pub(crate) fn get(&self, key: usize) -> Option<&T> {
        self.entries.get(key)?.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// One more than the largest number in use.
    pub(crate) fn key_end(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_freed_number_is_given_again_and_no_other_moves() {
        let mut slab = Slab::new();
        let keys: Vec<usize> =
            ["a", "b", "c"].into_iter().map(|value| slab.insert(value)).collect();
        assert_eq!(slab.remove(keys[1]), Some("b"));
        assert_eq!(slab.remove(keys[1]), None);
        assert_eq!(slab.len(), 2);
        let expected = slab.next_key();
        assert_eq!(slab.insert("d"), expected);
        assert_eq!(expected, keys[1]);
        assert_eq!(slab.get(keys[2]), Some(&"c"));
        assert_eq!(slab.get(99), None);
    }
}
