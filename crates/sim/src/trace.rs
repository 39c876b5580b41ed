//! The timeline of a run: a hash over every event, and where asked for a line for each.

use std::fmt::Arguments;

use crate::clock::MICROS;
use crate::prng::mix;

/// Hash of all events so far, and the lines where somebody wants to read them.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    print: bool,
}

impl Trace {
    /// Prints lines to standard output if `print`.
    pub fn new(print: bool) -> Self {
        Self { hash: 0, print }
    }

    /// Enters an event into the hash.
    pub fn mark(&mut self, now: u64, word: u64) {
        self.hash = mix(self.hash ^ now).wrapping_add(word);
    }

    /// The hash: equal for equal runs.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether lines are wanted; making them costs more than the run.
    pub fn is_on(&self) -> bool {
        self.print
    }

    /// One line: moment in milliseconds, the node as a column, what happened.
    #[expect(clippy::print_stdout, reason = "the timeline is what --trace asks for")]
    pub fn line(&self, now: u64, node: Option<usize>, text: Arguments<'_>) {
        if !self.print {
            return;
        }
        let micros = now / MICROS;
        let column = match node {
            Some(0) => "0  ",
            Some(_) => "  1",
            None => " - ",
        };
        println!("{:>7}.{:03} {column} {text}", micros / 1000, micros % 1000);
    }
}

/// A packet in a few words.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is short prints itself")]
pub fn packet(packet: &tandem_wire::Packet) -> String {
    use tandem_wire::{Packet, WriteKind};
    match packet {
        Packet::Write(write) => {
            let kind = match &write.kind {
                WriteKind::Data(_) => "Data",
                WriteKind::Trim => "Trim",
                WriteKind::Zeroes { .. } => "Zeroes",
            };
            let fua = if write.fua { " fua" } else { "" };
            let (id, epoch) = (write.id.0, write.epoch.0);
            format!("{kind} {id} epoch {epoch} {}:{}{fua}", write.volume, write.range)
        }
        Packet::DataReply { id, data } => format!("DataReply {} {} bytes", id.0, data.len()),
        Packet::RsDataReply { id, data } => format!("RsDataReply {} {} bytes", id.0, data.len()),
        Packet::Bitmap { volume, first_block, last, piece } => {
            format!("Bitmap {volume} from {first_block}, {} bytes, last {last}", piece.len())
        }
        Packet::CsumRsRequest { volume, range, id, .. } => {
            format!("CsumRsRequest {} {volume}:{range}", id.0)
        }
        Packet::OvReply { id, .. } => format!("OvReply {}", id.0),
        other => format!("{other:?}"),
    }
}

/// A disk operation in a few words.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is short prints itself")]
pub fn disk(kind: &tandem_replica::DiskOpKind) -> String {
    use tandem_replica::DiskOpKind;
    match kind {
        DiskOpKind::Write { offset, data, fua } => {
            format!("Write {offset}+{}{}", data.len(), if *fua { " fua" } else { "" })
        }
        DiskOpKind::MetaWrite { offset, data } => format!("MetaWrite {offset}+{}", data.len()),
        DiskOpKind::Merge { base, patch, at } => {
            format!("Merge {} at {at} into {}", patch.len(), base.len())
        }
        DiskOpKind::IsZero { data } => format!("IsZero {}", data.len()),
        DiskOpKind::Digest { data } => format!("Digest of {} bytes", data.len()),
        other => format!("{other:?}"),
    }
}
