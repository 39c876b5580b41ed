//! What this crate bounds, each with its reason.

/// Bytes of one configuration file: hundreds of resources fit in a tenth of it.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that one configuration may consist of; drbdadm has no limit, a loop of globs needs one.
pub const CONFIG_FILES_MAX: usize = 1024;

/// Depth of includes, as drbdadm's scanner has it.
pub const INCLUDE_DEPTH_MAX: usize = 10;

/// Depth of `{`: the deepest meaningful one is resource / connection / volume / disk.
pub const NESTING_MAX: usize = 8;

/// Characters of an unquoted word, as drbdadm's scanner has it.
pub const WORD_LEN_MAX: usize = 128;

/// Characters of a quoted string, as drbdadm's scanner has it.
pub const QUOTED_LEN_MAX: usize = 255;

/// Words of one statement: `hosts` with one name per possible node, and its keyword.
pub const STATEMENT_WORDS_MAX: usize = 34;

/// Errors reported in one run: whoever has more reads the first ones.
pub const DIAGNOSTICS_MAX: usize = 50;

/// Nodes that a resource can have, by the format of metadata and protocol.
pub const NODES_MAX: usize = 32;

/// Nodes that the daemon replicates between so far.
pub const NODES_SUPPORTED: usize = 2;

/// Highest volume number, DRBD's.
pub const VOLUME_MAX: u64 = 65_534;

/// Highest minor number, the kernel's.
pub const MINOR_MAX: u64 = 1_048_575;

/// Bytes of one frame on the admin socket: the status of 1000 volumes with two peers fits.
pub const ADMIN_FRAME_BYTES_MAX: usize = 4 << 20;

/// Bytes of a daemon configuration file.
pub const DAEMON_CONFIG_BYTES_MAX: u64 = 64 << 10;

/// Listeners that a daemon configuration may name.
pub const LISTENERS_MAX: usize = 64;

/// Shards that a daemon configuration may ask for: more than any machine's cores serve no one.
pub const SHARDS_MAX: u32 = 256;

/// Smallest buffer pool: clients may have half of it, in which the largest NBD request (64 MiB) has
/// room, whose parts are held until the last of them has come.
pub const POOL_BYTES_MIN: u64 = 128 << 20;

/// Connections of NBD clients that a daemon serves unless told otherwise: as many as the clients of
/// some dozen volumes make, and few enough to leave descriptors for disks and peers.
pub const NBD_CONNECTIONS_DEFAULT: u32 = 256;

/// Connections of NBD clients that a daemon may be told to serve: what a data thread has room for.
pub const NBD_CONNECTIONS_MAX: u32 = 1000;
