//! Random hunts for new stories: a short one with every test, long ones ignored by default.
//!
//! What a hunt finds is printed as the seed; `HUNT_SEED=n cargo test -p tandem-replica --test
//! stories -- hunt --include-ignored` plays that one alone. What is found becomes a story with a
//! name.

use std::ops::Range;
use std::panic::catch_unwind;
use std::time::Duration;

use tandem_replica::wire::{ByteRange, DiskState, NodeId, Protocol, ReplicationState, Role};
use tandem_replica::{Command, CommandId, ConnectionState, ConnectionStatus, RequestOp, SyncState};

use crate::pair::{CLIENT, Choice, Pair, data_writes, flushes, meta_writes, none, peer_of, reads};
use crate::stage::{VOLUME, connection, disks, start_write};

/// The only seed to play.
const ONE: Option<&str> = option_env!("HUNT_SEED");

const CHOICES: [Choice; 5] = [data_writes, meta_writes, reads, flushes, |_| true];

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }

    fn node(&mut self) -> usize {
        usize::from(self.below(2) == 1)
    }

    fn protocol(&mut self) -> Protocol {
        self.one_of(&[Protocol::A, Protocol::B, Protocol::C])
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }
}

/// Plays every seed; fails with those that failed.
fn hunt(seeds: Range<u64>, play: fn(u64)) {
    let one = ONE.map(|seed| seed.parse::<u64>().expect("HUNT_SEED is a number"));
    let seeds = one.map_or(seeds, |seed| seed..seed + 1);
    let found: Vec<u64> = seeds.filter(|seed| catch_unwind(|| play(*seed)).is_err()).collect();
    assert!(found.is_empty(), "seeds {found:?}");
}

/// Anything in any order; only panics count.
#[test]
#[ignore = "takes minutes"]
fn nothing_makes_a_node_panic() {
    hunt(1..40_000, |seed| {
        let mut random = Random::new(seed);
        let protocol = random.protocol();
        let volumes = 1 + u16::try_from(random.below(2)).unwrap();
        let mut pair = Pair::in_sync(volumes, protocol);
        for _ in 0..60 {
            anything(&mut pair, &mut random);
            pair.settle();
        }
    });
}

fn anything(pair: &mut Pair, random: &mut Random) {
    let node = random.node();
    let choice = random.one_of(&CHOICES);
    let running = pair.nodes[node].running;
    match random.below(22) {
        0..=5 => some_write(pair, node, random),
        6 => pair.cut(),
        7 | 8 => pair.linked = true,
        9 => pair.hold[node] = choice,
        10 | 11 => pair.release(node),
        12 => {
            pair.fail[node] = choice;
            pair.run(random.millis(1000));
            pair.fail[node] = none;
        }
        13 if running => pair.kill(node),
        14 if !running => pair.revive(node),
        15 if running => {
            let force = random.one_in(3);
            pair.start(node, Command::Detach { volume: VOLUME, force });
        }
        16 if running => {
            pair.start(node, Command::Attach { volume: VOLUME });
        }
        17 if running => {
            let force = random.one_in(4);
            promote_and_serve(pair, node, force);
        }
        18 if running => {
            let command = some_command(node, random);
            pair.start(node, command);
        }
        19 if running => {
            let discard = random.one_in(4);
            pair.try_connect_later(node, discard);
        }
        20 if running => {
            let op = some_request(random);
            pair.request(node, 0, op);
        }
        _ => pair.run(random.millis(3000)),
    }
}

fn some_write(pair: &mut Pair, node: usize, random: &mut Random) {
    let byte = u8::try_from(random.below(250)).unwrap();
    let at = random.below(60) * 2048;
    if pair.nodes[node].running {
        start_write(pair, node, at, byte);
    }
}

/// A client comes, whether the promotion has ended or not.
fn promote_and_serve(pair: &mut Pair, node: usize, force: bool) -> CommandId {
    let id = pair.start(node, Command::Primary { force });
    pair.run(Duration::from_millis(50));
    pair.nodes[node].resource.close_client(CLIENT, pair.now);
    let _ = pair.nodes[node].resource.open_client(CLIENT, VOLUME, pair.now);
    id
}

