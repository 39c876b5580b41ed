//! A drill: moves of an operator, a client and the network, one after the other, in a small world
//! where nothing happens by itself.
//!
//! A move is made when all that the last one led to has come to rest. Where the last one's effects
//! are to be cut off, a blow falls at one operation of a disk or at one packet of them. Behind the
//! moves comes the healing of every run, with all its checks.

use tandem_replica::{Command, OnIoError, OnNoData, RequestOp};
use tandem_wire::Protocol;

use crate::ailment::{Ailment, Stall};
use crate::checks::Violation;
use crate::client::{Clients, Kind};
use crate::clock::{MILLIS, SECONDS};
use crate::event::Event;
use crate::failure::caught;
use crate::fault::Doom;
use crate::grow::superblock;
use crate::model::{Model, WriteRecord};
use crate::node::{Node, node_id, volume_number};
use crate::prng::Prng;
use crate::profile::Profile;
use crate::stamp::BLOCK_SECTORS;
use crate::view::View;
use crate::world::{Options, Outcome, World};

mod footprint;
mod words;

use footprint::Footprint;
pub use words::{Act, Blow, Move, Moves, Strike};

/// What there is to be noticed, or to be tried again, is by then: more than the nodes' timeouts.
const REST: u64 = 1200 * MILLIS;

/// What has not come to rest by then waits for something.
const PATIENCE: u64 = 10 * SECONDS;

/// How long an operation hangs beside another move: enough for a link to be lost and had again, and
/// less than a peer waits for an answer.
const HANGS: u64 = 380 * MILLIS;

/// What is the same in all drills of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Protocol of the connection.
    pub protocol: Protocol,
    /// `on-io-error pass_on`, not `detach`.
    pub passes_on: bool,
    /// `on-no-data-accessible suspend-io`, not `io-error`.
    pub freezes: bool,
}

impl Setting {
    fn profile(self) -> Profile {
        let mut profile = Profile::small(self.protocol);
        if self.passes_on {
            profile.on_io_error = [OnIoError::PassOn; 2];
        }
        if self.freezes {
            profile.on_no_data = OnNoData::SuspendIo;
        }
        profile
    }
}

/// What the last move has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// By node: operations of its disk.
    pub operations: [u64; 2],
    /// By node: packets that it has sent, but for keepalives.
    pub packets: [u64; 2],
    /// States are others, or a command is open.
    pub is_news: bool,
    /// The same where two moves have found and led to the same, but for names.
    pub footprint: u64,
}

impl Effects {
    /// Whether it has come to nothing: what follows it is the same as without.
    pub fn is_nothing(&self) -> bool {
        !self.is_news && self.operations == [0; 2] && self.packets == [0; 2]
    }

    /// Every blow that can fall on it.
    pub fn blows(&self) -> Vec<Blow> {
        let all = [Strike::Kill, Strike::Power, Strike::Reset, Strike::Fail, Strike::Sick];
        all.into_iter().flat_map(|strike| self.blows_of(strike)).collect()
    }

    /// Every other move at every moment of it, at either node and at both.
    pub fn crossings(&self) -> Vec<Blow> {
        let at_both = Act::ALL.iter().map(|(act, _)| Strike::Both(*act));
        let all = Move::all().map(Strike::Cross).chain(at_both);
        all.flat_map(|strike| self.blows_of(strike)).collect()
    }

    fn blows_of(&self, strike: Strike) -> impl Iterator<Item = Blow> {
        [0, 1].into_iter().flat_map(move |node| {
            (1..=self.count(strike, node)).map(move |at| Blow { strike, node, at })
        })
    }

    /// Every other move while an operation hangs that then ends well, or fails.
    pub fn delays(&self) -> Vec<Blow> {
        let all = Move::all().flat_map(|other| [Strike::Slow(other), Strike::Late(other)]);
        all.flat_map(|strike| self.blows_of(strike)).collect()
    }

    /// How much of what a strike falls on `node` has done so far.
    fn count(&self, strike: Strike, node: usize) -> u64 {
        match strike {
            Strike::Kill
            | Strike::Power
            | Strike::Fail
            | Strike::Sick
            | Strike::Slow(_)
            | Strike::Late(_) => self.operations[node],
            Strike::Reset => self.packets[node],
            Strike::Cross(_) | Strike::Both(_) => self.operations[node] + self.packets[node],
        }
    }
}

