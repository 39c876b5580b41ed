//! A node goes on without its peer only once that one is known to be out of the way.

use std::time::Duration;

use tandem_replica::meta::{self, CopyIndex, Placement, Superblock};
use tandem_replica::wire::{Change, DiskState, Packet, Protocol, Role};
use tandem_replica::{Command, CommandError, ConnectionState, Cookie, Fencing, Handler};

use crate::pair::{CLIENT, DEVICE_BYTES, Pair, flushes, meta_writes, none, peer_of};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, disks, short, start_write, swap_roles,
};

const OUTDATE: Command = Command::Outdate { volume: VOLUME };

fn set_fencing(pair: &mut Pair, fencing: Fencing) {
    for node in 0..2 {
        let mut peer = pair.nodes[node].resource.config().peers[0].clone();
        peer.net.fencing = fencing;
        pair.nodes[node].resource.update_peer(peer, pair.now);
    }
}

fn in_sync(fencing: Fencing) -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    set_fencing(&mut pair, fencing);
    pair
}

/// Time after which a lost peer is fenced.
fn grace(pair: &mut Pair) {
    pair.run(Duration::from_secs(1));
}

/// The only handler that waits for an answer ends.
fn answer(pair: &mut Pair, node: usize, exit_code: Option<i32>) {
    let call = pair.nodes[node].calls.pop().expect("a handler runs");
    pair.nodes[node].resource.handle_called(call, exit_code, pair.now);
    short(pair);
}

fn is_frozen(pair: &Pair, node: usize) -> bool {
    pair.nodes[node].resource.status(pair.now).suspended.fencing
}

fn write_now(pair: &mut Pair, byte: u8) -> Cookie {
    let cookie = start_write(pair, 0, 0, byte);
    short(pair);
    cookie
}

fn generation(pair: &Pair, node: usize) -> Superblock {
    let offsets = meta::superblock_offsets(DEVICE_BYTES as u64, Placement::Internal).unwrap();
    let at = usize::try_from(offsets[0]).unwrap();
    let block = &pair.nodes[node].devices[0][at..at + meta::META_BLOCK_BYTES];
    Superblock::decode(block, CopyIndex::A).unwrap()
}

/// 1. The link is lost under a Primary with resource-and-stonith.
/// 2. Writes wait, no new generation is made, the handler is called once.
/// 3. It says that the peer is Outdated: a new generation is made, then the writes are answered.
#[test]
fn io_is_frozen_until_the_peer_is_out_of_the_way() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.hang = true;
    let first = write_now(&mut pair, 1);
    pair.cut();
    let second = write_now(&mut pair, 2);
    let before = generation(&pair, 0).current_uuid;
    grace(&mut pair);
    assert!(is_frozen(&pair, 0));
    assert_eq!(pair.nodes[0].called, [Handler::FencePeer]);
    assert_eq!(pair.reply(0, first), None);
    assert_eq!(generation(&pair, 0).current_uuid, before, "a generation while frozen");
    answer(&mut pair, 0, Some(4));
    assert!(!is_frozen(&pair, 0));
    assert!(pair.reply(0, first).unwrap().is_ok() && pair.reply(0, second).unwrap().is_ok());
    assert_ne!(generation(&pair, 0).current_uuid, before);
}

/// A link that comes back at once, as when a peer attaches a disk, shoots nobody.
#[test]
fn a_peer_that_is_back_at_once_is_not_fenced() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    let write = write_now(&mut pair, 1);
    assert_eq!(pair.reply(0, write), None);
    pair.heal();
    pair.run(Duration::from_secs(5));
    assert!(pair.reply(0, write).unwrap().is_ok());
    assert!(!pair.nodes[0].called.contains(&Handler::FencePeer));
    assert_in_sync(&pair);
}

/// resource-only fences as well, and does not wait.
#[test]
fn resource_only_freezes_nothing() {
    let mut pair = in_sync(Fencing::ResourceOnly);
    pair.cut();
    let write = write_now(&mut pair, 1);
    assert!(pair.reply(0, write).unwrap().is_ok());
    grace(&mut pair);
    assert_eq!(pair.nodes[0].called, [Handler::FencePeer]);
    answer(&mut pair, 0, Some(1));
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.nodes[0].called, [Handler::FencePeer], "not again");
}