fn some_command(node: usize, random: &mut Random) -> Command {
    let peer: NodeId = peer_of(node);
    match random.below(5) {
        0 => Command::Secondary { force: true },
        1 => Command::Disconnect { peer, force: random.one_in(2) },
        2 => Command::Invalidate { volume: VOLUME, reset_bitmap: true },
        3 => Command::InvalidateRemote { volume: VOLUME, peer, reset_bitmap: true },
        _ => Command::Down { force: true },
    }
}

fn some_request(random: &mut Random) -> RequestOp {
    match random.below(3) {
        0 => RequestOp::Flush,
        1 => RequestOp::Read(ByteRange::new(random.below(60) * 4096, 4096)),
        _ => RequestOp::Trim { range: ByteRange::new(random.below(60) * 2048, 20_000), fua: false },
    }
}

/// Commands that must have ended when all is well again: where, which, what.
type Started = Vec<(usize, CommandId, Command)>;

/// Cuts, stalls, kills and roles only: then everything heals and must come to rest.
#[test]
fn everything_comes_to_rest() {
    hunt(1..500, come_to_rest);
}

#[test]
#[ignore = "takes minutes"]
fn everything_comes_to_rest_longer() {
    hunt(500..20_000, come_to_rest);
}

fn come_to_rest(seed: u64) {
    let mut random = Random::new(seed);
    let mut pair = Pair::in_sync(1, random.protocol());
    let mut started = Started::new();
    let mut reigns = Reigns::default();
    for _ in 0..40 {
        trouble(&mut pair, &mut started, &mut random);
        pair.settle();
        reigns.look(&pair);
    }
    mend(&mut pair);
    reigns.look(&pair);
    for (node, id, command) in started {
        assert!(pair.ended(node, id).is_some(), "{command:?} did not end on {node}");
    }
    if ONE.is_some() {
        for node in 0..2 {
            eprintln!("node {node}: {:#?}", pair.nodes[node].events);
        }
    }
    if !is_connected(&pair) {
        assert_parted_with_reason(&pair, &reigns);
        decide_for(&mut pair, random.node());
    }
    assert_at_rest(&pair);
}

/// Who was Primary without its peer since both were last the same.
#[derive(Default)]
struct Reigns {
    alone: [bool; 2],
    was_primary: [bool; 2],
}

impl Reigns {
    /// To be called after every step. A Primary may have lost its peer and its role in one.
    fn look(&mut self, pair: &Pair) {
        let told = [0, 1].map(|node| connection(pair, node));
        let same = told.iter().zip(&pair.nodes).all(|(connection, node)| {
            let replication = connection.peer_devices[0].replication;
            node.running && replication == ReplicationState::Established
        });
        if same && is_connected(pair) {
            self.alone = [false; 2];
        }
        for (node, connection) in told.iter().enumerate() {
            let is_primary = pair.nodes[node].resource.status(pair.now).role == Role::Primary;
            let reigned = is_primary || self.was_primary[node];
            self.alone[node] |= reigned && connection.state != ConnectionState::Connected;
            self.was_primary[node] = is_primary && pair.nodes[node].running;
        }
    }
}

fn trouble(pair: &mut Pair, started: &mut Started, random: &mut Random) {
    let node = random.node();
    let running = pair.nodes[node].running;
    match random.below(20) {
        0..=5 if running => some_write(pair, node, random),
        6 | 7 => pair.cut(),
        8 | 9 => pair.linked = true,
        10 => pair.hold[node] = random.one_of(&CHOICES),
        11 | 12 => pair.release(node),
        13 => pair.paused[node] ^= true,
        14 if running => {
            started.retain(|(at, _, _)| *at != node);
            pair.kill(node);
        }
        15 if !running => pair.revive(node),
        16 if running && disks(pair)[node] != DiskState::Diskless => {
            let id = promote_and_serve(pair, node, false);
            started.push((node, id, Command::Primary { force: false }));
        }
        17 if running => {
            pair.nodes[node].resource.close_client(CLIENT, pair.now);
            let command = Command::Secondary { force: true };
            started.push((node, pair.start(node, command), command));
        }
        _ => pair.run(random.millis(3000)),
    }
}

