//! Compares docs/PROTOCOL.md with the code: every table of offsets, kinds and values.

use std::ops::RangeInclusive;

use crate::hello::{RejectCode, hello_at, reject_at};
use crate::kind::{Kind, Length, flag};
use crate::layout::Drawn;
use crate::limits::*;
use crate::packet::Lane;
use crate::policy::{AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, RoleConflict};
use crate::proof::{HmacAlgorithm, proof_at};
use crate::samples::one_of_each;
use crate::types::{DiskState, Protocol, ReplicationState, Role};
use crate::{header, record};

const PAGE: &str = include_str!("../../../docs/PROTOCOL.md");

type Row = Vec<&'static str>;

/// The rows of the tables below a heading, headers dropped, cells trimmed.
fn tables(heading: &str) -> Vec<Vec<Row>> {
    let line =
        |line: &&str| line.trim_start_matches('#').trim() == heading && line.starts_with('#');
    let mut tables: Vec<Vec<Row>> = Vec::new();
    let mut in_table = false;
    for text in PAGE.lines().skip_while(|text| !line(text)).skip(1) {
        if text.starts_with('#') {
            break;
        }
        if text.starts_with('|') {
            if !in_table {
                tables.push(Vec::new());
            }
            let cells = text.trim_matches('|').split('|').map(str::trim).collect();
            tables.last_mut().unwrap().push(cells);
        }
        in_table = text.starts_with('|');
    }
    for table in &mut tables {
        assert!(table.len() > 2, "a table below {heading} has no rows");
        table.drain(..2);
    }
    assert!(!tables.is_empty(), "no table below {heading}");
    tables
}

/// Name, offset and bytes of each field of the first table below a heading.
fn drawn(heading: &str) -> Vec<Drawn> {
    let rows = tables(heading).swap_remove(0);
    let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{cell} in {heading}"));
    let fields: Vec<Drawn> =
        rows.iter().map(|row| (row[2], number(row[0]), number(row[1]))).collect();
    let ends = fields.iter().map(|(_, at, bytes)| at + bytes);
    let starts = fields.iter().map(|(_, at, _)| *at).skip(1);
    assert!(starts.eq(ends.take(fields.len() - 1)), "{heading} has a gap or an overlap");
    assert_eq!(fields[0].1, 0, "{heading} starts at 0");
    fields
}

fn len(fields: &[Drawn]) -> usize {
    fields.last().map_or(0, |(_, at, bytes)| at + bytes)
}

/// The meaning cell of a field.
fn meaning(heading: &str, field: &str) -> &'static str {
    let rows = tables(heading).swap_remove(0);
    rows.iter().find(|row| row[2] == field).unwrap_or_else(|| panic!("{field} in {heading}"))[3]
}

#[test]
fn the_frame_header_is_as_drawn() {
    assert_eq!(drawn("Frames"), header::LAYOUT);
    assert_eq!(len(&header::LAYOUT), FRAME_HEADER_BYTES);
    assert_eq!(meaning("Frames", "magic"), "`TD`");
    assert_eq!(header::FRAME_MAGIC.to_le_bytes(), *b"TD");
    let flags = format!(
        "bit {} fua, bit {} keep_space, bit {} last, bit {} thin; others zero",
        flag::FUA.trailing_zeros(),
        flag::KEEP_SPACE.trailing_zeros(),
        flag::LAST.trailing_zeros(),
        flag::THIN.trailing_zeros()
    );
    assert_eq!(meaning("Frames", "flags"), flags);
    assert_eq!(meaning("Frames", "volume"), format!("volume number, 0 to {VOLUME_NUMBER_MAX}"));
}

#[test]
fn records_are_as_drawn() {
    assert_eq!(drawn("Record Protocol"), record::protocol::LAYOUT);
    assert_eq!(drawn("Record Sizes"), record::sizes::LAYOUT);
    assert_eq!(drawn("Record Uuids"), record::uuids::LAYOUT);
    assert_eq!(drawn("Record State"), record::state::LAYOUT);
    assert_eq!(len(&record::protocol::LAYOUT), record::PROTOCOL_BYTES as usize);
    assert_eq!(len(&record::sizes::LAYOUT), record::SIZES_BYTES as usize);
    assert_eq!(len(&record::uuids::LAYOUT), record::UUIDS_BYTES as usize);
    assert_eq!(len(&record::state::LAYOUT), record::STATE_BYTES as usize);
}

