//! Everything that the daemon bounds, each with its reason.
//!
//! What the core, the codecs and the ring bound stands in their own `limits`; here is what the
//! shell holds: buffers, connections, time. Full means "not now": the socket is not read until
//! there is room again. Only what a stranger may open (half-open connections) is refused.

use std::time::Duration;

/// Bytes of the buffer that a connection receives into before anything is understood: some hundred
/// headers, or the head of a large payload. One size class of the pool.
pub const STREAM_BYTES: usize = 64 << 10;

/// Payload still missing from which on it is received straight into its own buffer. Below, copying
/// out of the stream buffer is cheaper than another operation.
pub const DIRECT_BYTES_MIN: usize = 32 << 10;

/// Bytes gathered into one send. Acks that come up meanwhile wait for no more than this; larger
/// sends gain nothing measurable. A single larger frame still goes out whole.
pub const SEND_BYTES_MAX: usize = 512 << 10;

/// Pieces gathered into one send: what the kernel takes.
pub const SEND_PIECES_MAX: usize = tandem_ring::limits::SEND_PIECES_MAX;

/// Connections of a shard, clients and links together: each has a stream buffer and two operations.
pub const CONNECTIONS_MAX: usize = 1024;

/// Disk operations, sends and receives in the ring at once; more wait in the shell.
pub const OPERATIONS_MAX: u32 = 8192;

/// Bytes of buffers that only disks may use: metadata, and the middle steps of read-modify-write,
/// must go on where payload that waits for them has taken all others.
pub const RESERVE_BYTES: usize = 16 << 20;

/// Share of a shard's buffers that its clients may use, as a divisor: the rest is the peers'. A
/// peer that is kept waiting by our clients keeps its own clients waiting.
pub const CLIENT_POOL_DIVISOR: u64 = 2;

// The largest request of one client must fit, whatever the pool.
const _: () = assert!(
    tandem_control::limits::POOL_BYTES_MIN / CLIENT_POOL_DIVISOR
        >= tandem_nbd::limits::REQUEST_BYTES_MAX as u64
);

/// How long a client that holds buffers may be behind with taking its replies or with sending the
/// rest of its write while others wait for buffers; then it is closed. Longer than a network takes
/// to recover.
pub const CLIENT_STALL_MAX: Duration = Duration::from_secs(10);

/// How often it is looked for such clients, while others wait.
pub const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a client may be behind with the rest of a request, with nobody waiting for what it
/// holds; then it is closed. As long as TCP waits for it.
pub const CLIENT_REQUEST_PATIENCE: Duration = CLIENT_USER_TIMEOUT;

/// Bytes a second by which a client is not behind. So slow a client sends a part of a payload,
/// which is taken in at once, in half of [`CLIENT_REQUEST_PATIENCE`].
pub const CLIENT_RATE_MIN: u64 = 32 << 10;

/// How often it is looked for such clients.
pub const ABANDONED_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Requests that a client may have in flight.
pub const CLIENT_REQUESTS_MAX: usize = 256;

/// NBD handshakes under way at once on each listener: one more ends another. A client needs
/// milliseconds, a stranger may take the whole deadline.
pub const HANDSHAKES_MAX: usize = 64;

/// How long clients wait in a handshake for a resource to be promoted for them: its own patience
/// with a vanishing Primary and a vote, unless `auto-promote-timeout` is very long; then they hear
/// so and may ask again. While they wait they hold the place of a handshake.
pub const PROMOTION_PATIENCE: Duration = Duration::from_secs(15);

/// Descriptors that are not for clients, if there are as many twice: for the rings and listeners,
/// the disks and links of some dozen resources, greetings and administrators.
pub const DESCRIPTORS_RESERVED: usize = 192;

/// Greetings of incoming peer links under way at once.
pub const GREETINGS_MAX: usize = 32;

/// Sessions of the admin socket at once.
pub const ADMIN_SESSIONS_MAX: usize = 64;

/// A greeting must be over within this time, from either end.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(5);

/// How long one attempt to reach a peer may take until TCP is connected.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a status waits for a shard; the admin command promises an answer within a second.
pub const STATUS_DEADLINE: Duration = Duration::from_millis(800);

/// How long a listener is tried for whose address is in use.
pub const LISTEN_PATIENCE: Duration = Duration::from_secs(2);

/// How long a disk's lock is waited for: a daemon killed with -9 holds it until its last write has
/// ended, some 100 ms on a healthy disk.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often a wait of the admin socket looks at the status.
pub const WAIT_INTERVAL: Duration = Duration::from_millis(50);

/// How long an orderly stop may take before the daemon exits without one: below the 30 s after
/// which service managers kill.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// How long a TCP client may leave sent data unacknowledged before it is given up. Longer than any
/// stall that a client may have during a fail-over of its own network.
pub const CLIENT_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Idle time after which the kernel probes whether a client still exists.
pub const CLIENT_KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes that are digested in one turn of a shard: a millisecond at most, so that clients and peers
/// do not wait behind an online verify.
pub const DIGEST_BYTES_TURN: usize = 1 << 20;

/// Sightings that wait for a watcher to read them: minutes of any resync, and the first picture of
/// thousands of resources.
pub const SIGHTINGS_MAX: usize = 4096;

/// How often a watcher is told how far a resync or a verify is.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Handlers that run at once, beside those that the core waits for; more wait for their turn.
pub const HANDLERS_MAX: usize = 32;

/// How long a handler may run before it is killed: longer than the programs that fence or send mail
/// give themselves, so that only one that hangs is met.
pub const HANDLER_TIME_MAX: Duration = Duration::from_secs(600);

/// Bytes of a handler's output that make one line of the log at most.
pub const HANDLER_LINE_MAX: u64 = 4096;

/// How often one disk operation is continued after a partial transfer before it counts as failed:
/// a device that moves nothing must not spin.
pub const PARTIAL_TRANSFERS_MAX: u32 = 64;
