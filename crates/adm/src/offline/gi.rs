//! Generation identifiers as drbdmeta shows them: `CURRENT:BITMAP:HISTORY:HISTORY:FLAGS`.

use std::fmt::Write;

use tandem_replica::meta::Superblock;
use tandem_wire::{NodeId, Uuid};

/// The line of a peer, also of one that the metadata do not know yet.
pub(super) fn line(superblock: &Superblock, peer: NodeId) -> String {
    let slot = superblock.peers.iter().flatten().find(|slot| slot.node == peer);
    let bitmap = slot.map_or(Uuid::NONE, |slot| slot.bitmap_uuid);
    let of_peer = slot.map(|slot| slot.flags).unwrap_or_default();
    let [younger, older] = [superblock.history[0], superblock.history[1]];
    let mut text = format!("{}:{bitmap}:{younger}:{older}", superblock.current_uuid);
    let of_volume = superblock.flags;
    let flags = [
        of_volume.consistent,
        of_volume.was_up_to_date,
        of_volume.primary_indicator,
        of_volume.crashed_primary,
        is_log_clean(superblock),
        of_volume.al_disabled,
        false, // there is no quorum to lose
        of_peer.connected,
        of_peer.outdated,
        of_peer.fencing,
        of_peer.full_sync,
        of_peer.device_seen,
    ];
    for flag in flags {
        let _ = write!(text, ":{}", u8::from(flag));
    }
    text.push('\n');
    text
}

/// Whether there is nothing that `apply-al` would have to do.
pub(super) fn is_log_clean(superblock: &Superblock) -> bool {
    !superblock.flags.primary_indicator
}

/// The same line with what its parts mean.
pub(super) fn drawing(superblock: &Superblock, peer: NodeId) -> String {
    let size = match superblock.effective_bytes {
        0 => "zero size device -- never seen peer yet?\n".to_owned(),
        bytes => {
            format!("last agreed size: {} ({} sectors)\n", readable(bytes), bytes / 512)
        }
    };
    format!("{UUIDS}{}{FLAGS}\n{size}", line(superblock, peer).trim_end())
}

/// A size as drbdmeta rounds it: four digits at most.
fn readable(bytes: u64) -> String {
    let mut size = bytes / 1024;
    let mut remainder = 0;
    for unit in ["KB", "MB", "GB", "TB"] {
        if size < 10_000 {
            return format!("{} {unit}", size + u64::from(remainder >= 512));
        }
        (size, remainder) = (size / 1024, size % 1024);
    }
    format!("{size} PB")
}

const UUIDS: &str = "
       +--<  Current data generation UUID  >-
       |               +--<  Bitmap's base data generation UUID  >-
       |               |                 +--<  younger history UUID  >-
       |               |                 |         +-<  older history  >-
       V               V                 V         V
";

const FLAGS: &str = "
                                                                    ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
                                      -<  Data consistency flag  >--+ | | | | | | | | | | |
                             -<  Data was/is currently up-to-date  >--+ | | | | | | | | | |
                                  -<  Node was/is currently primary  >--+ | | | | | | | | |
 -<  This node was a crashed primary, and has not seen its peer since  >--+ | | | | | | | |
             -<  The activity-log was applied, the disk can be attached  >--+ | | | | | | |
        -<  The activity-log was disabled, peer is completely out of sync  >--+ | | | | | |
                              -<  This node was primary when it lost quorum  >--+ | | | | |
                                          -<  Node was/is currently connected  >--+ | | | |
                              -<  The peer's disk was out-dated or inconsistent  >--+ | | |
                                 -<   A fence policy other the dont-care was used  >--+ | |
                  -<  Node was in the progress of marking all blocks as out of sync  >--+ |
                     -<  At least once we saw this node with a backing device attached >--+
";
