//! What must hold when a node's states change: INV-6, INV-9, INV-10, INV-11.
//!
//! Called with the states before and after; keeps the model's knowledge of who is a target, who may
//! have a generation of its own, and who follows the Primary.

use tandem_replica::{ConnectionState, SyncState};
use tandem_wire::{DiskState, Protocol, ReplicationState, Role, RoleConflict};

use super::policies::{Loss, may_lose};
use super::{Violation, floors};
use crate::model::{Discard, Model};
use crate::node::node_id;
use crate::stamp::Content;
use crate::view::View;

/// Node `node` went from `before` to `after` while its `peer` was as it says; `contents` tells what
/// a node's image of a volume shows. Where both nodes are not `linked`, by one link, the other one
/// has lost it already.
///
/// # Errors
/// The invariant that the change breaks.
pub fn check<'a>(
    model: &mut Model,
    node: usize,
    before: &View,
    after: &View,
    peer: &View,
    linked: bool,
    contents: impl Fn(usize, usize) -> &'a [Content],
) -> Result<(), Violation> {
    split_brain(model, before, after)?;
    if (0..after.volumes.len()).any(|volume| turns_target(before, after, volume)) {
        release_by_policy(model, node, after.role, peer.role);
    }
    if after.is_connected() && !before.is_connected() {
        // What has no disk is given up when it has one again.
        for (volume, state) in model.volumes.iter_mut().zip(&after.volumes) {
            let discards = &mut volume.nodes[node].discards;
            if *discards == Discard::Asked && state.disk >= DiskState::Inconsistent {
                *discards = Discard::No;
            }
        }
    }
    for volume in 0..after.volumes.len() {
        notes(model, node, volume, before, after, contents(node, volume));
        let is = after.volumes[volume].replication;
        if turns_target(before, after, volume) {
            let has_disk = |of: usize, volume: usize| {
                let view = if of == node { after } else { peer };
                view.volumes[volume].disk >= DiskState::Inconsistent
            };
            direction(model, node, volume, has_disk, contents(1 - node, volume))?;
            let discards = &mut model.volumes[volume].nodes[node].discards;
            if *discards == Discard::Asked {
                *discards = Discard::Begun;
            }
        }
        if after.is_target(volume) && !before.is_target(volume) {
            let source = model.volumes[volume].nodes[1 - node].volatile.clone();
            model.volumes[volume].nodes[1 - node].hands_over = true;
            model.volumes[volume].nodes[node].begin_target(&source);
            // What the source wrote apart this node gets; before that it is good for nothing.
            model.volumes[volume].nodes[1 - node].forked = false;
            model.volumes[volume].nodes[1 - node].founded = false;
        }
        let gone = after.volumes[volume].disk < DiskState::Outdated;
        // What the last Primary wrote alone is lost with its disk, on this volume of several.
        let unmet = after.is_connected()
            && after.volumes[volume].peer_disk < DiskState::Inconsistent
            && after.peer_role != Role::Primary;
        if gone || unmet || (is != ReplicationState::Established && is != ReplicationState::Off) {
            model.volumes[volume].nodes[node].follows = false;
        }
        if before.is_source(volume) && is == ReplicationState::Established {
            model.volumes[volume].source_done(node, model.protocol);
        }
        // Not before it is connected: a volume is ready on this node before it is on the other.
        let good = |view: &View| {
            view.is_established(volume) && view.volumes[volume].disk == DiskState::UpToDate
        };
        // A node that was refused to leave has been there all the time.
        let left = before.connection != ConnectionState::Disconnecting;
        if good(after) && !good(before) && left {
            equal(model, node, volume, after, linked, contents(node, volume))?;
        }
    }
    Ok(())
}