/// 1. The handler fails: nothing goes on, and it is called again after a while.
/// 2. Another code than DRBD's is no answer either, nor is none at all.
/// 3. resume-io goes on without one.
#[test]
fn a_failed_fence_is_tried_again_until_the_operator_decides() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    let write = write_now(&mut pair, 1);
    grace(&mut pair);
    for exit_code in [Some(1), Some(0), None, Some(6)] {
        answer(&mut pair, 0, exit_code);
        assert!(is_frozen(&pair, 0), "{exit_code:?}");
        let reason = connection(&pair, 0).reason.unwrap();
        assert!(reason.contains("frozen") && reason.contains("resume-io"), "{reason}");
        pair.run(Duration::from_secs(31));
    }
    assert_eq!(pair.nodes[0].called.len(), 5);
    assert_eq!(pair.reply(0, write), None);
    pair.command(0, Command::ResumeIo).unwrap();
    short(&mut pair);
    assert!(!is_frozen(&pair, 0) && pair.reply(0, write).unwrap().is_ok());
}

/// 1. The handler is called; before it ends the link is back, and lost again.
/// 2. Its answer is about a peer of before: it does not count.
#[test]
fn an_answer_of_before_the_last_session_does_not_count() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    grace(&mut pair);
    pair.heal();
    pair.run(Duration::from_secs(15));
    assert!(!is_frozen(&pair, 0));
    pair.cut();
    let late = pair.nodes[0].calls.pop().unwrap();
    pair.nodes[0].resource.handle_called(late, Some(4), pair.now);
    short(&mut pair);
    assert!(is_frozen(&pair, 0), "an old answer has fenced nobody");
}

/// A Secondary that is told to go on alone sees to its peer first, and is refused without success.
#[test]
fn a_promotion_fences_first() {
    for (exit_code, is_promoted) in
        [(Some(7), true), (Some(5), true), (Some(1), false), (None, false), (Some(6), false)]
    {
        let mut pair = in_sync(Fencing::ResourceAndStonith);
        pair.kill(0);
        grace(&mut pair);
        assert!(pair.nodes[1].called.is_empty(), "a Secondary fences nobody");
        let id = pair.start(1, Command::Primary { force: false });
        pair.run(Duration::from_secs(5));
        answer(&mut pair, 1, exit_code);
        let result = pair.ended(1, id).unwrap();
        assert_eq!(result.is_ok(), is_promoted, "{exit_code:?}: {result:?}");
        let outdated = exit_code == Some(6);
        let expected = if outdated { DiskState::Outdated } else { DiskState::UpToDate };
        assert_eq!(disks(&pair)[1], expected);
        match result {
            Ok(()) => assert!(!is_frozen(&pair, 1)),
            Err(CommandError::PeerIsPrimary { .. }) => assert!(outdated),
            Err(error) => assert!(matches!(error, CommandError::NotFenced { .. }), "{error}"),
        }
    }
}

/// Consistent data may be the older ones, whoever is shot: no promotion, and no fence.
#[test]
fn who_does_not_know_its_data_to_be_good_fences_nobody() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.kill(0);
    pair.kill(1);
    restart_alone(&mut pair, 1);
    let refused = pair.command(1, Command::Primary { force: false });
    assert!(matches!(refused, Err(CommandError::NeedUpToDate { .. })), "{refused:?}");
    assert!(pair.nodes[1].called.is_empty());
}

/// Starts a killed node with the same policy and attaches its disk; it does not connect.
fn restart_alone(pair: &mut Pair, node: usize) {
    pair.new_process(node);
    let mut peer = pair.nodes[node].resource.config().peers[0].clone();
    peer.net.fencing = Fencing::ResourceAndStonith;
    pair.nodes[node].resource.update_peer(peer, pair.now);
    pair.attach(node);
}

/// Who has put its peer out of the way is UpToDate when it restarts, before it ever wrote.
#[test]
fn a_fence_outlives_the_process() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    grace(&mut pair);
    answer(&mut pair, 0, Some(7));
    pair.kill(0);
    restart_alone(&mut pair, 0);
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
    pair.command(0, Command::Primary { force: false }).unwrap();
    assert!(!is_frozen(&pair, 0));
    assert_eq!(pair.nodes[0].called, [Handler::FencePeer], "no second one");
}

/// 1. The peer was fenced, and told apart by that. It meets this node again.
/// 2. They part at the very verdicts, and this node restarts: it has the newer data, and fences
///    anew.
#[test]
fn a_fence_is_forgotten_before_the_peer_can_be_good_again() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    grace(&mut pair);
    pair.command(1, OUTDATE).unwrap();
    answer(&mut pair, 0, Some(4));
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Outdated]);
    pair.cut_at = Some((1, |packet| matches!(packet, Packet::Verdict(..))));
    pair.linked = true;
    pair.run(Duration::from_secs(5));
    assert!(is_frozen(&pair, 0), "the peer may be UpToDate by this node's verdict");
    pair.kill(0);
    restart_alone(&mut pair, 0);
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
    let before = pair.nodes[0].called.len();
    pair.start(0, Command::Primary { force: false });
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.nodes[0].called[before..], [Handler::FencePeer]);
}

