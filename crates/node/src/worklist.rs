//! Numbers of table entries that something is to be done for, each at most once.

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Worklist {
    keys: Vec<usize>,
    is_listed: Vec<bool>,
}

impl Worklist {
    pub(crate) fn push(&mut self, key: usize) {
        if self.is_listed.len() <= key {
            self.is_listed.resize(key + 1, false);
        }
        if !std::mem::replace(&mut self.is_listed[key], true) {
            self.keys.push(key);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<usize> {
        let key = self.keys.pop()?;
        self.is_listed[key] = false;
        Some(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Moves everything to `other`.
    pub(crate) fn move_to(&mut self, other: &mut Self) {
        while let Some(key) = self.pop() {
            other.push(key);
        }
    }
}
