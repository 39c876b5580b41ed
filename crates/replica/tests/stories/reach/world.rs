//! The two nodes, the model of what they owe, and what is checked after each move.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tandem_replica::decision::{self, Decision, Side};
use tandem_replica::meta::{self, CopyIndex, Placement, Superblock};
use tandem_replica::wire::{
    DiskState, NodeId, Packet, Protocol, ReplicationState, Role, Uuid, Verdict,
};
use tandem_replica::{Command, ConnectionState, Initial, RequestOp, ResourceStatus};

use super::model::{BLOCKS, Floor, Owes, missing};
use super::moves::Move;
use super::table;
use crate::pair::{CLIENT, DEVICE_BYTES, Pair};
use crate::stage::{VOLUME, demote};

const OFFSETS: [usize; BLOCKS] = [0, 64 << 10];
const PAGE: usize = 4096;

/// Both nodes down: what their disks hold.
pub(super) struct Image {
    protocol: Protocol,
    disks: [BTreeMap<usize, Bytes>; 2],
    flushed: [Vec<u8>; 2],
    boot_ids: [[u8; 16]; 2],
    sessions: u64,
    linked: bool,
    owes: [Owes; 2],
    writes: u32,
    met: bool,
    path: Vec<Move>,
}

/// Two nodes somewhere on the way.
pub(super) struct World {
    pub(super) pair: Pair,
    owes: [Owes; 2],
    writes: u32,
    /// Both have held the same data.
    met: bool,
    /// The rule of the last decision, once.
    pub(super) decided: Option<String>,
    /// What was done, for the failure's text.
    path: Vec<Move>,
}

impl World {
    /// Fresh metadata on both nodes.
    pub(super) fn fresh(protocol: Protocol) -> Self {
        let mut pair = Pair::new(1, protocol);
        pair.kill(0);
        pair.kill(1);
        Self::of(pair)
    }

    /// Both nodes stopped in good order, in sync.
    pub(super) fn in_sync(protocol: Protocol) -> Self {
        let mut pair = Pair::in_sync(1, protocol);
        demote(&mut pair, 0);
        for node in 0..2 {
            pair.command(node, Command::Down { force: false }).unwrap();
            pair.kill(node);
        }
        Self { met: true, ..Self::of(pair) }
    }

    fn of(pair: Pair) -> Self {
        let owes = [Owes::default(); 2];
        Self { pair, owes, writes: 0, met: false, decided: None, path: Vec::new() }
    }

    pub(super) fn restore(image: &Image) -> Self {
        let mut world = Self::fresh(image.protocol);
        let pair = &mut world.pair;
        (pair.sessions, pair.linked) = (image.sessions, image.linked);
        for (index, node) in pair.nodes.iter_mut().enumerate() {
            node.devices[0] = vec![0; DEVICE_BYTES];
            for (page, bytes) in &image.disks[index] {
                node.devices[0][page * PAGE..(page + 1) * PAGE].copy_from_slice(bytes);
            }
            node.flushed.clone_from(&image.flushed[index]);
            node.boot_id = image.boot_ids[index];
        }
        (world.owes, world.writes) = (image.owes, image.writes);
        (world.met, world.path) = (image.met, image.path.clone());
        world
    }