/// 1. The peer was fenced, and nothing was written since. The Primary's disk is given up.
/// 2. The peer is back: it has what was fenced, and does not serve in that disk's place.
/// 3. The Primary is started anew and finds its disk: nobody has gone on without it.
#[test]
fn a_fenced_peer_does_not_serve_for_a_disk_that_is_gone() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    grace(&mut pair);
    answer(&mut pair, 0, Some(7));
    short(&mut pair);
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.heal();
    assert_eq!(connection(&pair, 0).state, ConnectionState::StandAlone);
    pair.kill(0);
    restart_alone(&mut pair, 0);
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
}

/// 1. The peer was fenced, and is about to meet this node, which takes that back on disk.
/// 2. The disk is given up before that is durable, and attached again.
/// 3. The disk counts its metadata writes anew; nobody waits for one of before.
#[test]
fn a_fence_is_forgotten_on_the_disk_that_is_there() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    grace(&mut pair);
    answer(&mut pair, 0, Some(4));
    for number in 0..20 {
        start_write(&mut pair, 0, number << 12, 1);
        short(&mut pair);
    }
    pair.hold[0] = meta_writes;
    pair.linked = true;
    pair.run(Duration::from_secs(3));
    pair.cut();
    let detached = pair.start(0, Command::Detach { volume: VOLUME, force: true });
    short(&mut pair);
    pair.release(0);
    pair.hold[0] = none;
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ended(0, detached), Some(Ok(())));
    pair.command(0, Command::Attach { volume: VOLUME }).unwrap();
    pair.linked = true;
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.command(0, Command::Secondary { force: true }).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

/// 1. The peer is shot and back at once: it has been told the generation when the handler ends.
/// 2. The peer is told apart by a new one, which waits for a slow flush: the handshake begins anew
///    behind it, and all is copied.
/// 3. Both have the same one. They part, and find each other again.
#[test]
fn a_fence_that_is_settled_in_a_handshake_starts_it_anew() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.write(0, 0, &[1; 4096]);
    pair.cut();
    grace(&mut pair);
    pair.paused = [true, false];
    pair.linked = true;
    pair.run(Duration::from_secs(3));
    pair.hold[0] = flushes;
    answer(&mut pair, 0, Some(7));
    pair.paused = [false; 2];
    grace(&mut pair);
    pair.release(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(generation(&pair, 0).current_uuid, generation(&pair, 1).current_uuid);
    pair.cut();
    pair.heal();
    assert_in_sync(&pair);
}

/// Outdated for good, not for a Primary, not while connected, and not what is worse anyway.
#[test]
fn outdate_is_durable_and_has_its_limits() {
    let mut pair = in_sync(Fencing::DontCare);
    assert_eq!(pair.command(0, OUTDATE), Err(CommandError::OutdatePrimary));
    let connected = pair.command(1, OUTDATE);
    assert!(matches!(connected, Err(CommandError::Refused(_))), "{connected:?}");
    pair.cut();
    pair.command(1, OUTDATE).unwrap();
    pair.command(1, OUTDATE).unwrap();
    pair.kill(1);
    pair.linked = false;
    pair.new_process(1);
    pair.attach(1);
    assert_eq!(disks(&pair)[1], DiskState::Outdated);
    let refused = pair.command(1, Command::Primary { force: false });
    assert!(matches!(refused, Err(CommandError::NeedUpToDate { .. })), "{refused:?}");
    pair.linked = true;
    pair.connect();
    assert_in_sync(&pair);
    pair.cut();
    pair.try_connect(1, false).unwrap();
    pair.command(1, Command::Disconnect { peer: peer_of(1), force: true }).unwrap();
    pair.command(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    let low = pair.command(1, OUTDATE);
    assert!(matches!(low, Err(CommandError::BelowOutdated { .. })), "{low:?}");
}

/// A link that hangs does not keep a peer from being outdated.
#[test]
fn outdate_does_not_trust_a_link_that_hangs() {
    let mut pair = in_sync(Fencing::DontCare);
    pair.paused = [true, true];
    pair.command(1, OUTDATE).unwrap();
    assert_eq!(disks(&pair)[1], DiskState::Outdated);
}

fn tells_outdated(packet: &Packet) -> bool {
    matches!(packet, Packet::State(_, state) if state.disk == DiskState::Outdated)
}

/// Who leaves in good order is Outdated, and the Primary knows: nobody is fenced. Where the word is
/// lost, it is.
#[test]
fn who_leaves_in_good_order_needs_no_fence() {
    for word_is_lost in [false, true] {
        let mut pair = in_sync(Fencing::ResourceAndStonith);
        if word_is_lost {
            pair.cut_at = Some((1, tells_outdated));
        }
        pair.command(1, Command::Disconnect { peer: peer_of(1), force: false }).unwrap();
        assert_eq!(disks(&pair)[1], DiskState::Outdated);
        grace(&mut pair);
        assert_eq!(is_frozen(&pair, 0), word_is_lost);
        assert_eq!(pair.nodes[0].called.is_empty(), !word_is_lost);
    }
}

/// 1. A Secondary is told to become Primary; its peer is lost while votes are out.
/// 2. The peer fences it: it is outdated, and not promoted.
#[test]
fn a_promotion_does_not_outlive_being_outdated() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.cut();
    grace(&mut pair);
    let id = pair.start(1, Command::Primary { force: false });
    short(&mut pair);
    pair.command(1, OUTDATE).unwrap();
    answer(&mut pair, 0, Some(4));
    answer(&mut pair, 1, Some(7));
    let result = pair.ended(1, id).unwrap();
    assert!(matches!(result, Err(CommandError::NeedUpToDate { .. })), "{result:?}");
}

