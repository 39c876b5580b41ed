//! Contexts and extended headers in the handshake: what is listed, what is chosen, for how long.

use super::*;
use crate::limits::{CONTEXT_QUERIES_MAX, STRING_BYTES_MAX};
use crate::wire::option::{
    EXTENDED_HEADERS, LIST_META_CONTEXT, SET_META_CONTEXT, STRUCTURED_REPLY,
};
use crate::wire::option_reply::{
    ACK, ERR_EXT_HEADER_REQD, ERR_INVALID, ERR_POLICY, ERR_TOO_BIG, ERR_UNKNOWN, META_CONTEXT,
};

const ALL: [&str; 5] = [
    "base:allocation",
    "x-tandem:out-of-sync/bob",
    "qemu:dirty-bitmap:bob",
    "x-tandem:out-of-sync/eve",
    "qemu:dirty-bitmap:eve",
];

fn structured() -> Vec<u8> {
    encode_option(STRUCTURED_REPLY, &[])
}

fn query(option: u32, name: &str, queries: &[&str]) -> Vec<u8> {
    let queries: Vec<_> = queries.iter().map(|query| query.as_bytes()).collect();
    encode_option(option, &encode_context_payload(name.as_bytes(), &queries))
}

/// The names that one query brings, with their ids, behind structured replies.
fn names(option: u32, queries: &[&str]) -> Vec<(u32, String)> {
    let options = [structured(), query(option, "r0/0", queries)];
    let (sent, _) = run_all_ways(&script(client_flag::ALL, &options));
    let replies = replies(&sent);
    let (ack, names) = replies[1..].split_last().unwrap();
    assert_eq!((ack.0, ack.1), (option, ACK));
    let name = |(from, reply, payload): &OptionReply| {
        assert_eq!((*from, *reply), (option, META_CONTEXT));
        ((&payload[..4]).get_u32(), String::from_utf8(payload[4..].to_vec()).unwrap())
    };
    names.iter().map(name).collect()
}

/// How many contexts are agreed on after these options, and the last reply before that of GO.
fn agreed(options: &[Vec<u8>], export: &str) -> (u32, u32) {
    let mut options = options.to_vec();
    options.push(go(export.as_bytes(), &[]));
    let (sent, end) = run_all_ways(&script(client_flag::ALL, &options));
    let End::Ready { terms, .. } = end else { panic!("{end:?}") };
    let replies = replies(&sent);
    let last = replies.iter().rfind(|reply| reply.0 != option::GO).unwrap();
    (terms.contexts.len(), last.1)
}

#[test]
fn a_list_has_all_or_a_group_or_one() {
    let list = |queries: &[&str]| {
        let names = names(LIST_META_CONTEXT, queries);
        assert!(names.iter().all(|(id, _)| *id == 0));
        names.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ALL);
    assert_eq!(list(&["base:"]), [ALL[0]]);
    assert_eq!(list(&["x-tandem:"]), [ALL[1], ALL[3]]);
    assert_eq!(list(&["qemu:", "x-tandem:out-of-sync/bob"]), [ALL[1], ALL[2], ALL[4]]);
    assert_eq!(list(&["qemu:dirty-bitmap:"]), [ALL[2], ALL[4]]);
    assert_eq!(list(&["nbdkit:x", "base", "bas", "", "base:allocation/"]), [""; 0]);
}

#[test]
fn what_is_chosen_is_named_in_full_and_once() {
    let chosen = names(SET_META_CONTEXT, &[ALL[4], ALL[0], ALL[0], "nobody:knows"]);
    assert_eq!(chosen, [(1, ALL[0].to_owned()), (5, ALL[4].to_owned())]);
    assert_eq!(names(SET_META_CONTEXT, &["base:", "qemu:", "x-tandem:out-of-sync/"]), []);
    assert_eq!(names(SET_META_CONTEXT, &[]), []);
}