    pub(super) fn image(&self) -> Image {
        assert!(self.is_down());
        let disk = |node: usize| {
            let pages = self.pair.nodes[node].devices[0].chunks_exact(PAGE).enumerate();
            let used = pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
            used.map(|(index, page)| (index, Bytes::copy_from_slice(page))).collect()
        };
        Image {
            protocol: self.pair.protocol,
            disks: [disk(0), disk(1)],
            flushed: [0, 1].map(|node| self.pair.nodes[node].flushed.clone()),
            boot_ids: [0, 1].map(|node| self.pair.nodes[node].boot_id),
            sessions: self.pair.sessions,
            linked: self.pair.linked,
            owes: self.owes,
            writes: self.writes,
            met: self.met,
            path: self.path.clone(),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.pair.nodes.iter().all(|node| !node.running)
    }

    pub(super) fn status(&self, node: usize) -> ResourceStatus {
        self.pair.nodes[node].resource.status(self.pair.now)
    }

    pub(super) fn shows_the_same(&self) -> bool {
        self.shown(0) == self.shown(1)
    }

    /// What a node's blocks show.
    fn shown(&self, node: usize) -> Floor {
        OFFSETS.map(|at| {
            u32::from_le_bytes(*self.pair.nodes[node].devices[0][at..].first_chunk().unwrap())
        })
    }

    fn is_connected(&self, node: usize) -> bool {
        self.pair.nodes[node].running
            && self.status(node).connections[0].state == ConnectionState::Connected
    }

    /// Every write of this node goes to an up-to-date peer.
    fn is_mirrored(&self, node: usize) -> bool {
        let status = self.status(node);
        let device = &status.connections[0].peer_devices[0];
        self.is_connected(node)
            && device.replication == ReplicationState::Established
            && device.peer_disk == DiskState::UpToDate
    }

    /// Does it, and checks what came of it.
    pub(super) fn apply(&mut self, it: Move) {
        self.path.push(it);
        let before = [0, 1].map(|node| self.shown(node));
        self.pair.handshake.clear();
        self.carry_out(it);
        self.pair.run(Duration::from_secs(25));
        self.check_decision(before);
        for node in 0..2 {
            self.check_node(node);
        }
        self.check_agreement();
    }

    fn carry_out(&mut self, it: Move) {
        match it {
            Move::Start(node) => self.pair.revive(node),
            Move::Promote(node) => self.promote(node, false),
            Move::Force(node) => self.promote(node, true),
            Move::Equal(node) => {
                let initial = Some(Initial::Equal);
                if self.pair.command(node, Command::NewUuid { volume: VOLUME, initial }).is_ok() {
                    self.declared(node);
                }
            }
            Move::Renew(node) => {
                let initial = None;
                let done = self.pair.command(node, Command::NewUuid { volume: VOLUME, initial });
                self.owes[node].may_have_forked |= done.is_ok();
                self.owes[1 - node].failed_over |= done.is_ok();
            }
            Move::Demote(node) => {
                self.pair.nodes[node].resource.close_client(CLIENT, self.pair.now);
                self.pair.start(node, Command::Secondary { force: false });
            }
            Move::Write(node, block) => self.write(node, block),
            Move::WriteUnseen(node) => {
                self.pair.paused[1 - node] = true;
                self.write(node, 0);
                self.pair.cut();
                self.pair.paused[1 - node] = false;
            }
            Move::DieWriting(node, power) => {
                self.pair.paused[1 - node] = true;
                self.write(node, 1);
                self.die(node, power);
                self.pair.paused[1 - node] = false;
            }
            Move::Flush(node) => self.flush(node),
            Move::Cut => self.pair.cut(),
            Move::Heal => self.pair.linked = true,
            Move::HealUntil(node, point) => {
                self.pair.cut_at = Some((node, point.packet()));
                self.pair.linked = true;
                self.pair.run(Duration::from_secs(25));
                self.pair.cut_at = None;
            }
            Move::Leave(node) => {
                let peer = NodeId(1 - u8::try_from(node).unwrap());
                self.pair.start(node, Command::Disconnect { peer, force: false });
            }
            Move::Discard(node) => {
                self.owes[node].released = true;
                self.pair.try_connect_later(node, true);
            }
            Move::Connect(node) => {
                self.pair.try_connect_later(node, false);
            }
            Move::Invalidate(node) => {
                let reset_bitmap = self.writes.is_multiple_of(2);
                let done =
                    self.pair.command(node, Command::Invalidate { volume: VOLUME, reset_bitmap });
                self.owes[node].released |= done.is_ok();
            }
            Move::Kill(node) => self.die(node, false),
            Move::Power(node) => self.die(node, true),
            Move::Down(node) => {
                self.pair.nodes[node].resource.close_client(CLIENT, self.pair.now);
                let done = self.pair.command(node, Command::Down { force: true });
                self.pair.kill(node);
                self.owes[node].crashed |= done.is_err();
            }
        }
    }

    fn promote(&mut self, node: usize, force: bool) {
        let connected = self.is_connected(node);
        let was_good = self.status(node).volumes[0].disk == DiskState::UpToDate;
        if self.pair.command(node, Command::Primary { force }).is_err() {
            return;
        }
        let now = self.pair.now;
        self.pair.nodes[node].resource.open_client(CLIENT, VOLUME, now).unwrap();
        if force && !was_good {
            self.declared(node);
        }
        self.owes[1 - node].failed_over |= !connected;
    }

    /// The operator has declared what is here the newest data.
    fn declared(&mut self, node: usize) {
        self.owes[node].volatile = self.shown(node);
        self.owes[node].stable = Floor::default();
        self.owes.iter_mut().for_each(|owes| owes.released = true);
        self.owes[node].may_have_forked = true;
    }

    fn write(&mut self, node: usize, block: usize) {
        self.writes += 1;
        let write = self.writes;
        let mut data = vec![0; PAGE];
        data[..4].copy_from_slice(&write.to_le_bytes());
        let (offset, data) = (OFFSETS[block] as u64, Bytes::from(data));
        let mirrored = self.is_mirrored(node);
        let cookie = self.pair.request(node, 0, RequestOp::Write { offset, data, fua: false });
        if self.pair.reply(node, cookie) != Some(Ok(None)) {
            return;
        }
        self.owes[node].raise(block, write);
        if mirrored && self.pair.protocol != Protocol::A {
            self.owes[1 - node].raise(block, write);
        }
        self.owes[node].forked |= !mirrored && !self.is_connected(node);
    }

    fn flush(&mut self, node: usize) {
        let mirrored = self.is_mirrored(node);
        let cookie = self.pair.request(node, 0, RequestOp::Flush);
        self.pair.run(Duration::from_millis(10));
        if self.pair.reply(node, cookie) != Some(Ok(None)) {
            return;
        }
        self.owes[node].flushed();
        if mirrored && self.pair.protocol == Protocol::C {
            self.owes[1 - node].flushed();
        }
    }

    fn die(&mut self, node: usize, power: bool) {
        self.pair.kill(node);
        self.owes[node].crashed = true;
        if power {
            self.pair.lose_unflushed(node);
            self.owes[node].lose_power();
        }
    }
}

impl World {
    #[track_caller]
    fn broken(&self, text: &str) -> ! {
        panic!("{text}\n{:?}\nafter {:?}: {:?}", self.pair.protocol, self.path, self.owes);
    }