#[test]
fn values_in_records_are_as_drawn() {
    let values = |name: fn(u8) -> Option<&'static str>| -> String {
        let named = (0..=u8::MAX).filter_map(|byte| Some(format!("{byte} {}", name(byte)?)));
        named.collect::<Vec<_>>().join(", ")
    };
    let protocol = values(|byte| Protocol::from_u8(byte).map(Protocol::name));
    let role = values(|byte| Role::from_u8(byte).map(Role::name));
    let disk = values(|byte| DiskState::from_u8(byte).map(DiskState::name));
    let replication = values(|byte| ReplicationState::from_u8(byte).map(ReplicationState::name));
    assert_eq!(meaning("Record Protocol", "protocol"), protocol);
    let one = values(|byte| AfterSplitBrain1Pri::from_u8(byte).map(AfterSplitBrain1Pri::name));
    let two = values(|byte| AfterSplitBrain2Pri::from_u8(byte).map(AfterSplitBrain2Pri::name));
    let conflict = values(|byte| RoleConflict::from_u8(byte).map(RoleConflict::name));
    assert_eq!(meaning("Record Protocol", "after_sb_1pri"), one);
    assert_eq!(meaning("Record Protocol", "after_sb_2pri"), two);
    assert_eq!(meaning("Record Protocol", "rr_conflict"), conflict);
    let plain = AfterSplitBrain0Pri::PLAIN.iter().map(|it| format!("{} {it}", it.to_u8()));
    let zero = plain.collect::<Vec<_>>().join(", ") + ", 128 + N discard-node-N";
    assert_eq!(meaning("Record Protocol", "after_sb_0pri"), zero);
    assert_eq!(meaning("Record State", "role"), role);
    assert_eq!(meaning("Record State", "disk"), disk);
    assert_eq!(meaning("Record State", "replication"), replication);
    let flags = [
        (record::uuids::CRASHED_PRIMARY, "crashed_primary"),
        (record::uuids::LOST_POWER, "lost_power"),
        (record::uuids::RECONNECT, "reconnect"),
        (record::uuids::LAST_SESSION_ASYNC, "last_session_async (A)"),
        (record::uuids::LAST_SESSION_MEMORY, "last_session_memory (B)"),
        (record::uuids::BITMAP_ALIAS, "bitmap_alias"),
        (record::uuids::WAS_PRIMARY, "was_primary"),
        (record::uuids::WENT_ON, "went_on"),
    ]
    .map(|(bit, name)| format!("bit {} {name}", bit.trailing_zeros()));
    let flags = flags.join(", ") + ", not both A and B; others zero";
    assert_eq!(meaning("Record Uuids", "flags"), flags);
}

#[test]
fn kinds_are_as_drawn() {
    let rows = tables("Kinds").swap_remove(0);
    let samples = one_of_each();
    assert_eq!(rows.len(), Kind::ALL.len());
    for (row, (kind, packet)) in rows.iter().zip(samples) {
        let rule = kind.rule();
        assert_eq!((row[0], row[1]), ((kind as u8).to_string().as_str(), kind.name()));
        let lane = match packet.lane() {
            Lane::Ack => "ack",
            Lane::Data => "data",
        };
        assert_eq!(row[2], lane, "{kind:?}");
        let flags: Vec<&str> = [
            (flag::FUA, "fua"),
            (flag::KEEP_SPACE, "keep_space"),
            (flag::LAST, "last"),
            (flag::THIN, "thin"),
        ]
        .into_iter()
        .filter_map(|(bit, name)| (rule.flags & bit != 0).then_some(name))
        .collect();
        let flags = if flags.is_empty() { "-".to_owned() } else { flags.join(", ") };
        assert_eq!(row[3], flags, "{kind:?}");
        let is_used = [row[4], row[5], row[6], row[8]].map(|cell| cell != "-");
        assert_eq!(is_used, [rule.volume, rule.offset, rule.id, rule.epoch], "{kind:?}");
        check_length(kind, rule.length, row[7]);
        let payload = rule.payload_min..=rule.payload_max;
        assert_eq!(row[9], payload_cell(&payload), "{kind:?}");
        let is_bulk = matches!(kind, Kind::Data | Kind::DataReply | Kind::RsDataReply);
        assert_eq!(row[10] == "block data", is_bulk, "{kind:?}");
    }
}