fn mend(pair: &mut Pair) {
    pair.linked = true;
    pair.paused = [false; 2];
    for node in 0..2 {
        pair.release(node);
        if !pair.nodes[node].running {
            pair.revive(node);
        }
    }
    pair.run(Duration::from_secs(200));
}

fn is_connected(pair: &Pair) -> bool {
    (0..2).all(|node| connection(pair, node).state == ConnectionState::Connected)
}

/// Nodes stay apart only where both were Primary without each other. If both wrote that is a split
/// brain. If one did, its peer may not be overwritten under its clients (`TargetIsPrimary`); if
/// none did, there is nothing to copy and one Primary too many (`TwoPrimaries`). A node that was
/// restarted behind the refusal, or lost the link before it had the peer's verdict, goes on trying,
/// and is turned away by the other one.
fn assert_parted_with_reason(pair: &Pair, reigns: &Reigns) {
    let told = [0, 1].map(|node| connection(pair, node));
    let protocol = pair.protocol;
    let why = told.each_ref().map(|connection| (connection.state, connection.reason.clone()));
    assert_eq!(reigns.alone, [true; 2], "{protocol:?}: only one was Primary alone: {why:?}");
    let named = |connection: &ConnectionStatus| {
        let reason = connection.reason.as_deref().unwrap_or_default();
        connection.state == ConnectionState::StandAlone
            && (matches!(connection.sync_state, SyncState::SplitBrain { .. })
                || reason.starts_with("cannot connect: TargetIsPrimary")
                || reason.starts_with("cannot connect: TwoPrimaries"))
    };
    let retries = |connection: &ConnectionStatus| connection.state == ConnectionState::Connecting;
    assert!(told.iter().any(named), "{protocol:?}: {why:?}");
    assert!(told.iter().all(|told| named(told) || retries(told)), "{protocol:?}: {why:?}");
}

/// The operator makes both Secondary and connects them; in a split brain `loser` loses its changes.
fn decide_for(pair: &mut Pair, loser: usize) {
    for node in 0..2 {
        pair.nodes[node].resource.close_client(CLIENT, pair.now);
        if pair.nodes[node].resource.status(pair.now).role == Role::Primary {
            pair.command(node, Command::Secondary { force: false }).expect("nobody uses it");
        }
    }
    // Behind a refusal both may have written, so that a split brain is seen only now.
    for _ in 0..2 {
        let is_split = (0..2).any(|node| connection(pair, node).sync_state != SyncState::Normal);
        for node in [loser, 1 - loser] {
            pair.try_connect(node, is_split && node == loser).expect("it is apart");
        }
        pair.run(Duration::from_secs(200));
    }
}

/// Connected and the same.
fn assert_at_rest(pair: &Pair) {
    let protocol = pair.protocol;
    for node in 0..2 {
        let connection = connection(pair, node);
        let (state, why) = (connection.state, connection.reason);
        assert_eq!(state, ConnectionState::Connected, "{protocol:?} on {node}: {why:?}");
        let device = &connection.peer_devices[0];
        let replication = (device.replication, device.out_of_sync_bytes);
        assert_eq!(replication, (ReplicationState::Established, 0), "{protocol:?} on {node}");
        let open = pair.nodes[node].resource.status(pair.now).volumes[0].upper_pending;
        assert_eq!(open, 0, "{protocol:?}: requests open on {node}");
    }
    assert!(pair.identical(), "{protocol:?}: different");
    assert_eq!(disks(pair), [DiskState::UpToDate; 2], "{protocol:?}");
}