/// A drill on its way.
#[derive(Debug)]
pub struct Drill {
    moves: Vec<Move>,
    /// Until it has fallen.
    blow: Option<Blow>,
    made: usize,
    /// When the last one was made.
    since: u64,
    /// The states before the last one.
    before: Option<[View; 2]>,
    effects: Effects,
    footprint: Footprint,
}

impl Drill {
    fn is_at_last(&self) -> bool {
        self.made == self.moves.len() && self.before.is_some()
    }

    /// `node` has done one thing more: whether the blow falls now.
    fn strikes(&mut self, node: usize) -> Option<Strike> {
        let effects = self.effects;
        let is_due =
            |blow: &mut Blow| blow.node == node && effects.count(blow.strike, node) == blow.at;
        self.blow.take_if(is_due).map(|blow| blow.strike)
    }
}

/// Makes these moves in a small world, with a blow on the last one. Where it failed before that
/// there are no effects.
pub fn run(moves: &Moves, blow: Option<Blow>, setting: Setting, trace: bool) -> (Outcome, Effects) {
    let mut effects = Effects::default();
    let outcome = caught(|| {
        let options = Options { seconds: 0, trace };
        let mut world = World::of(setting.profile(), Prng::new(0), options);
        world.drill = Some(Drill {
            moves: moves.0.clone(),
            blow,
            made: 0,
            since: 0,
            before: None,
            effects,
            footprint: Footprint::default(),
        });
        let outcome = world.run();
        effects = world.drill.map(|drill| drill.effects).unwrap_or_default();
        outcome
    });
    (outcome, effects)
}

impl World {
    /// The next move, if all that the last one led to has come to rest.
    pub(crate) fn tend_drill(&mut self) -> Result<(), Violation> {
        for node in [0, 1] {
            self.finish_down(node)?;
        }
        let now = self.clock.now();
        let at_rest = self.operator.pending.is_empty()
            && self.nodes.iter().all(Node::answers)
            && self.is_quiet();
        let drill = self.drill.as_ref().expect("looked at by the caller");
        let waits = if at_rest { REST } else { PATIENCE };
        if now < drill.since + waits && drill.made > 0 {
            return Ok(());
        }
        let views = [0, 1].map(|node| self.nodes[node].view.clone());
        let is_open = !self.operator.pending.is_empty();
        let drill = self.drill.as_mut().expect("looked at by the caller");
        let Some(next) = drill.moves.get(drill.made).copied() else {
            drill.effects.is_news =
                is_open || drill.before.take().is_some_and(|before| before != views);
            drill.footprint.enter(&format!("{views:?} {is_open}"));
            drill.effects.footprint = drill.footprint.hash();
            self.phase_end = now;
            return Ok(());
        };
        drill.made += 1;
        drill.since = now;
        if drill.made == drill.moves.len() {
            let generations = [0, 1].map(|node| {
                let mut superblock = superblock(&self.nodes[node].disks[0], &self.profile, node)?;
                superblock.sequence = 0;
                Some(superblock)
            });
            drill.footprint.enter(&format!("{views:?} {generations:?} {next}"));
            drill.before = Some(views);
        }
        self.tell(Some(next.node), format_args!("** {next}"));
        self.send_clients_away()?;
        self.make(next)
    }

    /// Clients that wait for nothing leave, so that nobody is in the way of the next move.
    fn send_clients_away(&mut self) -> Result<(), Violation> {
        for slot in 0..self.clients.slots.len() {
            let client = self.clients.slots[slot];
            if let (Some((id, node)), 0) = (client.open, client.in_flight) {
                self.clients.drop_client(id);
                self.input(node, |core, now| core.close_client(id, now))?;
            }
        }
        Ok(())
    }

