//! Some hundred seeds, and every seed that once found something; drills that did, likewise.

use tandem_sim::drill::{self, Setting};
use tandem_sim::failure::{keep_panics_quiet, run_caught};
use tandem_sim::world::{Options, run};
use tandem_wire::Protocol;

/// Seeds of each test run; `cargo run -p tandem-sim` runs as many as one likes.
const SEEDS: u64 = 200;

fn check(seeds: impl Iterator<Item = u64>, seconds: u64) {
    keep_panics_quiet();
    let options = Options { seconds, trace: false };
    let failures: Vec<String> = seeds
        .filter_map(|seed| {
            let (at, violation) = run_caught(seed, options).violation?;
            Some(format!(
                "seed {seed} at {} ms: {violation}\n    cargo run --release -p tandem-sim -- \
                 --seed {seed} --seconds {seconds} --trace",
                at / 1_000_000
            ))
        })
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn fresh_seeds_pass() {
    check(100_000..100_000 + SEEDS, 20);
}

#[test]
fn regressions_stay_fixed() {
    let text = include_str!("../regressions.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    check(
        lines.map(|line| {
            let (seed, story) = line.split_once(' ').expect("a seed and its story");
            assert!(!story.is_empty());
            seed.parse().expect("a seed")
        }),
        60,
    );
}

/// Moves, the blow on the last of them, and what it found.
const DRILLS: [[&str; 3]; 1] = [[
    "0:write 1:disconnect 0:power 1:discard",
    "fail@0:2",
    "data were held to be owed that a node had begun to give up when its source's disk failed",
]];

#[test]
fn drills_stay_fixed() {
    keep_panics_quiet();
    for [moves, blow, story] in DRILLS {
        let blow = Some(blow.parse().expect("a blow"));
        let setting = Setting { protocol: Protocol::C, passes_on: false, freezes: false };
        let (outcome, _) = drill::run(&moves.parse().expect("moves"), blow, setting, false);
        assert!(outcome.violation.is_none(), "{moves}: {story}: {:?}", outcome.violation);
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..10 {
        let options = Options { seconds: 10, trace: false };
        assert_eq!(run(seed, options).hash, run(seed, options).hash, "seed {seed}");
    }
}
