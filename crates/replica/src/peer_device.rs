//! One volume towards one peer: what both nodes have agreed on, and what the peer has told.
//!
//! In a handshake each volume is prepared on its own ([`Replication::Preparing`]); in a running
//! session it is Established, or one side copies from the other. Without a session it is Off.
//! `exchange` takes the preparation on, `resync` ends the copying; `connection` forgets all of it
//! when the session ends.

use tandem_wire::{DiskState, ReplicationState, Verdict};

use crate::action::AttachGeneration;
use crate::exchange::BitmapExchange;
use crate::handshake::Agreed;
use crate::resync::Resync;
use crate::status::ResyncSuspended;
use crate::verify::Verify;

/// Preparation of one volume after the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replication {
    Off,
    /// Bitmaps are exchanged or metadata written; becomes `goal`.
    Preparing {
        goal: Goal,
        step: Step,
    },
    Established,
    SyncSource,
    SyncTarget,
    /// The peer is told what it misses (`congestion`).
    Ahead(Ahead),
    /// The peer is ahead; with a ticket, this node becomes target once that is durable.
    Behind(Option<crate::store::Ticket>),
}

/// How far a node that has pulled ahead is with letting its peer catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// What was sent before is not all durable there; this barrier covers it.
    Draining(tandem_wire::BarrierNumber),
    /// It is; the link rests.
    Resting { rested_at: crate::time::Instant },
    /// The peer is asked to become target.
    Asked,
}

/// What a volume becomes when it is prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    InSync,
    Source,
    Target,
}

/// What a volume's preparation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The source's bitmap UUID must be durable before the target hears of it.
    SaveSyncUuid(crate::store::Ticket),
    /// The target waits for the source's word.
    AwaitSyncUuid,
    /// The peer's bitmap is coming.
    AwaitBitmap,
    /// What was agreed is being made durable.
    Save(crate::store::Ticket),
}

/// One volume towards one peer.
#[derive(Debug)]
pub(crate) struct PeerDevice {
    pub(crate) replication: Replication,
    /// The peer's disk as it last told.
    pub(crate) disk: DiskState,
    /// The peer refused a write of this session: it lacks what this node has.
    pub(crate) lags: bool,
    /// The opening of this node's disk that was there when the last session began to run: it has
    /// all that this node acked.
    pub(crate) served_by: Option<AttachGeneration>,
    /// The peer's side is ready for writes.
    pub(crate) peer_ready: bool,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) peer_verdict: Option<Verdict>,
    /// What forbids to go on may pass: the connection tries again.
    pub(crate) retries: bool,
    /// The peer's generation as reported.
    pub(crate) peer_current: tandem_wire::Uuid,
    /// The size that the last reports have led to.
    pub(crate) agreed: Agreed,
    pub(crate) bitmap: BitmapExchange,
    pub(crate) resync: Resync,
    /// Why its resyncs are paused; what the operator said outlives sessions.
    pub(crate) suspended: ResyncSuspended,
    pub(crate) verify: Verify,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// When the first of the bits that are set was.
    pub(crate) out_of_sync_since: Option<crate::time::Instant>,
}

impl PeerDevice {
    pub(crate) fn new() -> Self {
        Self {
            replication: Replication::Off,
            disk: DiskState::DUnknown,
            lags: false,
            served_by: None,
            peer_ready: false,
            verdict: None,
            peer_verdict: None,
            retries: false,
            peer_current: tandem_wire::Uuid::NONE,
            agreed: Agreed::default(),
            bitmap: BitmapExchange::default(),
            resync: Resync::default(),
            suspended: ResyncSuspended::default(),
            verify: Verify::default(),
            sent_bytes: 0,
            received_bytes: 0,
            out_of_sync_since: None,
        }
    }

    /// Nothing is agreed any more, and nothing the peer has told is known to be so.
    pub(crate) fn session_ended(&mut self) {
        self.replication = Replication::Off;
        self.disk = DiskState::DUnknown;
        self.lags = false;
        self.peer_ready = false;
        self.verdict = None;
        self.peer_verdict = None;
        self.bitmap = BitmapExchange::default();
        self.suspended.peer = false;
        self.suspended.dependency = false;
    }

    /// As DRBD names it.
    pub(crate) fn replication_state(&self) -> ReplicationState {
        match self.replication {
            Replication::Off => ReplicationState::Off,
            Replication::Preparing { goal: Goal::Source, .. } => ReplicationState::WFBitMapS,
            Replication::Preparing { goal: Goal::Target, .. } => ReplicationState::WFBitMapT,
            Replication::Preparing { goal: Goal::InSync, .. } => ReplicationState::Off,
            Replication::Established => self.verify.replication_state(),
            Replication::SyncSource if self.suspended.any() => ReplicationState::PausedSyncS,
            Replication::SyncTarget if self.suspended.any() => ReplicationState::PausedSyncT,
            Replication::SyncSource => ReplicationState::SyncSource,
            Replication::SyncTarget => ReplicationState::SyncTarget,
            Replication::Ahead(_) => ReplicationState::Ahead,
            Replication::Behind(_) => ReplicationState::Behind,
        }
    }

    /// The peer's disk alone would do to keep what is on it.
    pub(crate) fn has_good_disk(&self) -> bool {
        self.disk == DiskState::UpToDate
    }

    /// Whether it copies, or would if it were not paused.
    pub(crate) fn is_resyncing(&self) -> bool {
        match self.replication {
            Replication::SyncSource | Replication::SyncTarget => true,
            Replication::Off
            | Replication::Preparing { .. }
            | Replication::Established
            | Replication::Ahead(_)
            | Replication::Behind(_) => false,
        }
    }

    /// Ready on this side.
    pub(crate) fn is_ready(&self) -> bool {
        match self.replication {
            Replication::Off | Replication::Preparing { .. } => false,
            Replication::Established
            | Replication::SyncSource
            | Replication::SyncTarget
            | Replication::Ahead(_)
            | Replication::Behind(_) => true,
        }
    }
}