    /// What both have decided: INV-9, INV-11, and that the packets say what the table says.
    fn check_decision(&mut self, before: [Floor; 2]) {
        let Some(sides) = self.sides() else { return };
        let settlements = [0, 1].map(|node| decision::settle(&[sides[node]], &[sides[1 - node]]));
        let found = settlements[0].verdicts[0];
        self.decided = Some(found.rule.name().to_owned());
        table::check(sides);
        let told = |node: usize| {
            self.pair.handshake.iter().find_map(|(from, packet)| {
                let &Packet::Verdict(_, verdict) = packet else { return None };
                (*from == node).then_some(verdict)
            })
        };
        for (node, settlement) in settlements.iter().enumerate() {
            let expected = verdict(settlement.verdicts[0].decision);
            if told(node).is_some_and(|told| told != expected) {
                self.broken(&format!("node {node} told {:?}, not {expected:?}", told(node)));
            }
        }
        let discards = sides[0].discard_my_data || sides[1].discard_my_data;
        let target = match found.decision {
            Decision::Target(_) => 0,
            Decision::Source(_) => 1,
            Decision::SplitBrain => {
                if !self.owes.iter().all(|owes| owes.may_have_forked) {
                    self.broken("a split brain, though only one node wrote apart");
                }
                if [0, 1].map(|node| self.shown(node)) != before {
                    self.broken("a split brain changed data");
                }
                return;
            }
            Decision::Unrelated if self.met => {
                self.broken("data with a common history are unrelated");
            }
            Decision::Unrelated | Decision::NoSync | Decision::Refuse(_) | Decision::Retry(_) => {
                return;
            }
        };
        if self.owes.iter().all(|owes| owes.forked && !owes.released) && !discards {
            self.broken("both wrote apart, and one becomes target");
        }
        let owed = self.owes[target].owed(self.pair.protocol, &self.owes[1 - target]);
        if let Some(block) = missing(&before[1 - target], &owed) {
            self.broken(&format!("{:?}: the source lacks block {block} of {owed:?}", found));
        }
        if self.shown(target) != before[target] {
            self.owes[target].is_copied_over();
        }
        // Also where the source has not heard of the end.
        let is_whole = self.status(target).volumes[0].disk == DiskState::UpToDate;
        if is_whole && self.shown(0) == self.shown(1) {
            self.owes[1 - target].forked = false;
        }
    }

    /// What both nodes have said of themselves, where both have.
    fn sides(&self) -> Option<[Side; 2]> {
        let side = |node: usize| {
            let mut said = self.pair.handshake.iter().filter(|(from, _)| *from == node);
            let settings = said.find_map(|(_, packet)| {
                let &Packet::Protocol(settings) = packet else { return None };
                Some(settings)
            })?;
            let uuids = said.find_map(|(_, packet)| {
                let &Packet::Uuids(_, uuids) = packet else { return None };
                Some(uuids)
            })?;
            let state = said.find_map(|(_, packet)| {
                let &Packet::State(_, state) = packet else { return None };
                Some(state)
            })?;
            Some(Side {
                node_id: NodeId(u8::try_from(node).unwrap()),
                role: state.role,
                disk: state.disk,
                uuids,
                discard_my_data: settings.discard_my_data,
                in_use: settings.in_use,
                policies: settings.policies,
            })
        };
        Some([side(0)?, side(1)?])
    }

