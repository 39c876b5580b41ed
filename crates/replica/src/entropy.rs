//! Random numbers without a source of randomness: a sequence from the seed that the resource was
//! given.

use tandem_wire::Uuid;

/// SplitMix64 (Steele, Lea, Flood 2014): every seed gives a full-period, well-mixed sequence.
#[derive(Debug)]
pub(crate) struct Entropy(u64);

impl Entropy {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A new generation: neither empty nor just-created.
    pub(crate) fn uuid(&mut self) -> Uuid {
        loop {
            let uuid = Uuid(self.next());
            if uuid.is_real() {
                return uuid;
            }
        }
    }
}
