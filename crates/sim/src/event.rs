//! Everything that can happen in the world at a moment of its own.

use tandem_replica::{AttachGeneration, DiskToken};

use crate::disk::OpKey;
use crate::drill::Move;
use crate::operator::fence::Caller;

/// Counts the processes of a node; what was meant for an earlier one is dropped.
pub type Life = u32;

/// Something that happens; fields are named for what they are.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "nodes, volumes, processes: the same in every event")]
pub enum Event {
    /// The time that `poll_timeout` told has come.
    Timer { node: usize, life: Life, at: u64 },
    /// A disk operation ends.
    Disk {
        node: usize,
        life: Life,
        volume: usize,
        generation: AttachGeneration,
        token: DiskToken,
        key: OpKey,
    },
    /// The devices of a volume are open.
    Opened { node: usize, life: Life, volume: usize, generation: AttachGeneration },
    /// The devices of a volume have been measured.
    Measured { node: usize, life: Life, volume: usize, generation: AttachGeneration },
    /// Bytes of a session may have arrived.
    Arrive { session: u64, from: usize },
    /// An attempt to connect reaches the peer.
    Dial { node: usize, life: Life, attempt: u64 },
    /// An attempt to connect came to nothing.
    DialFailed { node: usize, life: Life, attempt: u64 },
    /// One end of a session has greeted and been greeted.
    Up { session: u64, node: usize, life: Life, peer_discards: bool },
    /// A client may do something.
    Client { client: usize },
    /// The operator looks at the nodes.
    Operator,
    /// The next fault is due.
    Fault,
    /// A move of a drill comes while another one is on its way.
    Cross(Move),
    /// A cut ends.
    Heal { from: usize, cut: u64 },
    /// A dead node starts again.
    Start { node: usize },
    /// The checkers look at everything.
    Sample,
    /// A stopped process goes on.
    Continue { node: usize, life: Life },
    /// What `from` sends is as fast as ever again.
    Ease { from: usize },
    /// A frame of a session that has ended reaches the process.
    Late { node: usize, life: Life },
    /// A handler does what it was called for.
    Fence { caller: Caller },
    /// A handler ends.
    Fenced { caller: Caller, exit_code: Option<i32> },
    /// Whether a node may be target of a resync has been said.
    Permitted { caller: Caller, exit_code: Option<i32> },
}