    fn make(&mut self, Move { node, act }: Move) -> Result<(), Violation> {
        let (volume, peer, reset_bitmap) = (volume_number(0), node_id(1 - node), true);
        let command = match act {
            Act::Write => return self.ask_at(node, next_write),
            Act::Read => return self.ask_at(node, read_all),
            Act::Flush => return self.ask_at(node, |model, node| Clients::flush(model, node, 0)),
            Act::Suspend => return self.suspend_io(node, u64::MAX),
            Act::Resume => return self.resume_io(node),
            Act::Kill => return self.crash(node, false),
            Act::Power => return self.crash(node, true),
            Act::Cut => {
                self.link.cut(node);
                return Ok(());
            }
            Act::Mend => {
                self.link.heal(node, &mut self.clock);
                return Ok(());
            }
            Act::Primary => Command::Primary { force: false },
            Act::PrimaryForce => Command::Primary { force: true },
            Act::Secondary => Command::Secondary { force: false },
            Act::Disconnect => Command::Disconnect { peer, force: false },
            Act::Connect => Command::Connect { peer, discard_my_data: false },
            Act::Discard => Command::Connect { peer, discard_my_data: true },
            Act::Attach => Command::Attach { volume },
            Act::Detach => Command::Detach { volume, force: false },
            Act::DetachForce => Command::Detach { volume, force: true },
            Act::Invalidate => Command::Invalidate { volume, reset_bitmap },
            Act::InvalidateRemote => Command::InvalidateRemote { volume, peer, reset_bitmap },
            Act::Outdate => Command::Outdate { volume },
            Act::NewUuid => Command::NewUuid { volume, initial: None },
            Act::Pause => Command::PauseSync { volume, peer },
            Act::Continue => Command::ResumeSync { volume, peer },
            Act::Verify => Command::Verify { volume, peer, start: None, stop: None, repair: false },
            Act::Restart => Command::Down { force: false },
        };
        self.command(node, command)
    }

    /// A client of `node`, if it has any, asks for something.
    fn ask_at(
        &mut self,
        node: usize,
        what: fn(&mut Model, usize) -> (RequestOp, Kind),
    ) -> Result<(), Violation> {
        let on_node = |world: &Self| {
            (0..2).find(|slot| {
                world.clients.slots[*slot].open.is_some_and(|(_, open_on)| open_on == node)
            })
        };
        for slot in [node, 1 - node] {
            if on_node(self).is_none() && self.clients.slots[slot].open.is_none() {
                self.open_client(slot)?;
            }
        }
        let Some(slot) = on_node(self) else { return Ok(()) };
        let request = what(&mut self.model, node);
        self.submit(slot, request)
    }

    /// Whether what happens comes of the last move of a drill.
    pub(crate) fn is_at_last_move(&self) -> bool {
        self.drill.as_ref().is_some_and(Drill::is_at_last)
    }

    /// An operation of a disk has begun.
    pub(crate) fn drill_saw_operation(&mut self, node: usize, text: &str) {
        let Some(drill) = self.drill.as_mut().filter(|drill| drill.is_at_last()) else { return };
        drill.footprint.enter(&format!("{node} {text}\n"));
        drill.effects.operations[node] += 1;
        self.drill_strikes(node);
    }

    /// A packet that is no keepalive has been sent.
    pub(crate) fn drill_saw_packet(&mut self, node: usize, text: &str) {
        let Some(drill) = self.drill.as_mut().filter(|drill| drill.is_at_last()) else { return };
        drill.footprint.enter(&format!("{node} {text}\n"));
        drill.effects.packets[node] += 1;
        self.drill_strikes(node);
    }

    /// The blow falls, if this is its moment.
    fn drill_strikes(&mut self, node: usize) {
        let Some(strike) = self.drill.as_mut().and_then(|drill| drill.strikes(node)) else {
            return;
        };
        match strike {
            Strike::Kill | Strike::Power => {
                let power = Some(strike == Strike::Power);
                self.doomed = Some(Doom { node, actions: 0, power });
            }
            Strike::Reset => {
                self.tell(None, format_args!("** the link is reset"));
                self.link.reset(&mut self.clock);
            }
            Strike::Fail => self.nodes[node].disks[0].ailment = Some(Ailment::of_all(1)),
            Strike::Sick => self.nodes[node].disks[0].ailment = Some(Ailment::of_all(u32::MAX)),
            Strike::Cross(other) => self.clock.after(0, Event::Cross(other)),
            Strike::Slow(other) | Strike::Late(other) => {
                let fails = matches!(strike, Strike::Late(_));
                self.nodes[node].disks[0].stall = Some(Stall::of_one(HANGS, fails));
                self.clock.after(MILLIS, Event::Cross(other));
            }
            Strike::Both(act) => {
                for node in [0, 1] {
                    self.clock.after(0, Event::Cross(Move { node, act }));
                }
            }
        }
    }

