use super::Fuzzer;
use crate::attempt::{Failure, attempt};
use crate::{Journal, Sightings, Target};

/// A bug behind three doors, each of which can be seen.
fn doors(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    for (door, byte) in b"bug".iter().enumerate() {
        if input.get(door) != Some(byte) {
            return Ok(());
        }
        seen.see(door);
    }
    panic!("behind the third door");
}

fn target(run: fn(&[u8], &mut Sightings) -> Result<(), String>) -> Target {
    Target {
        name: "doors",
        run,
        generate: |random| random.bytes(3),
        words: &[],
        len_max: 64,
        base_bytes: 16 << 20,
        per_byte: 100,
    }
}

fn journal(name: &str) -> Journal {
    let name = format!("{name}-{}", std::process::id());
    Journal::begin(&std::env::temp_dir(), &name).unwrap().0
}

/// Without keeping what it saw it would need some 16 million inputs.
#[test]
fn what_was_seen_leads_on() {
    let target = target(doors);
    let mut fuzzer = Fuzzer::new(&target, journal("doors"), 1, Vec::new()).unwrap();
    let found = (0..200_000).find_map(|_| fuzzer.step().err()).expect("the bug is found");
    assert_eq!(&found.input[..3], b"bug");
    let Failure::Panic(place, text) = found.failure else { panic!("{}", found.failure) };
    assert!(place.contains("tests.rs") && text == "behind the third door", "{place}: {text}");
    assert_eq!(fuzzer.report().kept, 2);
}

#[test]
fn a_seed_repeats_its_inputs() {
    let run = || {
        let target = target(|input, seen| {
            seen.see(input.first());
            Ok(())
        });
        let mut fuzzer = Fuzzer::new(&target, journal("repeats"), 7, Vec::new()).unwrap();
        (0..500).for_each(|_| fuzzer.step().unwrap());
        fuzzer.corpus().to_vec()
    };
    assert_eq!(run(), run());
}

#[test]
fn memory_beyond_what_the_input_is_worth_is_a_failure() {
    let greedy = target(|input, _| {
        let bytes = vec![1_u8; input.len() << 24];
        if bytes.iter().all(|byte| *byte == 1) { Ok(()) } else { Err("no".to_owned()) }
    });
    attempt(&greedy, b"").unwrap();
    let failure = attempt(&greedy, b"ab").unwrap_err();
    assert!(matches!(failure, Failure::Memory { .. }), "{failure}");
}
