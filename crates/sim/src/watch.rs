//! When the checkers look: at every change of states, at crashes, now and then, and at the end.

use tandem_replica::{ConnectionState, SyncState};
use tandem_wire::{ByteRange, DiskState, Protocol, Role};

use crate::checks::prefix::Boundary;
use crate::checks::{Violation, coverage, equality, floors, lag, mirror, transition};
use crate::clock::{MILLIS, SECONDS};
use crate::event::Event;
use crate::marks::Mark;
use crate::node::{Node, node_id, volume_number};
use crate::stamp::SECTOR;
use crate::view::View;
use crate::world::{Phase, World};

/// How long bits may stay where nothing is in flight.
const FORGOTTEN_AFTER: u64 = 10 * SECONDS;

/// What is no reason to stand alone.
const LINK_LOST: [&str; 3] =
    ["the link was closed or broke", "no answer to a ping", "replaced by a newer link"];

/// Why a node stands alone whatever the data are.
const BY_RULE: [&str; 2] = ["disconnected by the operator", "congested (on-congestion disconnect)"];

/// Why it does that was only to find out what connecting would come to.
const ON_TRIAL: &str = "only tried (tentative)";

/// Why a Primary does, of whose disk nothing was known yet.
const WITHOUT_DISK: &str = "a Primary without a good disk";

/// Why a node does that may not be target, also where a policy had settled the split brain.
const FORBIDDEN: &str = "before-resync-target";

impl World {
    /// Looks at a node's states; called after every input. INV-12: one Primary where nodes are
    /// linked.
    pub(crate) fn observe(&mut self, node: usize) -> Result<(), Violation> {
        let now = self.now();
        let volumes = self.nodes[node].disks.len();
        let view = match &self.nodes[node].resource {
            Some(resource) => View::of(resource, now),
            None => View::dead(volumes),
        };
        if view == self.nodes[node].view {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.nodes[node].view, view.clone());
        if view.is_connected() {
            self.nodes[node].apart_since = None;
        }
        self.saw_change(node, &before, &view);
        self.see_io(node, &before);
        self.check_standing_alone(node, &before)?;
        self.check_frozen_generations(node, &before)?;
        self.check_fenced(node, &view)?;
        self.check_sizes(node, &view)?;
        if self.trace.is_on() && before.text() != view.text() {
            self.tell(Some(node), format_args!("is {}", view.text()));
        }
        self.progress.saw(node, &view, self.clock.now());
        let views = [&self.nodes[0].view, &self.nodes[1].view];
        let linked = self.nodes[0].session.is_some() && self.nodes[1].session.is_some();
        if linked && views.iter().all(|view| view.is_connected() && view.role == Role::Primary) {
            let text = format!("0 is {}; 1 is {}", views[0].text(), views[1].text());
            return Err(Violation::new("INV-12 one Primary", text));
        }
        let sessions = self.nodes.each_ref().map(|node| node.session.map(|(_, key)| key));
        let same_link = sessions[0].is_some() && sessions[0] == sessions[1];
        for (volume, (was, is)) in before.volumes.iter().zip(&view.volumes).enumerate() {
            let good = [was, is].map(|volume| volume.disk == DiskState::UpToDate);
            if good == [false, true] && !view.is_established(volume) {
                self.saw_forced(node, volume, was.disk);
            }
        }
        let Self { model, nodes, .. } = self;
        let contents = |node: usize, volume: usize| nodes[node].disks[volume].contents();
        transition::check(model, node, &before, &view, &nodes[1 - node].view, same_link, contents)
    }

    /// LIVE-1: who has only lost the link tries again. INV-11: a split brain is called one.
    fn check_standing_alone(&mut self, node: usize, before: &View) -> Result<(), Violation> {
        let stands = |view: &View| view.alive && view.connection == ConnectionState::StandAlone;
        if stands(before) || !before.alive || !stands(&self.nodes[node].view) {
            return Ok(());
        }
        let resource = self.nodes[node].resource.as_ref().expect("it is alive");
        let status = resource.status(self.now());
        let reason = status.connections[0].reason.clone().unwrap_or_default();
        self.marks.hit_if(reason.starts_with(ON_TRIAL), Mark::OnlyTried);
        if LINK_LOST.contains(&reason.as_str()) {
            let text = format!("node {node} is StandAlone: {reason}");
            return Err(Violation::new("LIVE-1", text));
        }
        let is_told = self.nodes[node].view.sync != SyncState::Normal;
        // The disk that was missing then may be there by now.
        let by_rule = BY_RULE.contains(&reason.as_str())
            || [WITHOUT_DISK, FORBIDDEN, ON_TRIAL].iter().any(|it| reason.contains(it));
        // What is written when one node has left already is no part of the verdict.
        let is_split = self.nodes[node].linked_split && self.is_split();
        if is_split && !is_told && !by_rule {
            let text = format!("both nodes wrote apart, and node {node} only says: {reason}");
            return Err(Violation::new("INV-11 split brain", text));
        }
        Ok(())
    }