    /// INV-1, INV-6, and what the model learns of one node.
    fn check_node(&mut self, node: usize) {
        if !self.pair.nodes[node].running {
            return;
        }
        let status = self.status(node);
        let disk = status.volumes[0].disk;
        if disk == DiskState::Inconsistent {
            self.owes[node].is_copied_over();
        }
        let alone = !self.is_connected(node);
        self.owes[node].may_have_forked |= status.role == Role::Primary && alone;
        let is_whole = (DiskState::Outdated..=DiskState::UpToDate).contains(&disk);
        let lost = missing(&self.shown(node), &self.owes[node].volatile);
        if let (true, false, Some(block)) = (is_whole, self.owes[node].released, lost) {
            self.broken(&format!("node {node} lacks block {block}"));
        }
    }

    /// INV-4: connected and up to date, both show the same.
    fn check_agreement(&mut self) {
        let good = |node: usize| {
            self.pair.nodes[node].running
                && self.is_mirrored(node)
                && self.status(node).volumes[0].disk == DiskState::UpToDate
        };
        if !good(0) || !good(1) {
            return;
        }
        let shown = self.shown(0);
        if shown != self.shown(1) {
            self.broken("both are up to date, and different");
        }
        self.owes.iter_mut().for_each(|owes| owes.agreed(shown));
        self.met = true;
    }

    /// What of this place matters for what can come.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut names: BTreeMap<u64, u8> = BTreeMap::new();
        let mut name = |uuid: Uuid| {
            let next = u8::try_from(names.len()).unwrap_or(u8::MAX);
            // Those that are no names are small.
            let small = || u8::try_from(uuid.0).expect("none, or just created");
            if uuid.is_real() { *names.entry(uuid.0).or_insert(next + 8) } else { small() }
        };
        let mut key = Vec::new();
        let mut shown = [0, 1].map(|node| self.shown(node)).concat();
        shown
            .extend(self.owes.iter().flat_map(|owes| owes.volatile.into_iter().chain(owes.stable)));
        let mut ranks = shown.clone();
        ranks.sort_unstable();
        ranks.dedup();
        let rank = |write: &u32| u8::try_from(ranks.binary_search(write).unwrap()).unwrap();
        key.extend(shown.iter().map(rank));
        for node in 0..2 {
            let superblock = self.superblock(node);
            let slot = superblock.peers.iter().flatten().next();
            key.push(name(superblock.current_uuid));
            key.extend(superblock.history.iter().take(4).map(|uuid| name(*uuid)));
            if let Some(slot) = slot {
                let same_boot = slot.boot_id.0 == self.pair.nodes[node].boot_id;
                key.extend([name(slot.bitmap_uuid), u8::from(same_boot)]);
                key.push(u8::from(slot.last_session != 0));
                key.extend(format!("{:?}", slot.flags).bytes());
            }
            key.extend(format!("{:?}", superblock.flags).bytes());
            let owes = self.owes[node];
            let facts =
                [self.met, owes.forked, owes.may_have_forked, owes.released, owes.failed_over];
            key.extend(facts.map(u8::from));
            key.extend([u8::from(owes.crashed), u8::from(self.pair.nodes[node].running)]);
            if self.pair.nodes[node].running {
                let status = self.status(node);
                let connection = &status.connections[0];
                let device = &connection.peer_devices[0];
                let dirty = u8::try_from(device.out_of_sync_bytes / 4096).unwrap_or(u8::MAX);
                key.extend([status.role as u8, status.volumes[0].disk as u8, dirty]);
                key.extend([connection.state as u8, device.replication as u8]);
            }
        }
        key.push(u8::from(self.pair.linked));
        key
    }

    fn superblock(&self, node: usize) -> Superblock {
        let offsets = meta::superblock_offsets(DEVICE_BYTES as u64, Placement::Internal).unwrap();
        let at = usize::try_from(offsets[0]).unwrap();
        let block = &self.pair.nodes[node].devices[0][at..at + meta::META_BLOCK_BYTES];
        Superblock::decode(block, CopyIndex::A).unwrap()
    }
}

fn verdict(decision: Decision) -> Verdict {
    match decision {
        Decision::NoSync => Verdict::NoSync,
        Decision::Source(_) => Verdict::Source,
        Decision::Target(_) => Verdict::Target,
        Decision::SplitBrain => Verdict::SplitBrain,
        Decision::Unrelated => Verdict::Unrelated,
        Decision::Refuse(_) | Decision::Retry(_) => Verdict::Refused,
    }
}
