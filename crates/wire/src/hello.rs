//! The greeting that opens a connection: who speaks, to whom, about what, in which version.
//!
//! The dialer sends a [`Hello`]; the acceptor answers with its own, or with a [`Reject`] and
//! closes. Both then run [`negotiate`] on the pair, which gives both the same [`Link`] or both an
//! error. Its session id and key mix the nonces of both sides, so that no frame of one session
//! passes in another. Pure: nonces are the caller's.
//!
//! The format never changes: it is read before versions are agreed. Bytes reserved here are zero
//! when sent and ignored when received; a feature bit says what a later version puts there.

use std::fmt;

use crate::layout::Field;
use crate::limits::{HELLO_BYTES, REJECT_TEXT_BYTES_MAX, RESOURCE_NAME_BYTES_MAX};
use crate::proof::FEATURE_PROOF;
use crate::types::NodeId;

/// The first version of the peer link, and so far the only one.
pub const VERSION: u16 = 1;

/// Features whose bits are among these must be offered by both sides or by none; the others are
/// used where both offer them.
pub const FEATURES_MUST_MASK: u64 = 0x0000_0000_ffff_ffff;

pub(crate) const HELLO_MAGIC: [u8; 8] = *b"TANDEM\x01H";
pub(crate) const REJECT_MAGIC: [u8; 8] = *b"TANDEM\x01R";

pub(crate) mod hello_at {
    use super::Field;
    pub(crate) const MAGIC: Field<u64> = Field::new("magic", 0);
    pub(crate) const VERSION_MIN: Field<u16> = Field::new("version_min", 8);
    pub(crate) const VERSION_MAX: Field<u16> = Field::new("version_max", 10);
    pub(crate) const SENDER: Field<u8> = Field::new("sender", 12);
    pub(crate) const RECEIVER: Field<u8> = Field::new("receiver", 13);
    pub(crate) const FLAGS: Field<u16> = Field::new("flags", 14);
    pub(crate) const FEATURES: Field<u64> = Field::new("features", 16);
    pub(crate) const NONCE: Field<u64> = Field::new("nonce", 24);
    pub(crate) const NAME_LEN: Field<u16> = Field::new("name_len", 32);
    pub(crate) const NAME: usize = 40;
    pub(crate) const CRC: Field<u32> = Field::new("crc", 252);
    pub(crate) const DISCARD_MY_DATA: u16 = 1 << 0;
}

pub(crate) mod reject_at {
    use super::Field;
    pub(crate) const CODE: Field<u16> = Field::new("code", 8);
    pub(crate) const TEXT_LEN: Field<u16> = Field::new("text_len", 10);
    pub(crate) const TEXT: usize = 16;
}

/// The versions of the link that a node speaks, `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Oldest.
    pub min: u16,
    /// Newest, not below `min`.
    pub max: u16,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// What a node says first on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Versions it speaks.
    pub versions: Versions,
    /// Features it offers; see [`FEATURES_MUST_MASK`].
    pub features: u64,
    /// Name of the resource, 1 to `RESOURCE_NAME_BYTES_MAX` bytes without control characters.
    pub resource: String,
    /// Who speaks.
    pub sender: NodeId,
    /// To whom.
    pub receiver: NodeId,
    /// `connect --discard-my-data` was said here.
    pub discard_my_data: bool,
    /// Random, drawn anew for each connection.
    pub nonce: u64,
}

/// What an acceptor says instead of a greeting, before it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why, for programs.
    pub code: RejectCode,
    /// Why, for people; cut to `REJECT_TEXT_BYTES_MAX` bytes when sent.
    pub text: String,
}

macro_rules! reject_codes {
    ($($(#[$doc:meta])+ $name:ident = $number:literal,)+) => {
        /// Why a connection is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum RejectCode {
            $($(#[$doc])+ $name,)+
            /// A reason that this version does not know.
            Other(u16),
        }

        impl RejectCode {
            /// The codes that have a name.
            pub const NAMED: &[Self] = &[$(Self::$name,)+];

            /// Its number on the wire.
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)+
                    Self::Other(number) => number,
                }
            }

            fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$name,)+
                    _ => Self::Other(number),
                }
            }
        }
    };
}

