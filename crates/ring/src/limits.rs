//! Everything in this crate that is bounded, with the reason for its size.

/// Bytes of one slab, the unit in which a pool grows and in which buffers are registered with the
/// ring: the size of a huge page on x86-64, so that pinning it is one page for the kernel.
pub const SLAB_BYTES: usize = 2 << 20;

/// Bytes of the largest buffer. Larger requests are split by their owner: beyond 1 MiB a single
/// transfer gains nothing measurable and only holds memory longer.
pub const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Bytes a pool may hold unless told otherwise: queue depth 32 of 1 MiB writes twice over; pinning
/// more per thread measurably slows everything down when many volumes share a machine.
pub const POOL_BYTES_DEFAULT: usize = 64 << 20;

/// The least a pool can work with: one slab for each size class.
pub const POOL_BYTES_MIN: usize = 3 * SLAB_BYTES;

/// The most a pool can be given: 16,384 slabs are what the kernel registers with one ring at most,
/// and far below that the pinned memory is the problem. 4,096 slabs are 8 GiB.
pub const POOL_BYTES_MAX: usize = 4096 * SLAB_BYTES;

/// Operations in flight unless told otherwise: some hundreds of disk operations of a shard, and a
/// receive and a send for each connection.
pub const OPERATIONS_DEFAULT: u32 = 1024;

/// Operations in flight at most; half of the kernel's limit of 32,768 queue entries.
pub const OPERATIONS_MAX: u32 = 16_384;

/// Registered files and sockets unless told otherwise.
pub const DESCRIPTORS_DEFAULT: u32 = 1024;

/// Registered files and sockets at most; the kernel's default limit of open files per process.
pub const DESCRIPTORS_MAX: u32 = 16_384;

/// Pieces gathered into one send: the kernel's UIO_MAXIOV. Later pieces are left to the next send.
pub const SEND_PIECES_MAX: usize = 1024;

/// Bytes of the longest read or write performed at submission on a file with
/// [`Access::Inline`](crate::Access::Inline): copying 64 KiB takes some 10 us, about the price of
/// the worker thread that it spares; longer copies would hold up the other work of the thread.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// How often one operation is submitted anew after EINTR or EAGAIN before its owner hears of it.
/// Both are rare and pass by themselves; a descriptor that answers nothing else must not spin.
pub const RETRIES_MAX: u8 = 16;

/// The kernel transfers at most this many bytes in one operation (MAX_RW_COUNT).
pub const TRANSFER_BYTES_MAX: usize = 0x7fff_f000;