    /// Whether both nodes wrote apart, and have what they wrote.
    pub(crate) fn is_split(&self) -> bool {
        let is_good =
            |node: &Node, volume: usize| node.view.volumes[volume].disk == DiskState::UpToDate;
        self.model.volumes.iter().enumerate().any(|(volume, model)| {
            model.is_split() && self.nodes.iter().all(|node| is_good(node, volume))
        })
    }

    /// A node has become Primary.
    pub(crate) fn promoted(&mut self, node: usize) -> Result<(), Violation> {
        let volumes = self.nodes[node].disks.len();
        let connected = self.nodes[node].session.is_some() && self.nodes[node].view.is_connected();
        let follows = (0..volumes).all(|volume| self.established(node, volume).is_some());
        self.model.begin_tenure(node, follows);
        let protocol = self.model.protocol;
        for (volume, seen) in self.model.volumes.iter_mut().zip(&self.nodes[node].view.volumes) {
            // In A a peer's disk that is not there may have more, and is left behind as well.
            let left = protocol == Protocol::A && seen.peer_disk < DiskState::Inconsistent;
            volume.nodes[1 - node].failed_over |= !connected || left;
        }
        for volume in 0..volumes {
            self.check_floor(node, volume, "promoted")?;
            let has_disk = self.nodes[node].view.volumes[volume].disk == DiskState::UpToDate;
            if follows && has_disk {
                // The old Primary's replies lie before the promotion in the stream, in A too.
                self.model.volumes[volume].source_done(1 - node, Protocol::C);
            }
        }
        Ok(())
    }

    /// A node has crashed: what its disks hold is what it owes.
    pub(crate) fn crashed(&mut self, node: usize, power: bool) -> Result<(), Violation> {
        self.check_order(node, if power { Boundary::Flush } else { Boundary::Reply })?;
        for volume in 0..self.nodes[node].disks.len() {
            let sectors = self.model.volumes[volume].history.len();
            let contents = &self.nodes[node].disks[volume].contents()[..sectors];
            let was_primary = self.nodes[node].view.role == Role::Primary;
            let owes = &mut self.model.volumes[volume].nodes[node];
            owes.crashed = true;
            if power {
                owes.lose_power();
            } else if self.model.protocol == Protocol::B && !was_primary {
                owes.lose_memory(contents);
            }
            owes.follows = false;
            let when = if power { "after a power loss" } else { "after a kill" };
            self.check_floor(node, volume, when)?;
        }
        self.observe(node)?;
        // In B what it had received is gone with its memory.
        self.end_tenure(node, power || self.model.protocol == Protocol::B);
        Ok(())
    }

    /// What a Primary had not flushed may be gone everywhere: nobody follows it from here on. So
    /// may what the only good copy of a living one had.
    pub(crate) fn end_tenure(&mut self, node: usize, cache_lost: bool) {
        let has_own = |primary: usize| {
            let volumes = &self.nodes[primary].view.volumes;
            volumes.iter().all(|volume| volume.disk == DiskState::UpToDate)
        };
        let only_copy =
            cache_lost && self.model.tenure.node.is_some_and(|primary| !has_own(primary));
        if self.model.tenure.node == Some(node) || only_copy {
            self.model.tenure.over = true;
        }
    }

    fn check_floor(&self, node: usize, volume: usize, when: &str) -> Result<(), Violation> {
        let owes = &self.model.volumes[volume].nodes[node];
        if owes.target {
            return Ok(());
        }
        let contents = self.nodes[node].disks[volume].contents();
        let whose = format!("node {node} {when}");
        floors::check(&self.model, "INV-1 durable", volume, contents, &owes.volatile, &whose)
    }