reject_codes! {
    /// No such resource here.
    UnknownResource = 1,
    /// Sender or receiver is not who the configuration says.
    WrongNode = 2,
    /// No version in common, or a feature that one side must have.
    Version = 3,
    /// The connection is configured, and not wanted now.
    StandAlone = 4,
    /// Too many connections are being made; try again.
    Busy = 5,
    /// The greeting makes no sense.
    Malformed = 6,
    /// The resource is connected to this peer, or is about to be; try again.
    AlreadyConnected = 7,
    /// The dialer has not proved that it knows the shared secret.
    NotProved = 8,
}

/// What an acceptor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Its own greeting.
    Hello(Hello),
    /// No.
    Reject(Reject),
}

/// What two greetings agree on, the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Version to speak.
    pub version: u16,
    /// Features to use.
    pub features: u64,
    /// Names the session; never 0.
    pub session_id: u64,
    /// Binds its frames; for `Encoder::new` and `Decoder::new`.
    pub session_key: u32,
}

/// Why a greeting is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not a tandem peer, or corrupt.
    #[error("greeting magic {found:#018x} is unknown")]
    Magic {
        /// What stood there.
        found: u64,
    },
    /// Corrupt.
    #[error("greeting crc {found:#010x} should be {computed:#010x}")]
    Crc {
        /// Over the bytes received.
        computed: u32,
        /// In the greeting.
        found: u32,
    },
    /// A field that makes no sense.
    #[error("{field} of the greeting is {value}, which means nothing")]
    Value {
        /// Its name in docs/PROTOCOL.md.
        field: &'static str,
        /// What stood there.
        value: u64,
    },
    /// Resource name or text is not UTF-8, has control characters, or is not padded with zeroes.
    #[error("{field} of the greeting is not clean text")]
    Text {
        /// Its name in docs/PROTOCOL.md.
        field: &'static str,
    },
    /// The peer refused.
    #[error("refused by the peer: {} ({:?})", .0.text, .0.code)]
    Rejected(Reject),
    /// The sides speak of different resources.
    #[error("resource {theirs:?} where {ours:?} was expected")]
    Resource {
        /// Our name for it.
        ours: String,
        /// The peer's.
        theirs: String,
    },
    /// The sides do not mirror each other.
    #[error("node {sender} speaks to {receiver}, not {ours_receiver} to {ours_sender}")]
    Node {
        /// Of the peer's greeting.
        sender: NodeId,
        /// Of the peer's greeting.
        receiver: NodeId,
        /// Of ours.
        ours_sender: NodeId,
        /// Of ours.
        ours_receiver: NodeId,
    },
    /// Our own greeting came back, or the peer copied our nonce.
    #[error("greeting comes back with our own nonce")]
    Reflected,
    /// No version in common.
    #[error("versions {theirs} of the peer and {ours} here do not overlap")]
    Version {
        /// Ours.
        ours: Versions,
        /// The peer's.
        theirs: Versions,
    },
    /// Only one side is configured to authenticate.
    #[error(
        "cram-hmac-alg and shared-secret are configured {} only; both nodes need the same",
        if *.ours { "on this node" } else { "on the peer" }
    )]
    OneSecret {
        /// It is ours.
        ours: bool,
    },
    /// One side requires features that the other does not offer.
    #[error("features {only_ours:#x} are required here, {only_theirs:#x} by the peer, not by both")]
    Features {
        /// Required, and offered here only.
        only_ours: u64,
        /// Required, and offered by the peer only.
        only_theirs: u64,
    },
}

