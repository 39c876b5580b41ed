//! Where every field of the format lies, as docs/ON_DISK.md draws it; a test compares the two.
//!
//! Numbers are little-endian. Reserved bytes are written as zero and ignored when read.

/// A field of a block or of an entry in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in docs/ON_DISK.md.
    pub name: &'static str,
    /// Where it starts, in bytes.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
}

impl Field {
    pub(super) fn put<const N: usize>(self, block: &mut [u8], bytes: [u8; N]) {
        assert_eq!(self.len, N, "length of field {}", self.name);
        block[self.offset..][..N].copy_from_slice(&bytes);
    }

    pub(super) fn array<const N: usize>(self, block: &[u8]) -> [u8; N] {
        assert_eq!(self.len, N, "length of field {}", self.name);
        *block[self.offset..].first_chunk().expect("blocks are checked for their length")
    }

    pub(super) fn u8(self, block: &[u8]) -> u8 {
        u8::from_le_bytes(self.array(block))
    }

    pub(super) fn u16(self, block: &[u8]) -> u16 {
        u16::from_le_bytes(self.array(block))
    }

    pub(super) fn u32(self, block: &[u8]) -> u32 {
        u32::from_le_bytes(self.array(block))
    }

    pub(super) fn u64(self, block: &[u8]) -> u64 {
        u64::from_le_bytes(self.array(block))
    }

    /// The bytes of entry `index` of a field that is a table.
    pub(super) fn entry(self, block: &[u8], index: usize, len: usize) -> &[u8] {
        assert!((index + 1) * len <= self.len, "entry {index} of field {}", self.name);
        &block[self.offset + index * len..][..len]
    }

    pub(super) fn entry_mut(self, block: &mut [u8], index: usize, len: usize) -> &mut [u8] {
        assert!((index + 1) * len <= self.len, "entry {index} of field {}", self.name);
        &mut block[self.offset + index * len..][..len]
    }
}

macro_rules! fields {
    ($(#[$doc:meta])* $module:ident, $bytes:literal bytes:
     $($constant:ident $name:literal $offset:literal $len:literal;)+) => {
        $(#[$doc])*
        pub mod $module {
            use super::Field;

            $(pub(crate) const $constant: Field =
                Field { name: $name, offset: $offset, len: $len };)+

            /// Every field in the order of its offset, without gaps.
            pub const ALL: &[Field] = &[$($constant),+];

            /// Length of the whole in bytes.
            pub const BYTES: usize = $bytes;
        }
    };
}

fields! {
    /// The superblock.
    superblock, 4096 bytes:
    MAGIC "magic" 0 8;
    CRC "crc" 8 4;
    FORMAT_VERSION "format_version" 12 2;
    COPY "copy" 14 1;
    PLACEMENT "placement" 15 1;
    SEQUENCE "sequence" 16 8;
    COMPAT_FEATURES "compat_features" 24 8;
    INCOMPAT_FEATURES "incompat_features" 32 8;
    DEVICE_BYTES "device_bytes" 40 8;
    META_BYTES "meta_bytes" 48 8;
    DATA_BYTES "data_bytes" 56 8;
    EFFECTIVE_BYTES "effective_bytes" 64 8;
    BLOCK_BYTES "block_bytes" 72 4;
    FLAGS "flags" 76 4;
    DEVICE_UUID "device_uuid" 80 16;
    VOLUME "volume" 96 2;
    NODE_ID "node_id" 98 1;
    MAX_PEERS "max_peers" 99 1;
    RESOURCE_LEN "resource_len" 100 1;
    REGION_COUNT "region_count" 101 1;
    RESERVED_102 "reserved" 102 2;
    PRIMARY_SESSION "primary_session" 104 8;
    CURRENT_UUID "current_uuid" 112 8;
    FORMER_BYTES "former_bytes" 120 8;
    RESOURCE "resource" 128 128;
    HISTORY "history" 256 256;
    PEERS "peers" 512 1488;
    LEFT_OFFSET "left_offset" 2000 8;
    LEFT_LEN "left_len" 2008 8;
    RESERVED_2016 "reserved" 2016 16;
    AL_EXTENT_BYTES "al_extent_bytes" 2032 4;
    RESERVED_2036 "reserved" 2036 4;
    AL_LOG "al_log" 2040 8;
    REGIONS "regions" 2048 1152;
    RESERVED_3200 "reserved" 3200 896;
}

fields! {
    /// An entry of the superblock's `peers`.
    peer_slot, 48 bytes:
    NODE_ID "node_id" 0 1;
    LAST_PROTOCOL "last_protocol" 1 1;
    RESERVED_2 "reserved" 2 2;
    FLAGS "flags" 4 4;
    BITMAP_UUID "bitmap_uuid" 8 8;
    LAST_SESSION "last_session" 16 8;
    BOOT_ID "boot_id" 24 16;
    RESERVED_40 "reserved" 40 8;
}

fields! {
    /// An entry of the superblock's `regions`.
    region, 24 bytes:
    KIND "kind" 0 2;
    SLOT "slot" 2 2;
    INDEX_BLOCKS "index_blocks" 4 4;
    OFFSET "offset" 8 8;
    LEN "len" 16 8;
}

fields! {
    /// A block of a bitmap's index.
    index_block, 4096 bytes:
    CRC "crc" 0 4;
    MAGIC "magic" 4 2;
    SLOT "slot" 6 2;
    NUMBER "number" 8 4;
    RESERVED_12 "reserved" 12 4;
    ENTRIES "entries" 16 4080;
}

fields! {
    /// An entry of an index block.
    index_entry, 8 bytes:
    STATE "state" 0 1;
    RESERVED_1 "reserved" 1 3;
    PAGE_CRC "page_crc" 4 4;
}

fields! {
    /// A block of the activity log: a transaction.
    al_block, 4096 bytes:
    CRC "crc" 0 4;
    MAGIC "magic" 4 4;
    LOG "log" 8 8;
    SEQUENCE "sequence" 16 8;
    SLOTS "slots" 24 4;
    CONTEXT_FIRST "context_first" 28 4;
    CONTEXT_COUNT "context_count" 32 2;
    UPDATE_COUNT "update_count" 34 2;
    RESERVED_36 "reserved" 36 28;
    UPDATES "updates" 64 384;
    CONTEXT "context" 448 3648;
}

fields! {
    /// An entry of a transaction's updates.
    al_update, 6 bytes:
    SLOT "slot" 0 2;
    EXTENT "extent" 2 4;
}
