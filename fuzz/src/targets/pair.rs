//! Two cores, whatever operators do to them and whatever happens to the bytes between them.
//!
//! The input says from which disks they start, and is a script of commands, requests, time, kills,
//! cuts, disks that fail, edits of frames and greetings, and packets that nobody has sent. Bytes
//! that fail a CRC cost a link. What is sealed as if it were true may cost the data, as what is
//! told by the one who has them; but no single lie makes both nodes the target, or both the source,
//! of one resync, and none makes a core panic or touch a byte outside its volume. Without a lie
//! nobody is refused, and two nodes that say that they are in sync have the same data.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{DiskState, Protocol, ReplicationState, StreamDecoder};
use tandem_replica::{Command, DiskError, RequestOp};

use super::Target;
use crate::core::{Edit, MemoryDisk, Node, Pair, any_command, any_frame, any_request, layout};
use crate::source::Source;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "pair",
    run,
    generate,
    words: &[&[0x90, 0xff], &[0xa0, 0], &[0xb0, 1], &[0x98, 20]],
    len_max: 2 << 10,
    // Two nodes with all that they may have under way.
    base_bytes: 32 << 20,
    per_byte: 64 << 10,
};

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let mut source = Source::new(input);
    let begin = source.byte();
    let protocol = source.pick(&[Protocol::C, Protocol::A, Protocol::B]);
    let disks = &beginnings()?[usize::from(begin) % BEGINNINGS];
    let mut pair = Pair::new(disks.clone(), protocol);
    if begin & 0x80 == 0 {
        pair.start(seen)?;
    }
    let mut is_excused = false;
    while !source.is_empty() && !pair.is_tired() {
        let op = source.byte();
        is_excused |= play(op, &mut pair, &mut source, seen)?;
        pair.tidy(seen)?;
    }
    pair.settle(seen)?;
    if pair.is_honest && !is_excused && pair.is_quiet() && !pair.is_tired() {
        same_data(&pair)?;
    }
    Ok(())
}

/// Does one thing; whether it is one that may leave data different by intent.
fn play(
    op: u8,
    pair: &mut Pair,
    source: &mut Source<'_>,
    seen: &mut Sightings,
) -> Result<bool, String> {
    let node = usize::from(op & 1);
    let now = pair.now;
    match op {
        0..0x30 => {
            let command = any_command(source, pair.nodes[node].peer());
            seen.see((1, std::mem::discriminant(&command)));
            pair.nodes[node].command(command, now);
            return Ok(matches!(command, Command::Resize { .. }));
        }
        0x30..0x60 => pair.nodes[node].request(any_request(source), now),
        0x60..0x78 => drop(pair.step(node, seen)?),
        0x78..0x80 => drop(pair.nodes[node].end_op(usize::from(source.byte()), None, now)),
        0x80..0x84 => {
            let error = source.pick(&[DiskError::Io, DiskError::NoSpace]);
            pair.nodes[node].end_op(usize::from(source.byte()), Some(error), now);
        }
        0x84..0x90 => pair.settle(seen)?,
        0x90..0x98 => pair.pass(Duration::from_millis(1 << (source.byte() & 15)), seen)?,
        0x98..0xa0 => pair.run(Duration::from_millis(u64::from(source.byte()) * 50), seen)?,
        0xa0..0xa8 => pair.cut(),
        0xa8..0xb0 => pair.heal(),
        0xb0..0xb8 => pair.restart(node),
        0xb8..0xc0 => pair.nodes[node].answer_call(source.byte() & 7, now),
        0xc0..0xe0 => pair.edit(node, Edit::read(source)),
        0xe0..0xe8 => pair.edit_hello(node, Edit::read(source)),
        0xe8.. => {
            if let Some(key) = pair.key(node) {
                let frame = any_frame(source, key);
                let mut decoder = StreamDecoder::new(key);
                decoder.push(&frame);
                match decoder.pop() {
                    Ok(Some(packet)) => pair.inject(node, packet, seen)?,
                    Ok(None) => {}
                    Err(error) => seen.see_text(&error.to_string()),
                }
            }
        }
    }
    Ok(false)
}

