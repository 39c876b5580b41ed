//! Pairs of metadata that two nodes can come to: explored with the real code, breadth first from
//! fresh disks and from disks in sync, then along walks that go deeper; what is decided about each
//! pair is compared with what a model of the writes says (`model`) and with the policies' table
//! (`table`).
//!
//! A place is a pair of disks with both processes down, and the moves since; it is gone on from
//! once, by what of it matters (`world`). Walks are as long as [`WALK_MOVES`], so that each node is
//! the subject of five moves and more. `cargo test` makes some thousand moves; more are made by
//! `REACH_MOVES=N cargo test --release -p tandem-replica --test stories reach -- --ignored`.

mod model;
mod moves;
mod table;
mod world;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tandem_replica::wire::Protocol;

use moves::Move;
use world::{Image, World};

/// Moves of the long exploration, by the environment of the compiler.
const MOVES: Option<&str> = option_env!("REACH_MOVES");

/// Moves of one walk.
const WALK_MOVES: usize = 14;

/// Node 0 is Primary, and has a peer.
const WORKING: &[Move] = &[Move::Start(0), Move::Start(1), Move::Promote(0)];
/// Both are Primary, and apart.
const APART: &[Move] =
    &[Move::Start(0), Move::Start(1), Move::Promote(0), Move::Cut, Move::Promote(1)];

/// A pair of disks, and what was done with them since.
#[derive(Clone)]
struct Place {
    image: Rc<Image>,
    path: Vec<Move>,
}

impl Place {
    fn visit(&self) -> World {
        let mut world = World::restore(&self.image);
        for it in &self.path {
            world.apply(*it);
        }
        world
    }

    fn after(&self, it: Move, world: &World) -> Self {
        if world.is_down() {
            return Self { image: Rc::new(world.image()), path: Vec::new() };
        }
        let mut path = self.path.clone();
        path.push(it);
        Self { image: Rc::clone(&self.image), path }
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    moves: usize,
    places: usize,
    decisions: BTreeSet<String>,
}

/// Goes breadth first until so many moves were made.
fn explore(protocol: Protocol, moves_max: usize, found: &mut Found) {
    let mut seen = BTreeSet::new();
    let mut queue: VecDeque<Place> = VecDeque::new();
    let in_sync = Rc::new(World::in_sync(protocol).image());
    let fresh = Rc::new(World::fresh(protocol).image());
    for (image, path) in
        [(&fresh, &[][..]), (&in_sync, &[]), (&in_sync, APART), (&in_sync, WORKING)]
    {
        queue.push_back(Place { image: Rc::clone(image), path: path.to_vec() });
    }
    let end = found.moves + moves_max;
    while let Some(place) = queue.pop_front() {
        let all = place.visit().moves();
        for it in all {
            if found.moves >= end {
                return;
            }
            found.moves += 1;
            let mut world = place.visit();
            world.apply(it);
            found.decisions.extend(world.decided.take());
            if seen.insert(world.key()) {
                found.places += 1;
                queue.push_back(place.after(it, &world));
            }
        }
    }
}

/// Walks at random, from disks in sync.
fn walk(protocol: Protocol, seed: u64, found: &mut Found) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut world = World::in_sync(protocol);
    for it in [WORKING, APART, &[]][usize::try_from(seed % 3).unwrap()] {
        world.apply(*it);
    }
    for _ in 0..WALK_MOVES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let all = if random >> 62 == 0 { world.moves() } else { world.usual_moves() };
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let index = usize::try_from(random >> 33).unwrap() % all.len();
        world.apply(all[index]);
        found.moves += 1;
        found.decisions.extend(world.decided.take());
    }
}

fn everywhere(moves: usize) -> Found {
    let mut found = Found::default();
    for protocol in [Protocol::C, Protocol::A, Protocol::B] {
        explore(protocol, moves / 9, &mut found);
        for seed in 0..(moves * 2 / 9 / WALK_MOVES) as u64 {
            walk(protocol, seed, &mut found);
        }
    }
    found
}

#[test]
fn every_pair_that_is_reached_is_decided_right() {
    let found = everywhere(12_000);
    let rules = [
        "bitmap-self",
        "bitmap-both",
        "crashed-primary",
        "survivor",
        "reconnected",
        "both-off",
        "disk-state",
        "just-created-self",
    ];
    for rule in rules {
        assert!(found.decisions.contains(rule), "{rule} was not reached: {:?}", found.decisions);
    }
}

#[test]
#[ignore = "as long as REACH_MOVES says"]
fn many_more_pairs_are_decided_right() {
    let moves = MOVES.map_or(300_000, |moves| moves.parse().expect("REACH_MOVES is a number"));
    let found = everywhere(moves);
    assert!(found.places > 1_000, "{found:?}");
    assert!(found.decisions.len() > 9, "{found:?}");
}
