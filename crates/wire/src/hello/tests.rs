//! Both sides come to the same session, or both to none.

use proptest::prelude::*;

use super::*;

fn hello(sender: u8, receiver: u8, nonce: u64) -> Hello {
    Hello {
        versions: Versions { min: 1, max: 3 },
        features: 0x8000_0000_0000_0001,
        resource: "r0".to_owned(),
        sender: NodeId(sender),
        receiver: NodeId(receiver),
        discard_my_data: sender == 1,
        nonce,
    }
}

fn pair() -> (Hello, Hello) {
    (hello(0, 1, 0x1111), hello(1, 0, 0x2222))
}

#[test]
fn golden_bytes() {
    let greeting = hello(1, 2, 0x0102_0304_0506_0708).encode();
    let mut expected = [0; HELLO_BYTES];
    expected[..8].copy_from_slice(b"TANDEM\x01H");
    expected[8..16].copy_from_slice(&[1, 0, 3, 0, 1, 2, 1, 0]);
    expected[16..24].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0x80]);
    expected[24..32].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
    expected[32..42].copy_from_slice(b"\x02\0\0\0\0\0\0\0r0");
    let sum = crc32fast::hash(&expected[..252]);
    expected[252..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(greeting, expected);

    let refusal = Reject { code: RejectCode::StandAlone, text: "not now".to_owned() }.encode();
    let mut expected = [0; HELLO_BYTES];
    expected[..23].copy_from_slice(b"TANDEM\x01R\x04\0\x07\0\0\0\0\0not now");
    let sum = crc32fast::hash(&expected[..252]);
    expected[252..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(refusal, expected);
}

#[test]
fn sessions_are_the_same_in_every_build() {
    let (ours, theirs) = pair();
    let link = negotiate(&ours, &theirs).unwrap();
    assert_eq!((link.version, link.features), (3, 0x8000_0000_0000_0001));
    assert_eq!(
        (link.session_id, link.session_key),
        (0x9e56b5a13d208bf0, 0x1a5628e0),
        "{:#x} {:#x}",
        link.session_id,
        link.session_key
    );
}

#[test]
fn every_flipped_bit_is_found() {
    let refusal = Reject { code: RejectCode::Busy, text: "wait".to_owned() };
    for good in [hello(0, 1, 5).encode(), refusal.encode()] {
        assert!(Greeting::decode(&good).is_ok());
        for bit in 0..HELLO_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Greeting::decode(&bad).is_err(), "bit {bit}");
        }
    }
}

fn forged(at: usize, patch: &[u8]) -> Result<Hello, HelloError> {
    let mut bytes = hello(0, 1, 5).encode();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    seal(&mut bytes);
    Hello::decode(&bytes)
}

#[test]
fn greetings_that_make_no_sense_are_refused() {
    let value = |field, value| Err(HelloError::Value { field, value });
    let text = Err(HelloError::Text { field: "name" });
    assert_eq!(forged(8, &[4, 0]), value("version_min", 4));
    assert_eq!(forged(12, &[32]), value("sender", 32));
    assert_eq!(forged(13, &[255]), value("receiver", 255));
    assert_eq!(forged(32, &[0; 10]), value("name_len", 0));
    assert_eq!(forged(32, &[129, 0]), value("name_len", 129));
    assert_eq!(forged(32, &[0xff, 0xff]), value("name_len", 0xffff));
    assert_eq!(forged(40, b"\xff\xfe"), text);
    assert_eq!(forged(40, b"\n0"), text);
    assert_eq!(forged(167, &[1]), text, "padding");
    assert_eq!(forged(42, b"x"), text, "padding");
    assert!(matches!(forged(0, b"GET / HT"), Err(HelloError::Magic { .. })));
}

#[test]
fn what_later_versions_may_add_is_ignored() {
    for at in [15, 34, 168, 251] {
        assert_eq!(forged(at, &[0x80]), Ok(hello(0, 1, 5)), "at {at}");
    }
}

#[test]
fn names_may_be_as_long_as_the_field() {
    for len in [1, RESOURCE_NAME_BYTES_MAX] {
        let long = Hello { resource: "n".repeat(len), ..hello(0, 1, 5) };
        assert_eq!(Hello::decode(&long.encode()), Ok(long));
    }
}