/// Who may have written apart, and what a disk that is gone takes along.
fn notes(
    model: &mut Model,
    node: usize,
    volume: usize,
    before: &View,
    after: &View,
    contents: &[Content],
) {
    // One that is Ahead tells its peer where it writes, not what.
    let alone = !after.is_connected()
        || after.volumes[volume].peer_disk < DiskState::Inconsistent
        || after.volumes[volume].replication == ReplicationState::Ahead;
    if after.role == Role::Primary && alone {
        model.volumes[volume].nodes[node].may_have_forked = true;
    }
    let own_is_gone = after.volumes[volume].disk < DiskState::Inconsistent;
    if after.role == Role::Primary && !alone && own_is_gone {
        // The peer gets what the disk here lacks.
        model.volumes[volume].nodes[1 - node].may_have_forked = true;
    }
    // The same as the peer sees it: it may be connected before the Primary is.
    let serves = after.is_connected() && after.peer_role == Role::Primary;
    if serves && after.volumes[volume].peer_disk < DiskState::Inconsistent && !own_is_gone {
        model.volumes[volume].nodes[node].may_have_forked = true;
    }
    if own_is_gone && before.volumes[volume].disk >= DiskState::Inconsistent {
        disk_lost(model, node, volume, after, contents);
    }
    let parts = before.is_connected() && !after.is_connected();
    if parts && after.role == Role::Primary && after.volumes[volume].disk < DiskState::UpToDate {
        // Reads have shown what its disk had of writes that may not have reached the peer.
        model.forget_unanswered(volume, node);
    }
    let had_gone = before.volumes[volume].disk < DiskState::Inconsistent
        || (own_is_gone && after.role == Role::Primary);
    if model.protocol == Protocol::A && before.role == Role::Primary && had_gone && parts {
        // What it has answered it has from its peer, as far as the link has carried it: its own
        // disk, which may have more, is left behind.
        model.volumes[volume].nodes[node].failed_over = true;
    }
}

/// Whether the node has just been told that it is, or will be, the target.
fn turns_target(before: &View, after: &View, volume: usize) -> bool {
    let is_or_will_be = |view: &View| {
        view.is_target(volume) || view.volumes[volume].replication == ReplicationState::WFBitMapT
    };
    is_or_will_be(after) && !is_or_will_be(before)
}

/// INV-11: only nodes that may both have written apart may report a split brain, and data are
/// unrelated only where a new disk was declared the newest data.
fn split_brain(model: &Model, before: &View, after: &View) -> Result<(), Violation> {
    let broken = |text: &str| Err(Violation::new("INV-11 split brain", text));
    match after.sync {
        SyncState::SplitBrain { .. } if !before.is_split() => {
            let possible = (model.volumes.iter())
                .any(|volume| volume.nodes.iter().all(|node| node.may_have_forked));
            if possible { Ok(()) } else { broken("reported, though only one node wrote apart") }
        }
        // Where they agree on a new disk, one of them may do so later.
        SyncState::Unrelated if before.is_unrelated() || model.has_founded() => Ok(()),
        SyncState::Unrelated => broken("data with a common history are called unrelated"),
        SyncState::SplitBrain { .. } | SyncState::Normal => Ok(()),
    }
}

/// A node becomes target: what the policies let it lose it does not owe, in any volume.
fn release_by_policy(model: &mut Model, node: usize, role: Role, peer_role: Role) {
    let is_split =
        model.volumes.iter().any(|volume| volume.nodes.iter().all(|node| node.may_have_forked));
    let loss = Loss {
        loser: node_id(node),
        roles: [role, peer_role],
        replied: model.volumes.iter().any(|volume| volume.nodes[node].forked),
    };
    let by_split = is_split && may_lose(&model.policies, loss);
    // Equal generations: the end of the session that the Primary took part in is given up.
    let by_role = model.policies.rr_conflict == RoleConflict::AutoDiscard
        && role != Role::Primary
        && peer_role == Role::Primary
        && !is_split;
    if by_split || by_role {
        for volume in &mut model.volumes {
            volume.nodes[node].released = true;
        }
        if model.tenure.node == Some(node) {
            model.begin_order();
        }
    }
}

