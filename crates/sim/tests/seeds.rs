//! Some hundred seeds, and every seed that once found something.

use tandem_sim::failure::{keep_panics_quiet, run_caught};
use tandem_sim::world::{Options, run};

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

#[test]
fn a_seed_is_one_run() {
    for seed in 0..10 {
        let options = Options { seconds: 10, trace: false };
        assert_eq!(run(seed, options).hash, run(seed, options).hash, "seed {seed}");
    }
}
