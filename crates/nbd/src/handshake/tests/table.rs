//! Good and bad input in the handshake, case by case: which replies come, and whether the client
//! can go on afterwards.

use super::*;
use crate::wire::option_reply::{
    ACK, ERR_INVALID, ERR_POLICY, ERR_SHUTDOWN, ERR_UNKNOWN, ERR_UNSUP, INFO, SERVER,
};

/// Sends options and demands these replies, then a working GO on the same connection.
fn stays_usable(case: &str, options: &[Vec<u8>], expected: &[(u32, u32)]) {
    let mut options = options.to_vec();
    options.extend([go(b"r0/0", &[]), b"rest".to_vec()]);
    let (sent, end) = run_all_ways(&script(client_flag::ALL, &options));
    let terms = Terms { replies: replies_after(&options), ..Terms::default() };
    assert_eq!(end, End::Ready { export: export(), terms, rest: b"rest".to_vec() }, "{case}");
    let got: Vec<_> = replies(&sent).iter().map(|reply| (reply.0, reply.1)).collect();
    let expected = [expected, &[(option::GO, INFO), (option::GO, ACK)]].concat();
    assert_eq!(got, expected, "{case}");
}

/// What the options that are valid have agreed on.
fn replies_after(options: &[Vec<u8>]) -> Replies {
    let structured = encode_option(option::STRUCTURED_REPLY, &[]);
    if options.contains(&structured) { Replies::Structured } else { Replies::Simple }
}

/// Sends options and demands these replies, then the end of the connection.
fn closes(case: &str, options: &[Vec<u8>], expected: &[(u32, u32)], reason: CloseReason) {
    let (sent, end) = run_all_ways(&script(client_flag::ALL, options));
    assert_eq!(end, End::Closed(reason), "{case}");
    let got: Vec<_> = replies(&sent).iter().map(|reply| (reply.0, reply.1)).collect();
    assert_eq!(got, expected, "{case}");
}

/// An option whose header announces another length than its payload has.
fn announced(option: u32, len: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode_option(option, payload);
    bytes[12..16].copy_from_slice(&len.to_be_bytes());
    bytes
}

#[test]
fn client_flags() {
    for flags in 0..=3 {
        let (_, end) = run_all_ways(&script(flags, &[go(b"", &[])]));
        assert!(matches!(end, End::Ready { .. }), "flags {flags:#x}");
    }
    for flags in [4, 7, 0x8000_0001] {
        let (sent, end) = run_all_ways(&script(flags, &[go(b"", &[])]));
        assert_eq!(end, End::Closed(CloseReason::UnknownClientFlags(flags)));
        assert_eq!(sent.len(), GREETING_BYTES);
    }
}

#[test]
fn options_that_are_not_served() {
    use option::*;
    for option in [0, PEEK_EXPORT, 12, 99, 0x8000_0000, u32::MAX] {
        for len in [0, 1, 5000, OPTION_BYTES_MAX as usize] {
            let case = format!("option {option} of {len} bytes");
            stays_usable(&case, &[encode_option(option, &vec![1; len])], &[(option, ERR_UNSUP)]);
        }
    }
    stays_usable("tls", &[encode_option(STARTTLS, &[])], &[(STARTTLS, ERR_POLICY)]);
    stays_usable("tls, data", &[encode_option(STARTTLS, b"x")], &[(STARTTLS, ERR_INVALID)]);
}

#[test]
fn structured_replies() {
    let option = option::STRUCTURED_REPLY;
    let (structured, with_data) = (encode_option(option, &[]), encode_option(option, b"data"));
    stays_usable("structured", std::slice::from_ref(&structured), &[(option, ACK)]);
    let twice = [structured.clone(), structured.clone()];
    stays_usable("twice", &twice, &[(option, ACK), (option, ERR_INVALID)]);
    stays_usable("with data", &[with_data], &[(option, ERR_INVALID)]);
    // Also for who chooses the export in the oldest way.
    let name = encode_option(option::EXPORT_NAME, b"r0/0");
    let (_, end) = run_all_ways(&script(client_flag::ALL, &[structured, name]));
    let terms = Terms { replies: Replies::Structured, ..Terms::default() };
    assert_eq!(end, End::Ready { export: export(), terms, rest: vec![] });
}

#[test]
fn list() {
    let list = option::LIST;
    let answer = [(list, SERVER), (list, SERVER), (list, ACK)];
    stays_usable("list", &[encode_option(list, &[])], &answer);
    let twice = [encode_option(list, &[]), encode_option(list, &[])];
    stays_usable("list twice", &twice, &[answer, answer].concat());
    stays_usable("list with data", &[encode_option(list, b"data")], &[(list, ERR_INVALID)]);
}

