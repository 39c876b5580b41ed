//! Little-endian fields at fixed places, named as docs/PROTOCOL.md names them.
//!
//! A [`Field`] is both what the code reads and writes through and what the test of the document
//! compares with, so that the drawing cannot say anything else than the code does.

use std::marker::PhantomData;

/// One number at a fixed offset of a header or record.
#[derive(Debug)]
pub(crate) struct Field<T> {
    name: &'static str,
    at: usize,
    marker: PhantomData<fn() -> T>,
}

/// What the document says of a field: name, offset, bytes.
#[cfg(test)]
pub(crate) type Drawn = (&'static str, usize, usize);

impl<T: Number> Field<T> {
    pub(crate) const fn new(name: &'static str, at: usize) -> Self {
        Self { name, at, marker: PhantomData }
    }

    /// The number in `bytes`, which hold the whole header or record.
    pub(crate) fn read(&self, bytes: &[u8]) -> T {
        T::from_le(&bytes[self.at..self.at + T::BYTES])
    }

    /// Stores `value` in `bytes`, which hold the whole header or record.
    pub(crate) fn write(&self, bytes: &mut [u8], value: T) {
        value.to_le(&mut bytes[self.at..self.at + T::BYTES]);
    }

    #[cfg(test)]
    pub(crate) const fn drawn(&self) -> Drawn {
        (self.name, self.at, T::BYTES)
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }
}

/// An unsigned number of the formats.
pub(crate) trait Number: Copy {
    const BYTES: usize;
    fn from_le(bytes: &[u8]) -> Self;
    fn to_le(self, bytes: &mut [u8]);
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Number for $type {
            const BYTES: usize = size_of::<$type>();

            fn from_le(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("a field slices its own size"))
            }

            fn to_le(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )+};
}

numbers!(u8, u16, u32, u64);

/// A length from the wire as an index.
pub(crate) fn index(len: u32) -> usize {
    usize::try_from(len).expect("a usize has at least 32 bits")
}