#[test]
fn a_choice_lasts_until_the_next_and_for_its_export() {
    let set = |name: &str, queries: &[&str]| query(SET_META_CONTEXT, name, queries);
    let one = set("r0/0", &[ALL[0]]);
    assert_eq!(agreed(&[structured(), one.clone()], "r0/0"), (1, ACK));
    assert_eq!(agreed(&[structured(), one.clone()], ""), (0, ACK), "another name");
    let two = set("r0/0", &[ALL[0], ALL[1]]);
    assert_eq!(agreed(&[structured(), one.clone(), two], "r0/0"), (2, ACK));
    let list = query(LIST_META_CONTEXT, "r0/0", &[]);
    assert_eq!(agreed(&[structured(), one.clone(), list], "r0/0"), (1, ACK));
    for (again, reply) in [
        (set("r0/0", &[]), ACK),
        (set("nope", &[ALL[0]]), ERR_UNKNOWN),
        (set("secondary", &[ALL[0]]), ERR_POLICY),
        (encode_option(SET_META_CONTEXT, b"short"), ERR_INVALID),
    ] {
        assert_eq!(agreed(&[structured(), one.clone(), again], "r0/0"), (0, reply));
    }
    let name = encode_option(option::EXPORT_NAME, b"r0/0");
    let (_, end) = run_all_ways(&script(client_flag::ALL, &[structured(), one, name]));
    assert!(matches!(end, End::Ready { terms, .. } if terms.contexts.len() == 1));
}

#[test]
fn bad_queries() {
    let long = "x".repeat(STRING_BYTES_MAX + 1);
    let many = vec!["base:allocation"; 1 + CONTEXT_QUERIES_MAX as usize];
    let flood = vec!["base:allocation"; 100_000];
    let mut behind = encode_context_payload(b"r0/0", &[b"base:allocation"]);
    behind.push(0);
    let valid = encode_context_payload(b"r0/0", &[b"base:allocation"]);
    for option in [LIST_META_CONTEXT, SET_META_CONTEXT] {
        let before = query(option, "r0/0", &[ALL[0]]);
        assert_eq!(agreed(&[before, structured()], "r0/0").0, 0);
        let (sent, _) =
            run_all_ways(&script(client_flag::ALL, &[query(option, "r0/0", &[ALL[0]])]));
        assert_eq!((replies(&sent)[0].0, replies(&sent)[0].1), (option, ERR_INVALID));
        for (case, reply) in [
            (query(option, "r0/0", &many[1..]), ACK),
            (query(option, "r0/0", &many), ERR_TOO_BIG),
            (query(option, "r0/0", &flood), ERR_TOO_BIG),
            (query(option, "r0/0", &[&long]), ERR_INVALID),
            (query(option, &long, &[]), ERR_INVALID),
            (query(option, "r0\0", &[]), ERR_INVALID),
            (encode_option(option, &behind), ERR_INVALID),
            (encode_option(option, &valid[..valid.len() - 1]), ERR_INVALID),
            (encode_option(option, &valid[..8]), ERR_INVALID),
            (encode_option(option, &[]), ERR_INVALID),
        ] {
            let (_, got) = agreed(&[structured(), case], "r0/0");
            assert_eq!(got, reply);
        }
    }
}

#[test]
fn extended_headers_are_for_good() {
    let extended = encode_option(EXTENDED_HEADERS, &[]);
    let run = |options: &[Vec<u8>]| {
        let mut options = options.to_vec();
        options.push(go(b"r0/0", &[]));
        let (sent, end) = run_all_ways(&script(client_flag::ALL, &options));
        let End::Ready { terms, .. } = end else { panic!("{end:?}") };
        let replies = replies(&sent);
        let all: Vec<_> = replies.iter().map(|it| it.1).take(options.len() - 1).collect();
        (terms.replies, all)
    };
    let with_data = encode_option(EXTENDED_HEADERS, b"x");
    assert_eq!(run(&[with_data]), (Replies::Simple, vec![ERR_INVALID]));
    assert_eq!(run(std::slice::from_ref(&extended)), (Replies::Extended, vec![ACK]));
    let both = run(&[structured(), extended.clone()]);
    assert_eq!(both, (Replies::Extended, vec![ACK, ACK]));
    let back = run(&[extended.clone(), structured()]);
    assert_eq!(back, (Replies::Extended, vec![ACK, ERR_EXT_HEADER_REQD]));
    let twice = run(&[extended.clone(), extended.clone()]);
    assert_eq!(twice, (Replies::Extended, vec![ACK, ERR_INVALID]));
    let contexts = [extended, query(SET_META_CONTEXT, "r0/0", &[ALL[0]])];
    assert_eq!(agreed(&contexts, "r0/0"), (1, ACK));
}
