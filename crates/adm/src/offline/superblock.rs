//! The superblock of metadata for other programs: its bytes, or what they say.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tandem_replica::meta::{CopyIndex, PeerSlot, Placement, Superblock};
use tandem_wire::Uuid;

use super::dump::peer_flags;
use crate::metadata::Metadata;

/// As what it is printed, by drbdadm's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SuperblockFormat {
    /// The 4096 bytes of copy A
    Binary,
    /// The same as text, without lines of zeroes
    Hex,
    /// What they say
    Json,
}

/// Prints it.
pub(super) fn dump(metadata: &Metadata, format: SuperblockFormat) -> Vec<u8> {
    let superblock = &metadata.superblock;
    match format {
        SuperblockFormat::Binary => superblock.encode(CopyIndex::A).to_vec(),
        SuperblockFormat::Hex => hex(&superblock.encode(CopyIndex::A)).into_bytes(),
        SuperblockFormat::Json => format!("{:#}\n", object(superblock)).into_bytes(),
    }
}

/// 16 bytes a line, behind the offset of the first one.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(LINE_BYTES).enumerate() {
        if line.iter().all(|byte| *byte == 0) {
            continue;
        }
        let _ = write!(text, "{:04x}:", number * LINE_BYTES);
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    text
}

const LINE_BYTES: usize = 16;

fn object(superblock: &Superblock) -> Value {
    let owner = superblock.identity.as_ref();
    let flags = superblock.flags;
    let history = superblock.history.iter().filter(|uuid| **uuid != Uuid::NONE);
    let slots = superblock.peers.iter().enumerate();
    json!({
        "resource": owner.map(|it| it.resource().to_owned()),
        "volume": owner.map(|it| it.volume().0),
        "node-id": owner.map(|it| it.node().0),
        "update": superblock.sequence,
        "device-uuid": Uuid(superblock.device_uuid.half()).to_string(),
        "meta-disk": match superblock.placement {
            Placement::Internal => "internal",
            Placement::External { .. } => "external",
        },
        "device-bytes": superblock.device_bytes,
        "data-bytes": superblock.data_bytes,
        "effective-bytes": superblock.effective_bytes,
        "al-extent-bytes": superblock.al_extent_bytes,
        "max-peers": superblock.max_peers,
        "current-uuid": superblock.current_uuid.to_string(),
        "history-uuids": history.map(Uuid::to_string).collect::<Vec<_>>(),
        "flags": {
            "consistent": flags.consistent,
            "was-up-to-date": flags.was_up_to_date,
            "primary-indicator": flags.primary_indicator,
            "crashed-primary": flags.crashed_primary,
            "al-disabled": flags.al_disabled,
        },
        "peers": slots.filter_map(|(at, slot)| Some(peer(at, (*slot)?))).collect::<Vec<_>>(),
    })
}

fn peer(slot: usize, of: PeerSlot) -> Value {
    let (_, flags) = peer_flags(of.flags);
    json!({
        "bitmap-index": slot,
        "node-id": of.node.0,
        "bitmap-uuid": of.bitmap_uuid.to_string(),
        "flags": flags,
    })
}