impl Hello {
    /// The greeting's bytes.
    ///
    /// # Panics
    /// Where the resource's name, the versions or a node id are not as their documentation says.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let name = self.resource.as_bytes();
        assert!((1..=RESOURCE_NAME_BYTES_MAX).contains(&name.len()), "configuration checks names");
        assert!(!self.resource.contains(char::is_control), "configuration checks names");
        assert!(self.versions.min <= self.versions.max, "versions are a range");
        assert!(self.sender.0.max(self.receiver.0) < NodeId::COUNT_MAX, "node ids are checked");
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&HELLO_MAGIC);
        hello_at::VERSION_MIN.write(&mut bytes, self.versions.min);
        hello_at::VERSION_MAX.write(&mut bytes, self.versions.max);
        hello_at::SENDER.write(&mut bytes, self.sender.0);
        hello_at::RECEIVER.write(&mut bytes, self.receiver.0);
        let flags = if self.discard_my_data { hello_at::DISCARD_MY_DATA } else { 0 };
        hello_at::FLAGS.write(&mut bytes, flags);
        hello_at::FEATURES.write(&mut bytes, self.features);
        hello_at::NONCE.write(&mut bytes, self.nonce);
        let len = u16::try_from(name.len()).expect("names are short");
        hello_at::NAME_LEN.write(&mut bytes, len);
        bytes[hello_at::NAME..][..name.len()].copy_from_slice(name);
        seal(&mut bytes);
        bytes
    }

    /// The greeting in `bytes`.
    ///
    /// # Errors
    /// What is wrong with it; a refusal is [`HelloError::Rejected`].
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        match Greeting::decode(bytes)? {
            Greeting::Hello(hello) => Ok(hello),
            Greeting::Reject(reject) => Err(HelloError::Rejected(reject)),
        }
    }

    fn read(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        let min = hello_at::VERSION_MIN.read(bytes);
        let max = hello_at::VERSION_MAX.read(bytes);
        if min > max {
            return Err(value(&hello_at::VERSION_MIN, min));
        }
        for field in [hello_at::SENDER, hello_at::RECEIVER] {
            let node_id = field.read(bytes);
            if node_id >= NodeId::COUNT_MAX {
                return Err(value(&field, node_id));
            }
        }
        let field = &bytes[hello_at::NAME..][..RESOURCE_NAME_BYTES_MAX];
        let resource = text("name", field, &hello_at::NAME_LEN, bytes)?;
        if resource.is_empty() {
            return Err(value(&hello_at::NAME_LEN, 0u16));
        }
        Ok(Self {
            versions: Versions { min, max },
            features: hello_at::FEATURES.read(bytes),
            resource: resource.to_owned(),
            sender: NodeId(hello_at::SENDER.read(bytes)),
            receiver: NodeId(hello_at::RECEIVER.read(bytes)),
            discard_my_data: hello_at::FLAGS.read(bytes) & hello_at::DISCARD_MY_DATA != 0,
            nonce: hello_at::NONCE.read(bytes),
        })
    }
}

impl Reject {
    /// The refusal's bytes; a text that is too long is cut, control characters become `?`.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let clean: String =
            self.text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let text = &clean[..clean.floor_char_boundary(REJECT_TEXT_BYTES_MAX)];
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&REJECT_MAGIC);
        reject_at::CODE.write(&mut bytes, self.code.number());
        let len = u16::try_from(text.len()).expect("the text was cut");
        reject_at::TEXT_LEN.write(&mut bytes, len);
        bytes[reject_at::TEXT..][..text.len()].copy_from_slice(text.as_bytes());
        seal(&mut bytes);
        bytes
    }

    pub(crate) fn read(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        let field = &bytes[reject_at::TEXT..][..REJECT_TEXT_BYTES_MAX];
        Ok(Self {
            code: RejectCode::from_number(reject_at::CODE.read(bytes)),
            text: text("text", field, &reject_at::TEXT_LEN, bytes)?.to_owned(),
        })
    }
}

impl Greeting {
    /// What the peer said first.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        if open(bytes, &[HELLO_MAGIC, REJECT_MAGIC])? == REJECT_MAGIC {
            return Ok(Self::Reject(Reject::read(bytes)?));
        }
        Ok(Self::Hello(Hello::read(bytes)?))
    }
}