    /// The checkers look at everything.
    pub(crate) fn on_sample(&mut self) -> Result<(), Violation> {
        let pause = self.prng.between(200 * MILLIS, 3 * SECONDS);
        self.clock.after(pause, Event::Sample);
        if self.phase == Phase::Setup {
            return Ok(());
        }
        self.check_replies()?;
        self.check_mirror()?;
        self.check_counts()?;
        for node in [0, 1] {
            self.check_order(node, Boundary::Reply)?;
            self.check_order(node, Boundary::Flush)?;
        }
        let now = self.clock.now();
        let is_slow = [0, 1].iter().any(|from| self.link.is_slow(*from, now));
        if is_slow {
            self.slow_at = now;
        }
        // A disk that hangs for each of many writes holds the ranges of all of them, one by one.
        let holds_still = |node: &Node| {
            node.stopped.is_some() || node.view.suspended.any() || node.disk_in_use_hangs()
        };
        let disturbed = self.nodes.iter().any(holds_still)
            || [0, 1].iter().any(|from| self.link.is_cut(*from))
            || is_slow;
        self.progress.check(disturbed, now)?;
        for volume in 0..self.model.volumes.len() {
            for node in [0, 1] {
                self.check_running(node, volume)?;
                self.check_stable(node, volume)?;
            }
            self.check_pair(volume)?;
            self.check_target(volume)?;
        }
        for node in [0, 1] {
            self.check_lag(node)?;
        }
        Ok(())
    }

    /// P3: the lag that a Primary tells is never smaller than what its peer lacks of what was
    /// replied to.
    fn check_lag(&self, node: usize) -> Result<(), Violation> {
        let Some(resource) = &self.nodes[node].resource else { return Ok(()) };
        if resource.role() != Role::Primary || self.model.tenure.node != Some(node) {
            return Ok(());
        }
        let mut missing = 0;
        for volume in 0..self.model.volumes.len() {
            if self.has_blank(volume) {
                return Ok(()); // that its peer has a new disk it cannot know
            }
            if self.nodes[node].view.volumes[volume].disk != DiskState::UpToDate {
                return Ok(()); // its bits are on no disk of its own
            }
            let contents = self.nodes[1 - node].disks[volume].contents();
            missing += lag::missing_sectors(&self.model, volume, node, contents);
        }
        let lag = resource.status(self.now()).connections[0].lag;
        lag::check(node, missing * SECTOR as u64, lag)
    }

    fn check_running(&self, node: usize, volume: usize) -> Result<(), Violation> {
        let view = &self.nodes[node].view;
        let disk = view.volumes[volume].disk;
        if !view.alive || disk < DiskState::Outdated {
            return Ok(());
        }
        // In B a Secondary has received what it owes, and may not have written it.
        if view.role == Role::Primary || self.model.protocol != Protocol::B {
            self.check_floor(node, volume, "running")?;
        }
        Ok(())
    }

    /// INV-20: counters are the number of bits.
    fn check_counts(&self) -> Result<(), Violation> {
        for node in &self.nodes {
            let Some(resource) = &node.resource else { continue };
            let peer = node_id(1 - node.index);
            for (volume, told) in View::of(resource, self.now()).volumes.iter().enumerate() {
                let whose = format!("node {}, volume {volume}", node.index);
                let bits = resource.out_of_sync(volume_number(volume), peer);
                coverage::check_count(&whose, told.dirty_blocks, bits)?;
            }
        }
        Ok(())
    }

    /// Whether bits have been left long enough that the operator must see to them.
    pub(crate) fn is_long_forgotten(&self) -> bool {
        self.forgotten_since.is_some_and(|at| self.clock.now() - at > FORGOTTEN_AFTER / 2)
    }

    /// INV-9, and INV-20: a volume that is said to be good on both nodes does not keep bits that
    /// nobody will work off.
    fn check_mirror(&mut self) -> Result<(), Violation> {
        let sessions = self.nodes.each_ref().map(|node| node.session.map(|(_, key)| key));
        let views = self.nodes.each_ref().map(|node| &node.view);
        let same = sessions[0].is_some() && sessions[0] == sessions[1];
        if same && views.iter().all(|view| view.is_connected()) {
            mirror::check(views)?;
        }
        let idle = self.is_quiet() && self.nodes.iter().all(Node::answers);
        let volumes = 0..self.model.volumes.len();
        let forgotten = volumes.into_iter().find(|it| mirror::is_forgotten(views, *it));
        let Some(volume) = forgotten.filter(|_| idle && same) else {
            self.forgotten_since = None;
            return Ok(());
        };
        let now = self.clock.now();
        let since = *self.forgotten_since.get_or_insert(now);
        if now - since < FORGOTTEN_AFTER {
            return Ok(());
        }
        let text =
            format!("volume {volume} has bits, and nothing is under way: {}", views[0].text());
        Err(Violation::new("INV-20 honest status", text))
    }