#[test]
fn refusals_come_through() {
    let codes = RejectCode::NAMED.iter().copied().chain([RejectCode::Other(999)]);
    for code in codes {
        let reject = Reject { code, text: "because of \u{e4} thing".to_owned() };
        let bytes = reject.encode();
        assert_eq!(Greeting::decode(&bytes), Ok(Greeting::Reject(reject.clone())));
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Rejected(reject)));
    }
    let long = Reject { code: RejectCode::Busy, text: format!("a\n{}", "\u{e4}".repeat(200)) };
    let Ok(Greeting::Reject(cut)) = Greeting::decode(&long.encode()) else {
        panic!("a refusal stays one");
    };
    assert_eq!(cut.text, format!("a?{}", "\u{e4}".repeat(79)));
}

#[test]
fn sides_that_do_not_fit_are_told_why() {
    let (ours, theirs) = pair();
    let result = |theirs: &Hello| negotiate(&ours, theirs).unwrap_err();
    assert_eq!(result(&ours.clone()), HelloError::Reflected);
    assert_eq!(result(&Hello { nonce: ours.nonce, ..theirs.clone() }), HelloError::Reflected);
    let resource = Hello { resource: "r1".to_owned(), ..theirs };
    assert!(matches!(result(&resource), HelloError::Resource { .. }));
    for (sender, receiver) in [(0, 1), (1, 2), (2, 0), (0, 0), (1, 1)] {
        let node = Hello { sender: NodeId(sender), receiver: NodeId(receiver), ..theirs.clone() };
        assert!(matches!(result(&node), HelloError::Node { .. }), "{sender} {receiver}");
    }
    let newer = Hello { versions: Versions { min: 4, max: 9 }, ..theirs.clone() };
    assert!(matches!(result(&newer), HelloError::Version { .. }));
    let more = Hello { features: theirs.features | 6, ..theirs.clone() };
    let features = HelloError::Features { only_ours: 0, only_theirs: 6 };
    assert_eq!(result(&more), features);
    let fewer = Hello { features: 0, ..theirs };
    assert_eq!(result(&fewer), HelloError::OneSecret { ours: true });
    let other = negotiate(&fewer, &ours).unwrap_err();
    let expected = "cram-hmac-alg and shared-secret are configured on the peer only; both nodes \
                    need the same";
    assert_eq!(other.to_string(), expected);
}

prop_compose! {
    fn any_hello()(
        versions in (0..4u16, 0..4u16),
        features in prop_oneof![Just(0), any::<u64>(), (0..4u64).prop_map(|high| high << 32)],
        resource in prop_oneof![3 => Just("r0".to_owned()), 1 => "[a-z.-]{1,128}"],
        sender in 0..3u8,
        receiver in 0..3u8,
        discard_my_data: bool,
        nonce in prop_oneof![0..3u64, any::<u64>()],
    ) -> Hello {
        let (a, b) = versions;
        let versions = Versions { min: a.min(b), max: a.max(b) };
        let (sender, receiver) = (NodeId(sender), NodeId(receiver));
        Hello { versions, features, resource, sender, receiver, discard_my_data, nonce }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn greetings_round_trip(hello in any_hello()) {
        prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }

    #[test]
    fn both_sides_agree(ours in any_hello(), theirs in any_hello()) {
        match (negotiate(&ours, &theirs), negotiate(&theirs, &ours)) {
            (Ok(link), Ok(mirror)) => prop_assert_eq!(link, mirror),
            (Err(error), Err(mirror)) => {
                prop_assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&mirror));
            }
            (ours, theirs) => prop_assert!(false, "{ours:?} against {theirs:?}"),
        }
    }

    #[test]
    fn a_fresh_nonce_of_either_side_makes_a_new_session(a: u64, b: u64, c: u64) {
        prop_assume!(a != b && a != c && b != c);
        let id = |low, high| negotiate(&hello(0, 1, low), &hello(1, 0, high)).unwrap().session_id;
        prop_assert_ne!(id(a, b), 0);
        prop_assert_ne!(id(a, b), id(a, c));
        prop_assert_ne!(id(a, b), id(c, b));
        prop_assert_ne!(id(a, b), id(b, a));
    }

    #[test]
    fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 240), which: bool) {
        let mut bytes = [0; HELLO_BYTES];
        bytes[8..248].copy_from_slice(&garbage);
        bytes[..8].copy_from_slice(if which { &HELLO_MAGIC } else { &REJECT_MAGIC });
        prop_assert!(Greeting::decode(&bytes).is_err() || garbage.iter().all(|byte| *byte == 0));
        bytes[32..40].fill(0);
        bytes[11] = 0;
        seal(&mut bytes);
        let _ = Greeting::decode(&bytes);
    }
}