#[test]
fn go_and_info_that_are_refused_or_malformed() {
    let valid = encode_info_payload(b"r0/0", &[info::BLOCK_SIZE]);
    let mut long = valid.clone();
    long.push(0);
    let cases: [(&str, Vec<u8>, u32); 14] = [
        ("unknown", encode_info_payload(b"nope", &[]), ERR_UNKNOWN),
        ("not primary", encode_info_payload(b"secondary", &[]), ERR_POLICY),
        ("stopping", encode_info_payload(b"stopping", &[]), ERR_SHUTDOWN),
        ("empty", vec![], ERR_INVALID),
        ("shorter than a length", vec![0; 3], ERR_INVALID),
        ("no count", valid[..8].to_vec(), ERR_INVALID),
        ("half a count", valid[..9].to_vec(), ERR_INVALID),
        ("fewer requests than counted", valid[..10].to_vec(), ERR_INVALID),
        ("more bytes than counted", long, ERR_INVALID),
        ("name longer than the option", b"\xff\xff\xff\xffr0/0\0\0".to_vec(), ERR_INVALID),
        ("name of 5000 bytes", encode_info_payload(&[b'x'; 5000], &[]), ERR_INVALID),
        ("name with NUL", encode_info_payload(b"r0\0/0", &[]), ERR_INVALID),
        ("name not UTF-8", encode_info_payload(b"r0\xff", &[]), ERR_INVALID),
        ("longer than can be", vec![0; OPTION_PARSED_BYTES_MAX as usize + 1], ERR_INVALID),
    ];
    for option in [option::INFO, option::GO] {
        for (case, payload, reply) in &cases {
            stays_usable(case, &[encode_option(option, payload)], &[(option, *reply)]);
        }
    }
    let long_name = encode_info_payload(&[b'x'; STRING_BYTES_MAX], &[info::NAME; 65_535]);
    assert_eq!(long_name.len(), OPTION_PARSED_BYTES_MAX as usize);
    let longest = [encode_option(option::INFO, &long_name)];
    stays_usable("longest valid", &longest, &[(option::INFO, ERR_UNKNOWN)]);
}

#[test]
fn info_leaves_the_client_in_the_handshake() {
    let info = |infos: &[u16]| {
        let payload = encode_info_payload(b"r0/0", infos);
        let options = [encode_option(option::INFO, &payload)];
        let (sent, end) = run_all_ways(&script(client_flag::ALL, &options));
        assert_eq!(end, End::NeedsBytes);
        let replies = replies(&sent);
        let (ack, infos) = replies.split_last().unwrap();
        assert_eq!(*ack, (option::INFO, ACK, vec![]));
        assert!(infos.iter().all(|reply| (reply.0, reply.1) == (option::INFO, INFO)));
        infos.iter().map(|reply| (&reply.2[..]).get_u16()).collect::<Vec<_>>()
    };
    assert_eq!(info(&[]), [info::EXPORT]);
    assert_eq!(info(&[info::EXPORT, 4, 0x7fff]), [info::EXPORT]);
    assert_eq!(info(&[info::BLOCK_SIZE; 100]), [info::EXPORT, info::BLOCK_SIZE]);
    let all = [info::EXPORT, info::NAME, info::DESCRIPTION, info::BLOCK_SIZE];
    assert_eq!(info(&[3, 2, 1]), all);
}

#[test]
fn flags_tell_what_works() {
    use crate::wire::transmission_flag::*;
    let always = HAS_FLAGS | SEND_FLUSH | SEND_FUA | CAN_MULTI_CONN | SEND_CACHE;
    let writable = always | SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO;
    assert_eq!(export().transmission_flags(Terms::default()), writable);
    let structured = Terms { replies: Replies::Structured, ..Terms::default() };
    assert_eq!(export().transmission_flags(structured), writable | SEND_DF);
    let turning = ExportInfo { rotational: true, ..export() };
    assert_eq!(turning.transmission_flags(Terms::default()), writable | ROTATIONAL);
    let (sent, _) = run_all_ways(&script(client_flag::ALL, &[go(b"read-only", &[])]));
    let export_info = &replies(&sent)[0].2;
    assert_eq!(export_info[10..], (always | READ_ONLY).to_be_bytes());
}

#[test]
fn export_name_cannot_be_refused_politely() {
    let name = |name: &[u8]| [encode_option(option::EXPORT_NAME, name)];
    let refused = |reason: &str| CloseReason::Refused(reason.into());
    closes("unknown", &name(b"nope"), &[], refused("no such export"));
    closes("not primary", &name(b"secondary"), &[], refused("r1 is Secondary on this node"));
    closes("NUL", &name(b"r0\0"), &[], CloseReason::Name(NameError::Nul));
    closes("not UTF-8", &name(b"\xff"), &[], CloseReason::Name(NameError::NotUtf8));
    closes("too long", &name(&[b'x'; 4097]), &[], CloseReason::Name(NameError::TooLong));
    let unsent = [announced(option::EXPORT_NAME, 4097, &[])];
    let too_long = CloseReason::Name(NameError::TooLong);
    closes("too long, not sent", &unsent, &[], too_long);
}

#[test]
fn abort_is_acknowledged() {
    for payload in [&[][..], &[0; 3000]] {
        let abort = [encode_option(option::ABORT, payload), go(b"r0/0", &[])];
        closes("abort", &abort, &[(option::ABORT, ACK)], CloseReason::Aborted);
    }
}

#[test]
fn what_no_client_does_closes() {
    let mut wrong_magic = go(b"r0/0", &[]);
    wrong_magic[7] = b'X';
    let magic = u64::from_be_bytes(*b"IHAVEOPX");
    closes("wrong magic", &[wrong_magic], &[], CloseReason::WrongOptionMagic(magic));
    for option in [option::GO, option::EXPORT_NAME, option::LIST, option::ABORT, 99] {
        for len_bytes in [u32::MAX, OPTION_BYTES_MAX + 1, 33 << 20] {
            let reason = CloseReason::OptionTooLong { option, len_bytes };
            closes("too long", &[announced(option, len_bytes, &[])], &[], reason);
        }
    }
}

#[test]
fn a_flood_of_options_closes() {
    let unsup = (99, ERR_UNSUP);
    stays_usable("63 and GO", &vec![encode_option(99, b"x"); 63], &[unsup; 63]);
    let flood = vec![encode_option(99, b"x"); 5000];
    closes("flood", &flood, &[unsup; 64], CloseReason::TooManyOptions);
}