    /// INV-4 and INV-7, at a moment when nothing is in flight.
    fn check_pair(&mut self, volume: usize) -> Result<(), Violation> {
        let views = [&self.nodes[0].view, &self.nodes[1].view];
        let attached =
            |view: &&View| view.alive && view.volumes[volume].disk >= DiskState::Outdated;
        let idle = self.clients.pending.is_empty()
            && self.link.is_idle()
            && self.nodes.iter().all(|node| node.disk_operations() == 0);
        let connected = views.map(View::is_connected);
        let comparable = connected[0] == connected[1] && !self.has_blank(volume);
        if !idle || !views.iter().all(attached) || !comparable {
            return Ok(());
        }
        let [a, b] = &mut self.nodes;
        let differences = &mut self.differences[volume];
        differences.look([&mut a.disks[volume], &mut b.disks[volume]]);
        let views = [&a.view, &b.view];
        let clean = views.iter().all(|view| view.volumes[volume].dirty_blocks == 0);
        if views.iter().all(|view| view.is_established(volume)) && clean {
            let images = [a, b].map(|node| node.disks[volume].contents());
            let rotten = &self.model.volumes[volume].rotten;
            return equality::check(volume, differences, images, rotten, "while idle");
        }
        if views.iter().all(|view| view.is_established(volume)) {
            coverage::check_findings(volume, views)?;
        }
        self.check_bits(volume)
    }

    /// INV-7 and INV-8 while the nodes are apart: what a crash has left is known as soon as the
    /// disks are attached again.
    pub(crate) fn check_apart(&mut self) -> Result<(), Violation> {
        let apart = self.nodes.iter().all(|node| node.view.alive && node.session.is_none());
        let idle = self.link.is_idle() && self.nodes.iter().all(|it| it.disk_operations() == 0);
        if self.phase == Phase::Setup || !apart || !idle {
            return Ok(());
        }
        for volume in 0..self.model.volumes.len() {
            let attached = |node: &Node| node.view.volumes[volume].disk >= DiskState::Inconsistent;
            if !self.nodes.iter().all(attached) || self.has_blank(volume) {
                continue;
            }
            let [a, b] = &mut self.nodes;
            self.differences[volume].look([&mut a.disks[volume], &mut b.disks[volume]]);
            let crashed = self.model.volumes[volume].nodes.iter().any(|node| node.crashed);
            self.faults.crashes_checked += u64::from(crashed);
            self.check_bits(volume)?;
        }
        Ok(())
    }

    fn check_bits(&self, volume: usize) -> Result<(), Violation> {
        let number = volume_number(volume);
        let rotten = &self.model.volumes[volume].rotten;
        coverage::check(volume, &self.differences[volume], rotten, |block| {
            let range = ByteRange::new(block as u64 * 4096, 4096);
            self.nodes.iter().any(|node| {
                let resource = node.resource.as_ref().expect("both live");
                resource.is_out_of_sync(number, node_id(1 - node.index), range)
            })
        })
    }

    /// INV-7, INV-10: whatever differs from its source a target knows, also while it is paused.
    fn check_target(&mut self, volume: usize) -> Result<(), Violation> {
        let views = [&self.nodes[0].view, &self.nodes[1].view];
        let target = views.iter().position(|view| view.is_target(volume));
        let idle = self.link.is_idle()
            && self.nodes.iter().all(|node| node.disk_operations() == 0)
            && self.clients.pending.is_empty();
        let Some(target) = target.filter(|target| idle && views[1 - target].is_source(volume))
        else {
            return Ok(());
        };
        self.marks.hit(Mark::TargetCompared);
        let [a, b] = &mut self.nodes;
        let differences = &mut self.differences[volume];
        differences.look([&mut a.disks[volume], &mut b.disks[volume]]);
        let number = volume_number(volume);
        let resource = self.nodes[target].resource.as_ref().expect("it has a session");
        let rotten = &self.model.volumes[volume].rotten;
        coverage::check(volume, &self.differences[volume], rotten, |block| {
            let range = ByteRange::new(block as u64 * 4096, 4096);
            resource.is_out_of_sync(number, node_id(1 - target), range)
        })
    }

