//! Mutual proof of a shared secret: what an end says behind the greetings where one is configured.
//!
//! A proof is an HMAC over both greetings, byte for byte as they went over the wire, and over which
//! end speaks. The greetings name the resource, both nodes, what they offer, and a nonce of each
//! side, so a proof is none in another direction, on another connection or for another resource:
//! reflection, replay and relay to a third node fail. The dialer proves first, so that a stranger
//! who dials gets nothing to try secrets on. As with DRBD's option of that name this authenticates
//! the connect: who can change packets afterwards is not stopped by it.

use std::fmt;

use hmac::digest::OutputSizeUser;
use hmac::{Hmac, KeyInit, Mac};

use crate::hello::{HelloError, REJECT_MAGIC, Reject, open, seal};
use crate::layout::Field;
use crate::limits::HELLO_BYTES;

/// Feature bit of an end that has a secret: it gives a proof, and wants one.
pub const FEATURE_PROOF: u64 = 1 << 0;

/// What is proved, so that the secret's use elsewhere gives nothing that is good here.
const PURPOSE: &[u8] = b"tandem peer link, proof of a shared secret";

pub(crate) const PROOF_MAGIC: [u8; 8] = *b"TANDEM\x01P";

pub(crate) mod proof_at {
    use super::Field;
    pub(crate) const ALGORITHM: Field<u16> = Field::new("algorithm", 8);
    pub(crate) const MAC: usize = 16;
    pub(crate) const MAC_BYTES_MAX: usize = 64;
}

macro_rules! algorithms {
    ($($(#[$doc:meta])+ $name:ident = $number:literal, $text:literal, $hash:ty;)+) => {
        /// Hash of the HMAC, `cram-hmac-alg` of DRBD.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum HmacAlgorithm { $($(#[$doc])+ $name,)+ }

        impl HmacAlgorithm {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its number on the wire.
            pub fn number(self) -> u16 {
                match self { $(Self::$name => $number,)+ }
            }

            /// Bytes of its HMAC.
            fn mac_bytes(self) -> usize {
                match self { $(Self::$name => <$hash>::output_size(),)+ }
            }

            fn mac(self, key: &[u8], parts: [&[u8]; 4]) -> Vec<u8> {
                match self {
                    $(Self::$name => {
                        fed::<Hmac<$hash>>(key, parts).finalize().into_bytes().to_vec()
                    })+
                }
            }

            /// Compares in constant time.
            fn is_mac(self, key: &[u8], parts: [&[u8]; 4], mac: &[u8]) -> bool {
                match self {
                    $(Self::$name => fed::<Hmac<$hash>>(key, parts).verify_slice(mac).is_ok(),)+
                }
            }
        }

        impl fmt::Display for HmacAlgorithm {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

algorithms! {
    /// As in most DRBD configurations there are; sound in an HMAC, the others are better.
    Sha1 = 1, "sha1", sha1::Sha1;
    /// The one to choose.
    Sha256 = 2, "sha256", sha2::Sha256;
    /// Of 384 bits.
    Sha384 = 3, "sha384", sha2::Sha384;
    /// Of 512 bits.
    Sha512 = 4, "sha512", sha2::Sha512;
}

fn fed<M: Mac + KeyInit>(key: &[u8], parts: [&[u8]; 4]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("an HMAC's key has any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// A secret that both nodes have. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret {
    algorithm: HmacAlgorithm,
    key: Vec<u8>,
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSecret({}, not shown)", self.algorithm)
    }
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It made the connection.
    Dialer,
    /// It took it.
    Acceptor,
}

/// Both greetings of a connection as they went over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Greetings {
    /// The dialer's.
    pub dialer: [u8; HELLO_BYTES],
    /// The acceptor's.
    pub acceptor: [u8; HELLO_BYTES],
}

/// Why an end has not proved that it knows the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof, or corrupt, or the peer's refusal of ours.
    #[error("{0}")]
    Message(#[from] HelloError),
    /// The sides are configured differently.
    #[error("cram-hmac-alg is {ours} here and {} at the peer; both need the same", named(*.theirs))]
    Algorithm {
        /// Ours.
        ours: HmacAlgorithm,
        /// The peer's, by its number.
        theirs: u16,
    },
    /// It does not know the secret.
    #[error("the peer does not know the shared-secret that is configured here")]
    Wrong,
}

fn named(number: u16) -> String {
    let known = HmacAlgorithm::ALL.iter().find(|algorithm| algorithm.number() == number);
    known.map_or_else(|| format!("number {number}"), HmacAlgorithm::to_string)
}

impl SharedSecret {
    /// The secret `key` for use with this algorithm.
    pub fn new(algorithm: HmacAlgorithm, key: &[u8]) -> Self {
        Self { algorithm, key: key.to_vec() }
    }

    /// What `end` says to prove that it has the secret.
    pub fn prove(&self, greetings: &Greetings, end: End) -> [u8; HELLO_BYTES] {
        let mac = self.algorithm.mac(&self.key, parts(greetings, end));
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&PROOF_MAGIC);
        proof_at::ALGORITHM.write(&mut bytes, self.algorithm.number());
        bytes[proof_at::MAC..][..mac.len()].copy_from_slice(&mac);
        seal(&mut bytes);
        bytes
    }

    /// That `message` of `end` is such a proof.
    ///
    /// # Errors
    /// Why it is none.
    pub fn verify(
        &self,
        greetings: &Greetings,
        end: End,
        message: &[u8; HELLO_BYTES],
    ) -> Result<(), ProofError> {
        let magic = open(message, &[PROOF_MAGIC, REJECT_MAGIC])?;
        if magic == REJECT_MAGIC {
            return Err(HelloError::Rejected(Reject::read(message)?).into());
        }
        let theirs = proof_at::ALGORITHM.read(message);
        if theirs != self.algorithm.number() {
            return Err(ProofError::Algorithm { ours: self.algorithm, theirs });
        }
        let field = &message[proof_at::MAC..][..proof_at::MAC_BYTES_MAX];
        let (mac, padding) = field.split_at(self.algorithm.mac_bytes());
        let is_proof = self.algorithm.is_mac(&self.key, parts(greetings, end), mac);
        if is_proof && padding.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(ProofError::Wrong)
        }
    }
}

fn parts(greetings: &Greetings, end: End) -> [&[u8]; 4] {
    let speaker: &[u8] = match end {
        End::Dialer => b"dialer",
        End::Acceptor => b"acceptor",
    };
    [PURPOSE, speaker, &greetings.dialer, &greetings.acceptor]
}

#[cfg(test)]
mod tests;
