//! Every table of fields in docs/ON_DISK.md says what the code does.

use crate::meta::fields::{self, Field};
use crate::meta::{PeerFlags, VolumeFlags};

const ON_DISK: &str = include_str!("../../../../../docs/ON_DISK.md");

/// Cells of the first table behind a heading, without its head.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let mut lines = ON_DISK.lines().skip_while(|line| line.trim_start_matches('#') != heading);
    assert!(lines.next().is_some(), "no heading{heading}");
    let section = lines.take_while(|line| !line.starts_with('#'));
    let rows = section.filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn assert_drawn(heading: &str, all: &[Field], bytes: usize) {
    let mut end = 0;
    for field in all {
        assert_eq!(field.offset, end, "gap or overlap before {} of{heading}", field.name);
        end += field.len;
    }
    assert_eq!(end, bytes, "length of{heading}");
    let drawn: Vec<_> = table(heading)
        .into_iter()
        .map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap(), row[2]))
        .collect();
    let coded: Vec<_> = all.iter().map(|field| (field.offset, field.len, field.name)).collect();
    assert_eq!(drawn, coded, "table of{heading}");
}

fn assert_flags_drawn(heading: &str, all: &[(&str, u32)]) {
    let bit = |cell: &str| u32::from_str_radix(cell.strip_prefix("0x").unwrap(), 16).unwrap();
    let drawn: Vec<_> = table(heading).into_iter().map(|row| (row[1], bit(row[0]))).collect();
    assert_eq!(drawn, all, "table of{heading}");
    assert!(all.iter().all(|(_, bit)| bit.count_ones() == 1));
}

#[test]
fn tables_agree_with_the_code() {
    use fields::{al_block, al_update, index_block, index_entry, peer_slot, region, superblock};
    assert_drawn(" Superblock", superblock::ALL, superblock::BYTES);
    assert_drawn(" Peer slot", peer_slot::ALL, peer_slot::BYTES);
    assert_drawn(" Region", region::ALL, region::BYTES);
    assert_drawn(" Transaction", al_block::ALL, al_block::BYTES);
    assert_drawn(" Update", al_update::ALL, al_update::BYTES);
    assert_drawn(" Index block", index_block::ALL, index_block::BYTES);
    assert_drawn(" Index entry", index_entry::ALL, index_entry::BYTES);
    assert_flags_drawn(" Volume flags", VolumeFlags::ALL);
    assert_flags_drawn(" Peer flags", PeerFlags::ALL);
}
