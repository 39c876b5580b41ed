//! `set-gi`: generations and flags towards a peer are made what a line of `get-gi` says.
//!
//! What these metadata keep beside of the last session with a peer is of the generation that it was
//! kept for, and goes with that. That clients have used the data since stays.

use std::fmt;
use std::str::FromStr;

use tandem_control::exit;
use tandem_replica::meta::{BootId, MetaError, PeerSlot, Superblock};
use tandem_wire::{NodeId, Uuid};

use super::{confirmed, gi};
use crate::metadata::{MetaPlace, Metadata};
use crate::output::{self, Failure};

/// A line as it was written: what is empty in it or was left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    uuids: [Option<Uuid>; UUIDS],
    flags: [Option<bool>; FLAGS],
}

/// Makes them that, if it is confirmed.
pub(super) fn set_gi(
    place: &MetaPlace,
    peer: NodeId,
    line: &Line,
    force: bool,
) -> Result<(), Failure> {
    let mut metadata = Metadata::open(place)?;
    let superblock = &mut metadata.superblock;
    let refuse = |text: &str| Err(place.failure(exit::FAILURE, text));
    if superblock.identity.is_none() {
        return refuse("the metadata are nobody's yet: attach the disk once first");
    }
    if superblock.flags.primary_indicator {
        return refuse("this node crashed as Primary: run apply-al first");
    }
    let previous = gi::line(superblock, peer);
    if let Err(error) = line.apply(superblock, peer) {
        return refuse(&error.to_string());
    }
    output::print(&format!("previously {previous}set GI to  {}", gi::line(superblock, peer)));
    confirmed(&format!("{}: Write new GI to disk?", place.name), force)?;
    metadata.save()
}

impl Line {
    fn apply(&self, superblock: &mut Superblock, peer: NodeId) -> Result<(), MetaError> {
        let before = superblock.clone();
        let [current, bitmap, younger, older] = self.uuids;
        set(&mut superblock.current_uuid, current);
        set(&mut superblock.history[0], younger);
        set(&mut superblock.history[1], older);
        let [consistent, up_to_date, primary, crashed, _, al_disabled, _, of_peer @ ..] =
            self.flags;
        let flags = &mut superblock.flags;
        set(&mut flags.consistent, consistent);
        set(&mut flags.was_up_to_date, up_to_date);
        set(&mut flags.primary_indicator, primary);
        set(&mut flags.crashed_primary, crashed);
        set(&mut flags.al_disabled, al_disabled);
        let says = bitmap.is_some_and(|uuid| !uuid.is_none()) || of_peer.contains(&Some(true));
        if says || superblock.slot_of(peer).is_some() {
            let is_new = superblock.slot_of(peer).is_none();
            let index = superblock.allocate_slot(peer)?;
            let slot = superblock.peers[usize::from(index.0)].as_mut().expect("allocated");
            set(&mut slot.bitmap_uuid, bitmap);
            let [connected, outdated, fencing, full_sync, device_seen] = of_peer;
            set(&mut slot.flags.connected, connected);
            set(&mut slot.flags.outdated, outdated);
            set(&mut slot.flags.fencing, fencing);
            // What the bitmap of a new slot would say is unknown, whatever the line says.
            set(&mut slot.flags.full_sync, full_sync.filter(|_| !is_new));
            set(&mut slot.flags.device_seen, device_seen);
        }
        let is_other = superblock.current_uuid != before.current_uuid;
        let has_moved = superblock.history[0] != before.history[0];
        for (slot, old) in superblock.peers.iter_mut().zip(&before.peers) {
            if let (Some(slot), Some(old)) = (slot, old) {
                forget_facts(slot, old, is_other, has_moved);
            }
        }
        Ok(())
    }
}

/// What is true of other generations only.
fn forget_facts(slot: &mut PeerSlot, old: &PeerSlot, is_other: bool, has_moved: bool) {
    let is_retracked = slot.bitmap_uuid != old.bitmap_uuid;
    slot.flags.bitmap_alias &= !(is_other || has_moved || is_retracked);
    slot.flags.unheard &= !(is_other || is_retracked);
    if is_other {
        slot.flags.drained = false;
        slot.last_session = 0;
        slot.boot_id = BootId::default();
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl FromStr for Line {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut line = Self::default();
        for (index, part) in text.split(':').enumerate().filter(|(_, part)| !part.is_empty()) {
            let Some(name) = PARTS.get(index) else {
                return Err(wrong(&format!("'{text}': there are {} parts at most", PARTS.len())));
            };
            let number = index + 1;
            let wrong = |what| wrong(&format!("part {number} ({name}), '{part}': {what}"));
            match index.checked_sub(UUIDS) {
                None => {
                    let uuid = uuid(part);
                    line.uuids[index] =
                        Some(uuid.ok_or_else(|| wrong("up to 16 hexadecimal digits expected"))?);
                }
                Some(LOST_QUORUM) if part == "1" => {
                    return Err(wrong("there is no quorum to lose here, it is 0"));
                }
                Some(flag) => {
                    line.flags[flag] = Some(bit(part).ok_or_else(|| wrong("0 or 1 expected"))?);
                }
            }
        }
        if line == Self::default() {
            return Err(wrong(&format!("'{text}' says nothing: what get-gi prints is expected")));
        }
        let is_primary = line.flags[PRIMARY] == Some(true);
        if line.flags[LOG_APPLIED] == Some(is_primary) {
            let (number, name) = (UUIDS + LOG_APPLIED + 1, PARTS[UUIDS + LOG_APPLIED]);
            let primary = UUIDS + PRIMARY + 1;
            let text = format!("part {number} ({name}): it is the opposite of part {primary}");
            return Err(wrong(&text));
        }
        Ok(line)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uuids = self.uuids.iter().map(|uuid| uuid.map(|uuid| uuid.to_string()));
        let flags = self.flags.iter().map(|flag| flag.map(|flag| u8::from(flag).to_string()));
        let parts: Vec<String> = uuids.chain(flags).map(Option::unwrap_or_default).collect();
        f.write_str(parts.join(":").trim_end_matches(':'))
    }
}

const UUIDS: usize = 4;
const FLAGS: usize = 12;
const PRIMARY: usize = 2;
const LOG_APPLIED: usize = 4;
const LOST_QUORUM: usize = 6;

/// What the parts are.
const PARTS: [&str; UUIDS + FLAGS] = [
    "current UUID",
    "bitmap UUID",
    "younger history UUID",
    "older history UUID",
    "consistent",
    "was up-to-date",
    "was primary",
    "was a crashed primary",
    "activity log was applied",
    "activity log was disabled",
    "lost quorum as primary",
    "was connected",
    "peer was outdated",
    "peer to be fenced",
    "all blocks out of sync",
    "peer's disk was seen",
];

fn uuid(part: &str) -> Option<Uuid> {
    let is_number = part.len() <= 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u64::from_str_radix(part, 16).ok().map(Uuid)).flatten()
}

fn bit(part: &str) -> Option<bool> {
    match part {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// What is no line.
fn wrong(text: &str) -> Failure {
    Failure::new(exit::CONFIG, format!("set-gi: {text}"))
}
