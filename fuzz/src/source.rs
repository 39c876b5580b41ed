//! An input read as a script: numbers and choices, taken off one after the other.
//!
//! Every input is a script, and behind its end everything is zero: so whatever is done to its bytes
//! makes another script, most of which does the same.

/// An input and how far it has been read.
#[derive(Clone, Debug)]
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number below `bound`, which is 1 to 256.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Any number, most often one that a reader of it may stumble over: small ones, blocks, edges.
    pub(crate) fn number(&mut self) -> u64 {
        let kind = self.byte();
        match kind {
            0..0x60 => u64::from(kind & 0x0f),
            0x60..0xa0 => u64::from(self.byte()) * 4096,
            0xa0..0xc0 => u64::from(self.short()),
            0xc0..0xd0 => u64::from(self.word()),
            0xd0..0xe0 => u64::MAX - u64::from(self.byte()),
            0xe0..0xf0 => (1 << (self.byte() & 63)) - u64::from(kind & 1),
            0xf0.. => u64::from_le_bytes(self.array()),
        }
    }

    /// As many as there are, `len` at most.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}
