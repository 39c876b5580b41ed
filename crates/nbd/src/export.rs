//! What the shell says about an export: its size and role, or why it may not be used.
//!
//! The handshake asks by the name that the client sent. Aliases, the empty name and who may see
//! what are the shell's business; what comes back here is final.

use crate::terms::Terms;
use crate::wire::transmission_flag as flag;

/// One export as a client gets to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportInfo {
    /// Canonical name, at most [`crate::limits::STRING_BYTES_MAX`] bytes (longer is cut).
    pub name: String,
    /// For people: resource, role, disk state. May be empty; cut like the name.
    pub description: String,
    /// Size in bytes. Must never shrink across reconnects of a client.
    pub size_bytes: u64,
    /// Whether changes are refused; so it is unless this node is Primary.
    pub read_only: bool,
    /// Logical block of the volume in bytes, a power of two up to 4096: what the aligned middle of
    /// a WRITE_ZEROES is aligned to.
    pub block_size: u32,
    /// Whether the backing disk zeroes by command, without writing zeroes.
    pub fast_zero: bool,
    /// Whether the backing disk turns.
    pub rotational: bool,
    /// Names of the resource's peers: each has a context of what it lacks.
    pub peers: Vec<String>,
    /// The shell's own handle of the export; not looked at.
    pub key: ExportKey,
}

impl ExportInfo {
    /// The transmission flags to advertise: only what works, so no TRIM and WRITE_ZEROES when
    /// read-only, and DF only where replies have chunks. FAST_ZERO says that the flag is
    /// understood, its answer may be ENOTSUP. CAN_MULTI_CONN promises that a FLUSH on one
    /// connection covers all of them.
    #[must_use]
    pub fn transmission_flags(&self, terms: Terms) -> u16 {
        let mut flags = flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_FUA;
        flags |= flag::CAN_MULTI_CONN | flag::SEND_CACHE;
        if terms.replies.has_chunks() {
            flags |= flag::SEND_DF;
        }
        if self.rotational {
            flags |= flag::ROTATIONAL;
        }
        if self.read_only {
            flags | flag::READ_ONLY
        } else {
            flags | flag::SEND_TRIM | flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO
        }
    }
}

/// An opaque number by which the shell knows an export again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExportKey(pub u64);

/// One line of the answer to LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportEntry {
    /// Name by which a client can ask for the export.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
}

/// Why an export may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What a program can act on.
    pub kind: RefusalKind,
    /// What a person reads in the client's error message.
    pub reason: String,
}

/// The kinds of refusal that the protocol tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such export.
    Unknown,
    /// It exists but not for this client or not in this role.
    Policy,
    /// The server is going away.
    Shutdown,
}