    /// LIVE-2: every request is answered while its node lives.
    fn check_replies(&self) -> Result<(), Violation> {
        let now = self.clock.now();
        let stuck = self.clients.pending.iter().find(|(_, pending)| {
            let node = &self.nodes[pending.node];
            let since = pending.since.max(node.frozen_at).max(self.slow_at);
            let waits = node.answers() && !node.view.is_frozen();
            waits && now.saturating_sub(since) > 60 * SECONDS
        });
        let Some((cookie, pending)) = stuck else { return Ok(()) };
        let text =
            format!("node {}: {cookie:?} {:?} is unanswered for 60 s", pending.node, pending.kind);
        Err(Violation::new("LIVE-2 requests end", text))
    }

    /// Goes on to the next phase where it is time.
    pub(crate) fn next_phase(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        let late = now >= self.phase_end;
        match self.phase {
            Phase::Setup if self.is_healthy() => self.enter(Phase::Load),
            Phase::Load if late || self.script.is_over(now) => self.enter(Phase::Heal),
            Phase::Heal if self.is_healthy() && self.is_quiet() && !self.is_rotten() => {
                self.check_end()?;
                self.enter(Phase::Done);
            }
            Phase::Setup | Phase::Heal if late => {
                let views = [0, 1].map(|node| self.nodes[node].view.text());
                let pending = self.clients.pending.len();
                let operations: usize = self.nodes.iter().map(Node::disk_operations).sum();
                let text = format!(
                    "not healthy in time: 0 is {}; 1 is {}; {pending} requests open, \
                     {operations} disk operations",
                    views[0], views[1]
                );
                return Err(Violation::new("LIVE-1", text));
            }
            Phase::Setup | Phase::Load | Phase::Heal | Phase::Done => {}
        }
        Ok(())
    }

    fn is_healthy(&self) -> bool {
        self.nodes.iter().all(|node| node.view.is_healthy())
            && self.nodes.iter().any(|node| node.view.role == Role::Primary)
    }

    /// Nothing is under way; what flies in a session that neither node has does not count.
    pub(crate) fn is_quiet(&self) -> bool {
        let sessions = self.nodes.iter().filter_map(|node| node.session);
        self.clients.pending.is_empty()
            && sessions.map(|(_, key)| key).all(|key| self.link.is_session_idle(key))
            && self.nodes.iter().all(|node| node.disk_operations() == 0)
    }

    /// The end: both images are equal and show everything that was promised.
    fn check_end(&mut self) -> Result<(), Violation> {
        for volume in 0..self.model.volumes.len() {
            for node in [0, 1] {
                self.check_floor(node, volume, "at the end")?;
            }
            self.check_pair(volume)?;
            self.check_bytes(volume)?;
        }
        self.nodes.iter().try_for_each(|node| self.check_counters(node))
    }

    /// INV-20: where nothing is under way the counters say so.
    fn check_counters(&self, node: &Node) -> Result<(), Violation> {
        let resource = node.resource.as_ref().expect("both nodes are healthy");
        let status = resource.status(self.now());
        let pending = status.volumes.iter().flat_map(|it| [it.upper_pending, it.lower_pending]);
        let of_peers = status.connections.iter().flat_map(|connection| {
            let devices = connection.peer_devices.iter();
            let counts = devices.flat_map(|device| [device.pending, device.unacked]);
            counts.chain([connection.rs_in_flight_bytes])
        });
        if pending.chain(of_peers).all(|count| count == 0) {
            return Ok(());
        }
        let text = format!("node {}, nothing is under way: {status:?}", node.index);
        Err(Violation::new("INV-20 honest status", text))
    }

    /// What the checkers were told of the images all along is what the bytes say.
    fn check_bytes(&self, volume: usize) -> Result<(), Violation> {
        let sectors = self.model.volumes[volume].history.len();
        let rotten = &self.model.volumes[volume].rotten;
        let grown = self.model.volumes[volume].first_sectors;
        for node in &self.nodes {
            if let Some(sector) = node.disks[volume].check_index(sectors, grown, rotten) {
                let text = format!("node {}, volume {volume}, sector {sector}", node.index);
                return Err(Violation::new("every byte is as it was written", text));
            }
        }
        let [a, b] = self.nodes.each_ref().map(|node| &node.disks[volume].image()[..sectors]);
        if a != b {
            let text = format!("volume {volume}, the images differ at the end");
            return Err(Violation::new("INV-4 equal images", text));
        }
        Ok(())
    }
}