fn check_length(kind: Kind, length: Length, cell: &str) {
    let expected = match length {
        Length::Unused => "-".to_owned(),
        Length::Payload => "range, equals payload_len".to_owned(),
        Length::Range(u32::MAX) => "range".to_owned(),
        Length::Range(len_max) => format!("range, at most {len_max}"),
        Length::Code => {
            assert!(cell.starts_with(['0', '1']), "{kind:?} lists its codes");
            return;
        }
    };
    assert_eq!(cell, expected, "{kind:?}");
}

fn payload_cell(payload: &RangeInclusive<u32>) -> String {
    let (min, max) = (payload.start(), payload.end());
    if min == max { min.to_string() } else { format!("{min}..{max}") }
}

#[test]
fn greetings_are_as_drawn() {
    let greeting = drawn("Greeting");
    let expected = [
        hello_at::MAGIC.drawn(),
        hello_at::VERSION_MIN.drawn(),
        hello_at::VERSION_MAX.drawn(),
        hello_at::SENDER.drawn(),
        hello_at::RECEIVER.drawn(),
        hello_at::FLAGS.drawn(),
        hello_at::FEATURES.drawn(),
        hello_at::NONCE.drawn(),
        hello_at::NAME_LEN.drawn(),
        ("name", hello_at::NAME, RESOURCE_NAME_BYTES_MAX),
        hello_at::CRC.drawn(),
    ];
    let named = |fields: &[Drawn]| -> Vec<Drawn> {
        fields.iter().copied().filter(|(name, ..)| *name != "reserved").collect()
    };
    assert_eq!(named(&greeting), expected);
    assert_eq!(len(&greeting), HELLO_BYTES);

    let refusal = drawn("Refusal");
    let expected = [
        hello_at::MAGIC.drawn(),
        reject_at::CODE.drawn(),
        reject_at::TEXT_LEN.drawn(),
        ("text", reject_at::TEXT, REJECT_TEXT_BYTES_MAX),
        hello_at::CRC.drawn(),
    ];
    assert_eq!(named(&refusal), expected);
    assert_eq!(len(&refusal), HELLO_BYTES);

    let proof = drawn("Proof");
    let expected = [
        hello_at::MAGIC.drawn(),
        proof_at::ALGORITHM.drawn(),
        ("mac", proof_at::MAC, proof_at::MAC_BYTES_MAX),
        hello_at::CRC.drawn(),
    ];
    assert_eq!(named(&proof), expected);
    assert_eq!(len(&proof), HELLO_BYTES);
    let rows = tables("Proof").swap_remove(1);
    let drawn: Vec<(u16, String)> =
        rows.iter().map(|row| (row[0].parse().unwrap(), row[1].to_owned())).collect();
    let coded = HmacAlgorithm::ALL.iter().map(|it| (it.number(), it.to_string()));
    assert!(coded.eq(drawn));
}

#[test]
fn codes_of_refusals_are_as_drawn() {
    let rows = tables("Refusal").swap_remove(1);
    let drawn: Vec<(u16, &str)> =
        rows.iter().map(|row| (row[0].parse().unwrap(), row[1])).collect();
    let names: Vec<String> = RejectCode::NAMED.iter().map(|code| format!("{code:?}")).collect();
    let coded = RejectCode::NAMED.iter().zip(&names).map(|(code, name)| (code.number(), &**name));
    assert!(coded.eq(drawn));
}
