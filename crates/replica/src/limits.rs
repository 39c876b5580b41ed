//! Every limit of the core, with its reason.

use std::time::Duration;

/// Longest read or write of data handed in at once: one pooled buffer, and one frame on the link.
pub const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// Longest trim or zeroing: one range of a lock and one `fallocate`; NBD lengths are 32 bits.
pub const ZEROES_BYTES_MAX: u32 = u32::MAX;

/// Bytes of a trim or zeroing that are carried out at once: bounds the time of one disk operation
/// and of what waits behind it, here and on the peer.
pub const ZEROES_PIECE_BYTES: u32 = 64 << 20;

/// Unit of the bitmap and of everything that is agreed between nodes.
pub const BLOCK_BYTES: u32 = 4096;

/// Bytes sent to a peer and not yet covered by a barrier ack, above which new writes wait. Bounds
/// memory on both nodes and the time a resync after a lost link takes.
pub const UNBARRIERED_BYTES_MAX: u64 = 64 << 20;

/// Bytes after which a barrier is sent: while one half of what may be open is flushed, the other
/// half fills. A flush may keep the peer's disk from everything else for tens of milliseconds, and
/// takes little longer for more (decision 0003).
pub const BARRIER_BYTES: u64 = 32 << 20;

/// A write waits at most this long for a barrier behind it.
pub const BARRIER_DELAY: Duration = Duration::from_millis(500);

/// What a notice about a write that is not mirrored counts for: its frame.
pub const NOTICE_BYTES: u32 = 64;

/// Parts of `congestion-fill` after which a barrier is sent: acks must come well before it is full.
pub const CONGESTION_BARRIERS: u64 = 8;

/// A node that has pulled ahead lets the link rest for so long once it has drained: what comes in
/// bursts is not answered by a resync after each.
pub const CATCH_UP_PAUSE: Duration = Duration::from_secs(1);

/// Requests of a peer under way at once, above which it is not keeping its own limits: more than
/// `UNBARRIERED_BYTES_MAX` in the smallest blocks plus a resync window.
pub const PEER_REQUESTS_MAX: usize = 1 << 18;

/// Bytes of one resync request.
pub const RESYNC_REQUEST_BYTES: u32 = 256 << 10;

/// Bytes of a resync that a target has asked for and not received, all volumes of a connection:
/// what waits to be sent on the source. A link of 10 Gbit/s is full with it up to 13 ms away.
pub const RESYNC_IN_FLIGHT_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a resync that a target has asked for and not acked, all volumes of a connection: bounds
/// the memory of both nodes, and leaves room to write and flush beside what is in flight. A source
/// that is asked for more ends the session.
pub const RESYNC_OPEN_BYTES_MAX: u64 = 32 << 20;

/// The rate controller looks this often, as in DRBD.
pub const RESYNC_STEP: Duration = Duration::from_millis(100);

/// An application counts as active for this long after a request: two steps of the controller.
pub const APPLICATION_ACTIVE: Duration = Duration::from_millis(200);
/// Bytes of one request of a checksum resync: one differing block makes all of it travel.
pub const CHECKSUM_REQUEST_BYTES: u32 = 64 << 10;

/// Bytes of one request of an online verify: few enough that a write of the application which waits
/// for the range waits for one short read on either node.
pub const VERIFY_REQUEST_BYTES: u32 = 256 << 10;

/// Requests of an online verify under way while the application is idle: they keep both disks and
/// the link busy.
pub const VERIFY_REQUESTS_IDLE: usize = 8;

/// The same while the application has requests under way: it comes first.
pub const VERIFY_REQUESTS_BUSY: usize = 1;

/// Bytes of resync written on the target before it flushes and acks them: half of what may be open,
/// as with barriers.
pub const RESYNC_FLUSH_BYTES: u64 = 16 << 20;

/// Bytes of one piece of a bitmap on the link.
pub const BITMAP_PIECE_BYTES: usize = 64 << 10;

/// What was written is flushed and acked after this long at the latest: a slow resync that is cut
/// off goes on where it was.
pub const RESYNC_FLUSH_DELAY: Duration = Duration::from_millis(500);

/// Pieces of a bitmap sent and not acked: 1 MiB fills the link and bounds the memory, whatever the
/// size of the volume.
pub const BITMAP_PIECES_MAX: u32 = 16;

/// First pause before connecting again; doubles up to `connect-int`.
pub const CONNECT_PAUSE_FIRST: Duration = Duration::from_millis(100);

/// A greeting and the handshake behind it must end within this many `timeout`s.
pub const HANDSHAKE_TIMEOUTS: u32 = 1;

/// Pause before a fence that failed is tried again while I/O is frozen: what shoots machines needs
/// about as long to have an answer.
pub const FENCE_RETRY: Duration = Duration::from_secs(30);

/// What a disk that is given up by force may take to store what its metadata must say, before it is
/// given up without: long enough for a disk that works.
pub const FORCED_DETACH_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes read back from the end of a disk in search of internal metadata that it has outgrown: half
/// a minute at 2 GB/s, and more than most disks are enlarged by at once.
pub const SEARCH_BYTES_MAX: u64 = 64 << 30;

/// Ranges written again at once because the disk could not read them: each holds what was read in
/// memory, and a disk with more bad blocks is better replaced.
pub const REPAIRS_MAX: usize = 8;

/// Commands under way at once.
pub const COMMANDS_MAX: usize = 64;
