//! Everything that decides: the core of a replicated volume, without I/O.
//!
//! [`Resource`] is one resource on one node. It takes inputs (`handle_*`, commands, client
//! openings), changes its state, and emits [`Action`]s; it never waits, and knows neither clocks
//! nor files nor sockets. The daemon and the simulator run this very code. After every input the
//! caller drains [`Resource::poll_action`] until `None`, then asks [`Resource::poll_timeout`] when
//! to call [`Resource::handle_timeout`].

pub mod action;
pub mod bitmap;
pub mod config;
pub mod decision;
pub mod digest;
pub mod error;
pub mod limits;
pub mod meta;
pub mod range_lock;
pub mod resource;
pub mod status;
pub mod time;

mod activity_log;
mod attach;
mod command;
mod congestion;
mod connection;
mod detach;
mod dispatch;
mod entropy;
mod exchange;
mod exposed;
mod fencing;
mod flush;
mod generation;
mod handshake;
mod hung;
mod in_flight;
mod invalidate;
mod leave;
mod new_uuid;
mod notice;
mod outbound;
mod outdate;
mod pass_on;
mod peer_device;
mod peer_read;
mod peer_request;
mod peers;
mod pending;
mod permit;
mod read;
mod repair;
mod report;
mod request;
mod resize;
mod resync;
mod role;
mod slab;
mod store;
mod suspend;
mod timers;
mod transfer_log;
mod verify;
mod volume;
mod write;

pub use action::{
    Action, AttachGeneration, CallId, ClientId, Command, CommandId, Cookie, DiskCompletion, DiskOp,
    DiskOpKind, DiskToken, Event, Handler, Initial, LinkDown, LinkEvent, LinkSession, News,
    OpenedDisk, Request, RequestOp, Severity,
};
pub use config::{
    ChecksumResync, Config, Fencing, NetConfig, OnCongestion, OnIoError, OnNoData, PeerConfig,
    ResyncConfig, VolumeConfig,
};
pub use error::{CommandError, DiskError, PeerError, RequestError};
pub use resource::{Export, Resource};
pub use status::{
    ConnectionState, ConnectionStates, ConnectionStatus, Divergence, IoErrors, Lag,
    PeerDeviceStatus, ResourceStatus, ResyncProgress, ResyncSuspended, Suspended, SyncState,
    VerifyStatus, VolumeStatus,
};
pub use tandem_wire as wire;
pub use time::Instant;