fn same_data(pair: &Pair) -> Result<(), String> {
    let stands = [0, 1].map(|node| pair.nodes[node].stand(pair.now));
    let is_in_sync = stands.iter().all(|stand| {
        stand.disk == DiskState::UpToDate
            && stand.replication == ReplicationState::Established
            && !stand.differs
    });
    let [a, b] = &pair.nodes;
    match a.disk.difference(&b.disk, layout().data_bytes()).filter(|_| is_in_sync) {
        None => Ok(()),
        Some(block) => Err(format!("both say that they are in sync, and differ in block {block}")),
    }
}

const BEGINNINGS: usize = 5;

/// Disks to begin with: fresh, in sync, one node further, both further, and a crashed Primary.
fn beginnings() -> Result<&'static [[MemoryDisk; 2]; BEGINNINGS], String> {
    static MADE: OnceLock<[[MemoryDisk; 2]; BEGINNINGS]> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made);
    }
    let fresh = [Node::formatted(0), Node::formatted(1)];
    let seen = &mut Sightings::default();
    let disks = |pair: &Pair| [pair.nodes[0].disk.clone(), pair.nodes[1].disk.clone()];
    let mut pair = Pair::new(fresh.clone(), Protocol::C);
    pair.start(seen)?;
    pair.nodes[0].command(Command::Primary { force: true }, pair.now);
    pair.run(Duration::from_secs(10), seen)?;
    let in_sync = {
        write(&mut pair, 0, 1, seen)?;
        pair.nodes[0].command(Command::Secondary { force: true }, pair.now);
        pair.run(Duration::from_secs(2), seen)?;
        disks(&pair)
    };
    pair.nodes[0].command(Command::Primary { force: false }, pair.now);
    pair.run(Duration::from_secs(2), seen)?;
    write(&mut pair, 0, 2, seen)?;
    let crashed = disks(&pair);
    pair.cut();
    write(&mut pair, 0, 3, seen)?;
    let further = disks(&pair);
    pair.nodes[1].command(Command::Primary { force: true }, pair.now);
    pair.run(Duration::from_secs(2), seen)?;
    write(&mut pair, 1, 4, seen)?;
    let apart = disks(&pair);
    Ok(MADE.get_or_init(|| [fresh, in_sync, further, apart, crashed]))
}

fn write(pair: &mut Pair, node: usize, block: u64, seen: &mut Sightings) -> Result<(), String> {
    let data = Bytes::from(vec![u8::try_from(block).unwrap_or(0); 8192]);
    let op = RequestOp::Write { offset: block * 40_960, data, fua: false };
    pair.nodes[node].request(op, pair.now);
    pair.run(Duration::from_secs(1), seen)
}

fn generate(random: &mut Random) -> Vec<u8> {
    let mut input = vec![random.byte() & 0x9f, random.byte()];
    if random.chance(80) {
        input[0] &= 0x7f;
    }
    for _ in 0..1 + random.below(24) {
        let node = random.byte() & 1;
        let some = random.byte();
        match random.below(16) {
            0 => input.extend([node, 6, random.byte()]),
            1 => input.extend([node, some, random.byte()]),
            2..5 => input.extend([0x30 | node, 4, 0, 0x60, some, 2, random.byte(), some]),
            5 => input.extend([0x30 | node, some, random.byte(), 0x60, random.byte(), some]),
            6 => input.push(0x60 | node),
            7 => input.extend([0x78 | node, some]),
            8 => input.push(0x84),
            9 => input.extend([0x98, some]),
            10 => input.push(0xa0),
            11 => input.extend([0xa8, 0x98, 60]),
            12 => input.push(0xb0 | node),
            13 => {
                input.extend([0xc0 | node, some, random.byte(), random.byte()]);
                input.extend([random.byte(), 0x98, 40]);
            }
            14 => input.extend([0xe0 | node, some, random.byte(), 0, random.byte(), 0xa0, 0xa8]),
            _ => {
                input.push(0xe8 | node);
                input.extend(random.bytes(12));
            }
        }
    }
    input
}