    /// A move is made while the last one is on its way.
    pub(crate) fn on_cross(&mut self, other: Move) -> Result<(), Violation> {
        self.tell(Some(other.node), format_args!("** {other}"));
        if let Some(drill) = &mut self.drill {
            drill.since = self.clock.now();
        }
        self.make(other)
    }
}

/// A write of two blocks: the next ones each time, of eight times two.
fn next_write(model: &mut Model, node: usize) -> (RequestOp, Kind) {
    let first = (model.writes.len() - 1) % 8 * 2 * BLOCK_SECTORS;
    let record = WriteRecord::new(0, first, 2 * BLOCK_SECTORS, false, false);
    Clients::write(model, node, record)
}

/// A read of all that those go to.
fn read_all(model: &mut Model, node: usize) -> (RequestOp, Kind) {
    Clients::read(model, node, 0, 0, 8 * 2 * BLOCK_SECTORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Setting = Setting { protocol: Protocol::C, passes_on: false, freezes: false };

    fn moves(text: &str) -> Moves {
        text.parse().expect("moves")
    }

    #[test]
    fn a_move_has_effects_or_none() {
        let effects = |text: &str| {
            let (outcome, effects) = run(&moves(text), None, PLAIN, false);
            assert_eq!(outcome.violation, None, "{text}");
            effects
        };
        assert!(effects("0:connect").is_nothing(), "it is connected");
        assert!(effects("1:write").is_nothing(), "no client comes to a Secondary");
        let write = effects("0:write");
        assert!(write.operations.iter().chain(&write.packets).all(|count| *count > 0), "{write:?}");
        assert!(effects("1:disconnect 0:write").packets == [0; 2], "nobody to send it to");
    }

    /// Moves that cross the last one are made, at every moment of it.
    #[test]
    fn every_move_crosses_a_write() {
        let drill = moves("0:write");
        let (whole, effects) = run(&drill, None, PLAIN, false);
        let crossings = effects.crossings();
        for name in ["1:disconnect", "0:write", "0:detach"] {
            let other = Strike::Cross(name.parse().expect("a move"));
            let of_it: Vec<Blow> =
                crossings.iter().copied().filter(|it| it.strike == other).collect();
            assert!(of_it.len() > 5, "{name}: {of_it:?}");
            for blow in of_it {
                let (outcome, _) = run(&drill, Some(blow), PLAIN, false);
                assert_eq!(outcome.violation, None, "{blow}");
                assert_ne!(outcome.hash, whole.hash, "{blow}");
            }
        }
    }

    /// The only disk that there is stays behind an error that it passes on.
    #[test]
    fn a_disk_fails_in_either_way() {
        let drill = moves("1:disconnect 0:write");
        let hash = |at, passes_on| {
            let blow = Blow { strike: Strike::Fail, node: 0, at };
            run(&drill, Some(blow), Setting { passes_on, ..PLAIN }, false).0.hash
        };
        let (_, effects) = run(&drill, None, PLAIN, false);
        assert!((1..=effects.operations[0]).any(|at| hash(at, false) != hash(at, true)));
    }

    /// Blows fall where they are said to: what comes after one is not what comes without it.
    #[test]
    fn every_blow_on_a_write_falls() {
        let drill = moves("0:write");
        let (whole, effects) = run(&drill, None, PLAIN, false);
        let blows = effects.blows();
        assert!(blows.len() > 10, "{blows:?}");
        for blow in blows {
            let (outcome, _) = run(&drill, Some(blow), PLAIN, false);
            assert_eq!(outcome.violation, None, "{blow}");
            assert_ne!(outcome.hash, whole.hash, "{blow}");
        }
    }
}
