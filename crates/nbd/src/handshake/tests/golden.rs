//! Two whole handshakes, byte by byte as they stand in the protocol's text.

use super::*;

/// Turns hexadecimal digits and quoted text into bytes: `"00 2a 'text'"`.
fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            bytes.put_slice(part.as_bytes());
            continue;
        }
        let digits: String = part.split_whitespace().collect();
        for pair in digits.as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        }
    }
    bytes
}

#[test]
fn export_name_without_no_zeroes() {
    let client = hex("00000001  'IHAVEOPT' 00000001 00000004 'r0/0'  'first request'");
    let (sent, end) = run_all_ways(&client);
    let mut expected = hex("'NBDMAGIC' 'IHAVEOPT' 0003  0000012345678000 0d6d");
    expected.extend([0; 124]);
    assert_eq!(sent, expected);
    assert_eq!(end, ready(b"first request"));
}

#[test]
fn export_name_with_no_zeroes() {
    let client = hex("00000003  'IHAVEOPT' 00000001 00000000");
    let (sent, end) = run_all_ways(&client);
    assert_eq!(sent, hex("'NBDMAGIC' 'IHAVEOPT' 0003  0000012345678000 0d6d"));
    assert_eq!(end, ready(b""));
}

#[test]
fn go_with_all_information() {
    let client = hex("00000003
        'IHAVEOPT' 00000007 00000012  00000004 'r0/0' 0004 0003 0002 0001 0000
        'first request'");
    let (sent, end) = run_all_ways(&client);
    let expected = hex("'NBDMAGIC' 'IHAVEOPT' 0003
        0003e889045565a9 00000007 00000003 0000000c  0000 0000012345678000 0d6d
        0003e889045565a9 00000007 00000003 00000006  0001 'r0/0'
        0003e889045565a9 00000007 00000003 00000017  0002 'r0, Primary, UpToDate'
        0003e889045565a9 00000007 00000003 0000000e  0003 00000001 00001000 02000000
        0003e889045565a9 00000007 00000001 00000000");
    assert_eq!(sent, expected);
    assert_eq!(end, ready(b"first request"));
}

#[test]
fn list_and_a_refusal() {
    let client = hex("00000003
        'IHAVEOPT' 00000003 00000000
        'IHAVEOPT' 00000007 0000000f  00000009 'secondary' 0000");
    let (sent, end) = run_all_ways(&client);
    let expected = hex("'NBDMAGIC' 'IHAVEOPT' 0003
        0003e889045565a9 00000003 00000002 00000013  00000004 'r0/0' 'r0, Primary'
        0003e889045565a9 00000003 00000002 00000008  00000004 'r1/0'
        0003e889045565a9 00000003 00000001 00000000
        0003e889045565a9 00000007 80000002 0000001c  'r1 is Secondary on this node'");
    assert_eq!(sent, expected);
    assert_eq!(end, End::NeedsBytes);
}

#[test]
fn structured_replies() {
    let client = hex("00000003
        'IHAVEOPT' 00000008 00000000
        'IHAVEOPT' 00000007 0000000a  00000004 'r0/0' 0000");
    let (sent, end) = run_all_ways(&client);
    let expected = hex("'NBDMAGIC' 'IHAVEOPT' 0003
        0003e889045565a9 00000008 00000001 00000000
        0003e889045565a9 00000007 00000003 0000000c  0000 0000012345678000 0ded
        0003e889045565a9 00000007 00000001 00000000");
    assert_eq!(sent, expected);
    let terms = Terms { replies: Replies::Structured, ..Terms::default() };
    assert_eq!(end, End::Ready { export: export(), terms, rest: vec![] });
}

#[test]
fn contexts_and_extended_headers() {
    let client = hex("00000003
        'IHAVEOPT' 0000000b 00000000
        'IHAVEOPT' 0000000a 0000003a  00000004 'r0/0' 00000002
            0000000f 'base:allocation' 00000017 'x-tandem:out-of-sync/ev'
        'IHAVEOPT' 00000009 00000022  00000004 'r0/0' 00000001 00000012 'qemu:dirty-bitmap:'
        'IHAVEOPT' 00000007 0000000a  00000004 'r0/0' 0000");
    let (sent, end) = run_all_ways(&client);
    let expected = hex("'NBDMAGIC' 'IHAVEOPT' 0003
        0003e889045565a9 0000000b 00000001 00000000
        0003e889045565a9 0000000a 00000004 00000013  00000001 'base:allocation'
        0003e889045565a9 0000000a 00000001 00000000
        0003e889045565a9 00000009 00000004 00000019  00000000 'qemu:dirty-bitmap:bob'
        0003e889045565a9 00000009 00000004 00000019  00000000 'qemu:dirty-bitmap:eve'
        0003e889045565a9 00000009 00000001 00000000
        0003e889045565a9 00000007 00000003 0000000c  0000 0000012345678000 0ded
        0003e889045565a9 00000007 00000001 00000000");
    assert_eq!(sent, expected);
    let End::Ready { terms, .. } = end else { panic!("{end:?}") };
    assert_eq!((terms.replies, terms.contexts.len()), (Replies::Extended, 1));
}