/// A Primary whose peer is lost in the middle of its promotion freezes at once.
#[test]
fn a_peer_lost_while_it_votes_is_fenced() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    demote(&mut pair, 0);
    let asks = |packet: &Packet| matches!(packet, Packet::Prepare { change: Change::Promote, .. });
    pair.cut_at = Some((1, asks));
    let id = pair.start(1, Command::Primary { force: false });
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.ended(1, id), None, "the fence has no answer yet");
    answer(&mut pair, 1, Some(4));
    assert_eq!(pair.ended(1, id), Some(Ok(())));
}

/// A frozen Primary can be demoted; that makes no generation either.
#[test]
fn a_frozen_primary_steps_back() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.hang = true;
    write_now(&mut pair, 1);
    pair.cut();
    let before = generation(&pair, 0).current_uuid;
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.command(0, Command::Secondary { force: true }).unwrap();
    assert_eq!(pair.nodes[0].resource.role(), Role::Secondary);
    assert_eq!(generation(&pair, 0).current_uuid, before);
    pair.hang = false;
    promote_by_fence(&mut pair, 1);
    pair.linked = true;
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

fn promote_by_fence(pair: &mut Pair, node: usize) {
    let id = pair.start(node, Command::Primary { force: false });
    pair.run(Duration::from_secs(3));
    answer(pair, node, Some(4));
    assert_eq!(pair.ended(node, id), Some(Ok(())));
}

/// When the peer is in sync again, what was done to it can be taken back; once.
#[test]
fn a_peer_in_sync_is_unfenced() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    swap_roles(&mut pair);
    pair.cut();
    grace(&mut pair);
    answer(&mut pair, 1, Some(4));
    start_write(&mut pair, 1, 0, 7);
    pair.heal();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    let unfenced = pair.nodes[1].called.iter().filter(|it| **it == Handler::UnfencePeer);
    assert_eq!(unfenced.count(), 1);
}

/// `--force` goes on where the fence fails, and says what that may mean.
#[test]
fn force_goes_on_without_a_fence() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.kill(0);
    let id = pair.start(1, Command::Primary { force: true });
    pair.run(Duration::from_secs(3));
    answer(&mut pair, 1, Some(1));
    assert_eq!(pair.ended(1, id), Some(Ok(())));
    assert!(!is_frozen(&pair, 1));
    assert!(pair.nodes[1].events.iter().any(|text| text.contains("split brain")));
}

/// The fence is settled while I/O is suspended, which makes no generation: it is made when I/O goes
/// on.
#[test]
fn a_peer_fenced_in_a_suspension_is_told_apart_behind_it() {
    let mut pair = in_sync(Fencing::ResourceAndStonith);
    pair.command(0, Command::SuspendIo).unwrap();
    pair.cut();
    grace(&mut pair);
    answer(&mut pair, 0, Some(4));
    pair.command(0, Command::ResumeIo).unwrap();
    short(&mut pair);
    pair.kill(0);
    restart_alone(&mut pair, 0);
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
}
