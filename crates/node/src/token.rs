//! Who an operation of the ring belongs to, as the 64 bits that come back with its completion.
//!
//! An entry of a table stays until its last operation has completed, so its number alone names it.

/// The owner of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A disk operation in flight.
    Disk(usize),
    /// The receive of a link.
    LinkReceive(usize),
    /// The send of a link.
    LinkSend(usize),
    /// The receive of a client.
    ClientReceive(usize),
    /// The send of a client.
    ClientSend(usize),
}

impl Token {
    pub(crate) fn encode(self) -> u64 {
        let (kind, key) = match self {
            Self::Disk(key) => (0, key),
            Self::LinkReceive(key) => (1, key),
            Self::LinkSend(key) => (2, key),
            Self::ClientReceive(key) => (3, key),
            Self::ClientSend(key) => (4, key),
        };
        let key = u64::try_from(key).expect("a usize fits");
        assert!(key < 1 << KEY_BITS, "tables are bounded far below that");
        kind << KEY_BITS | key
    }

    pub(crate) fn decode(token: u64) -> Self {
        let key = usize::try_from(token & ((1 << KEY_BITS) - 1)).expect("was a usize");
        match token >> KEY_BITS {
            0 => Self::Disk(key),
            1 => Self::LinkReceive(key),
            2 => Self::LinkSend(key),
            3 => Self::ClientReceive(key),
            4 => Self::ClientSend(key),
            other => unreachable!("token of kind {other}: made by encode only"),
        }
    }
}

const KEY_BITS: u32 = 48;

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn every_token_comes_back() {
        for key in [0, 1, 77, (1 << 48) - 1] {
            for token in [
                Token::Disk(key),
                Token::LinkReceive(key),
                Token::LinkSend(key),
                Token::ClientReceive(key),
                Token::ClientSend(key),
            ] {
                assert_eq!(Token::decode(token.encode()), token);
            }
        }
    }
}