/// The magic of a message that is whole, and one of these kinds.
pub(crate) fn open(bytes: &[u8; HELLO_BYTES], magics: &[[u8; 8]]) -> Result<[u8; 8], HelloError> {
    let unknown = || HelloError::Magic { found: hello_at::MAGIC.read(bytes) };
    let magic = *magics.iter().find(|magic| bytes.starts_with(*magic)).ok_or_else(unknown)?;
    let (computed, found) = (crc(bytes), hello_at::CRC.read(bytes));
    if computed == found { Ok(magic) } else { Err(HelloError::Crc { computed, found }) }
}

/// What the two sides agree on; both sides get the same, or both an error.
///
/// # Errors
/// What keeps them from agreeing.
pub fn negotiate(ours: &Hello, theirs: &Hello) -> Result<Link, HelloError> {
    if ours.nonce == theirs.nonce {
        return Err(HelloError::Reflected);
    }
    if ours.resource != theirs.resource {
        return Err(HelloError::Resource {
            ours: ours.resource.clone(),
            theirs: theirs.resource.clone(),
        });
    }
    let is_mirrored = ours.sender == theirs.receiver && ours.receiver == theirs.sender;
    if !is_mirrored || ours.sender == theirs.sender {
        return Err(HelloError::Node {
            sender: theirs.sender,
            receiver: theirs.receiver,
            ours_sender: ours.sender,
            ours_receiver: ours.receiver,
        });
    }
    let version = ours.versions.max.min(theirs.versions.max);
    if version < ours.versions.min.max(theirs.versions.min) {
        return Err(HelloError::Version { ours: ours.versions, theirs: theirs.versions });
    }
    let only_ours = ours.features & !theirs.features & FEATURES_MUST_MASK;
    let only_theirs = theirs.features & !ours.features & FEATURES_MUST_MASK;
    if (only_ours | only_theirs) & FEATURE_PROOF != 0 {
        return Err(HelloError::OneSecret { ours: only_ours & FEATURE_PROOF != 0 });
    }
    if only_ours | only_theirs != 0 {
        return Err(HelloError::Features { only_ours, only_theirs });
    }
    let features = ours.features & theirs.features;
    let session_id = session_id(ours, theirs);
    let session_key = session_key(session_id, version, features);
    Ok(Link { version, features, session_id, session_key })
}

/// Mixes both nonces in the order of the node ids. For one nonce given, different other nonces give
/// different ids (but for the one that would give 0): neither side alone can bring an old id back.
fn session_id(ours: &Hello, theirs: &Hello) -> u64 {
    let (low, high) = if ours.sender < theirs.sender { (ours, theirs) } else { (theirs, ours) };
    let id = mix(mix(low.nonce).wrapping_add(high.nonce));
    if id == 0 { 1 } else { id }
}

/// Differs where the sides do not agree on what was agreed, so that no frame passes then.
fn session_key(session_id: u64, version: u16, features: u64) -> u32 {
    let mixed = mix(mix(session_id ^ u64::from(version)) ^ features);
    u32::try_from(mixed >> 32).expect("32 bits are left")
}

/// The finaliser of `SplitMix64`: one to one on 64 bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The clean text of `len` bytes that a zero-padded field starts with.
fn text<'a>(
    name: &'static str,
    field: &'a [u8],
    len: &Field<u16>,
    bytes: &[u8; HELLO_BYTES],
) -> Result<&'a str, HelloError> {
    let count = len.read(bytes);
    let (used, padding) =
        field.split_at_checked(usize::from(count)).ok_or_else(|| value(len, count))?;
    let text = str::from_utf8(used).map_err(|_| HelloError::Text { field: name })?;
    if text.contains(char::is_control) || padding.iter().any(|byte| *byte != 0) {
        return Err(HelloError::Text { field: name });
    }
    Ok(text)
}

fn value<T: crate::layout::Number>(field: &Field<T>, value: impl Into<u64>) -> HelloError {
    HelloError::Value { field: field.name(), value: value.into() }
}

pub(crate) fn seal(bytes: &mut [u8; HELLO_BYTES]) {
    let sum = crc(bytes);
    hello_at::CRC.write(bytes, sum);
}

fn crc(bytes: &[u8; HELLO_BYTES]) -> u32 {
    crc32fast::hash(&bytes[..252])
}

#[cfg(test)]
mod tests;