/// A disk was given up. In B what was received and not written is lost with it, as with a process
/// (P2); and in flight it may be where the disk hangs.
fn disk_lost(model: &mut Model, node: usize, volume: usize, after: &View, contents: &[Content]) {
    let protocol = model.protocol;
    let owes = &mut model.volumes[volume].nodes[node];
    let failed = after.volumes[volume].disk == DiskState::Failed;
    owes.failed |= failed;
    if after.role == Role::Primary {
        // What reads have shown of writes that nobody has answered may be nowhere else.
        owes.read.fill(0);
    }
    if protocol == Protocol::B && after.role != Role::Primary {
        owes.lose_memory(contents);
        owes.crashed |= failed;
    }
}

/// INV-9, INV-11: the source has all that the target owes.
fn direction(
    model: &Model,
    node: usize,
    volume: usize,
    has_disk: impl Fn(usize, usize) -> bool,
    source: &[Content],
) -> Result<(), Violation> {
    let nodes = &model.volumes[volume].nodes;
    let (target, giver) = (&nodes[node], &nodes[1 - node]);
    if target.released || target.discards != Discard::No {
        return Ok(());
    }
    // Writes of all volumes have one order: whoever wrote one of them has a history of its own.
    // What is on a disk that is away shows when that is attached again, and what the peer has no
    // disk for is compared with nothing.
    let forked = |node: usize| {
        let mut volumes = model.volumes.iter().enumerate();
        volumes.any(|(at, of)| {
            let owes = &of.nodes[node];
            let is_compared = at == volume || (has_disk(0, at) && has_disk(1, at));
            owes.forked && !owes.released && owes.discards == Discard::No && is_compared
        })
    };
    if forked(0) && forked(1) {
        let text = format!("volume {volume}: node {node} becomes target, both wrote apart");
        return Err(Violation::new("INV-11 split brain", text));
    }
    if target.failed_over {
        return Ok(());
    }
    // In A a crashed Primary is the source also where it lost power, and with it what was not
    // flushed: then only flushed writes are promised.
    // In B a killed Secondary cannot tell whether it had written all it received: no survivor (rule
    // 1). So with disks that were both given up: what one had received counted as replicated.
    let flushed_only = match model.protocol {
        Protocol::A => giver.crashed,
        Protocol::B => (giver.crashed || giver.failed) && (target.crashed || target.failed),
        Protocol::C => false,
    };
    let owed = if flushed_only { &target.stable } else { &target.volatile };
    let whose = format!("node {node} becomes target; what it owes is not all on its source");
    floors::check(model, "INV-9 direction", volume, source, owed, &whose)
}

/// INV-6, INV-10: a node that is established and up to date has all that the other one owes.
fn equal(
    model: &mut Model,
    node: usize,
    volume: usize,
    after: &View,
    linked: bool,
    contents: &[Content],
) -> Result<(), Violation> {
    // The Primary is what its peer must equal: its peer's own transition proves that.
    if after.role == Role::Primary && !model.volumes[volume].nodes[node].target {
        return Ok(());
    }
    let nodes = &model.volumes[volume].nodes;
    // In A and B replies do not wait for this node's disk, and in C not since the link was lost
    // there: what counts is what was owed at the start.
    let floor = if model.protocol == Protocol::C && linked {
        &nodes[1 - node].volatile
    } else if nodes[node].target {
        &nodes[node].target_floor
    } else {
        &nodes[node].volatile
    };
    // In B a node that was no target may still be writing what it owes.
    let written = model.protocol != Protocol::B || nodes[node].target;
    if !nodes[1 - node].target && written {
        let whose = format!("node {node}, established and up to date");
        floors::check(model, "INV-10 resync", volume, contents, floor, &whose)?;
    }
    let protocol = model.protocol;
    let peer_has_disk = after.volumes[volume].peer_disk >= DiskState::Inconsistent;
    model.volumes[volume].became_equal(node, contents, protocol, linked, peer_has_disk);
    let tenure = &model.tenure;
    model.volumes[volume].nodes[node].follows = tenure.node == Some(1 - node) && !tenure.over;
    Ok(())
}
