//! Faults: what is done to the world while it is under load, and how often.

use crate::checks::Violation;
use crate::checks::prefix::Boundary;
use crate::clock::{MILLIS, SECONDS};
use crate::event::Event;
use crate::link::Slowness;
use crate::marks::Mark;
use crate::steps::Kind;
use crate::world::{Phase, World};

/// Faults injected, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Processes killed.
    pub kills: u64,
    /// Nodes that lost power.
    pub power_losses: u64,
    /// Directions cut.
    pub cuts: u64,
    /// Sessions reset.
    pub resets: u64,
    /// Bits flipped in flight.
    pub flips: u64,
    /// Commands of the operator that change something.
    pub commands: u64,
    /// Operations of disks that failed.
    pub disk_errors: u64,
    /// Disks replaced by new ones.
    pub replaced: u64,
    /// Blocks of metadata damaged.
    pub damaged: u64,
    /// Looks at what crashes had left different.
    pub crashes_checked: u64,
    /// Split brains seen on both nodes.
    pub split_brains: u64,
    /// Times a node was told that a policy has settled a split brain.
    pub settled: u64,
    /// Times that I/O was frozen by the operator.
    pub suspended: u64,
    /// Times that it was because no data were accessible.
    pub no_data: u64,
}

impl FaultCounts {
    /// All together.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.cuts += other.cuts;
        self.resets += other.resets;
        self.flips += other.flips;
        self.commands += other.commands;
        self.disk_errors += other.disk_errors;
        self.replaced += other.replaced;
        self.damaged += other.damaged;
        self.crashes_checked += other.crashes_checked;
        self.split_brains += other.split_brains;
        self.settled += other.settled;
        self.suspended += other.suspended;
        self.no_data += other.no_data;
    }
}

/// A node that is to die.
#[derive(Clone, Copy, Debug)]
pub struct Doom {
    /// Which.
    pub node: usize,
    /// After so many more of its actions.
    pub actions: u64,
    /// With its power, or by a kill; as it comes where nothing is said.
    pub power: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    KillAtAction,
    Power,
    PowerBoth,
    Cut,
    CutOneWay,
    Reset,
    Corrupt,
    Switch,
    Disconnect,
    Invalidate,
    Detach,
    Down,
    Stop,
    Swizzle,
    Delay,
    Narrow,
    HalfOpen,
    KillClient,
    Suspend,
    DetachPrimary,
    Pause,
    Rot,
    Verify,
    Monkey,
    Sicken,
    Replace,
    Stall,
    Adjust,
    Grow,
}

impl World {
    /// The next fault is due.
    pub(crate) fn on_fault(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Load {
            return Ok(());
        }
        let is_carried_out = self.script.begins(Kind::Fault, &mut self.prng);
        let burst = self.profile.draw_burst(&mut self.prng);
        let pause = burst.unwrap_or_else(|| self.prng.between(1, self.profile.fault_pause * 2));
        self.clock.after(pause, Event::Fault);
        let Some(fault) = self.draw_fault() else { return Ok(()) };
        let node = self.prng.index(2);
        if !is_carried_out {
            return Ok(());
        }
        self.script.note(self.clock.now(), None, format_args!("{fault:?}, at {node} if one"));
        self.carry_out_fault(fault, node)?;
        self.script.ends();
        Ok(())
    }

    fn carry_out_fault(&mut self, fault: Fault, node: usize) -> Result<(), Violation> {
        self.marks.fault(format!("{fault:?}"));
        self.tell(None, format_args!("** {fault:?} (node {node} if one)"));
        match fault {
            Fault::Kill => self.crash(node, false)?,
            Fault::KillAtAction => {
                let actions = self.prng.between(1, 300);
                self.doomed = Some(Doom { node, actions, power: None });
            }
            Fault::Power => self.crash(node, true)?,
            Fault::PowerBoth => {
                self.crash(node, true)?;
                self.crash(1 - node, true)?;
            }
            Fault::Cut => self.cut(&[0, 1]),
            Fault::CutOneWay => self.cut(&[node]),
            Fault::Reset => {
                self.faults.resets += 1;
                self.link.reset(&mut self.clock);
            }
            Fault::Corrupt => self.faults.flips += u64::from(self.link.corrupt()),
            Fault::Switch => self.plan_switch()?,
            Fault::Disconnect => self.plan_disconnect(node)?,
            Fault::Invalidate => self.plan_invalidate()?,
            Fault::Detach => self.plan_detach()?,
            Fault::Down => self.plan_down()?,
            Fault::Stop => {
                let length = self.prng.log_between(MILLIS, 600 * SECONDS);
                self.stop(node, length);
            }
            Fault::Swizzle => self.swizzle(),
            Fault::Delay => {
                let delay = self.prng.log_between(MILLIS, 5 * SECONDS);
                self.slow_down(node, Slowness { delay, factor: 1 });
            }
            Fault::Narrow => {
                let factor = self.prng.log_between(10, 1000);
                self.slow_down(node, Slowness { delay: 0, factor });
            }
            Fault::HalfOpen => {
                self.marks.hit(Mark::LinkHalfOpen);
                self.link.reset_one_end(node, &mut self.clock);
            }
            Fault::KillClient => self.kill_client()?,
            Fault::Suspend => self.plan_suspend(node)?,
            Fault::DetachPrimary => self.plan_detach_primary()?,
            Fault::Pause => self.plan_pause(node)?,
            Fault::Rot => self.rot(),
            Fault::Verify => self.plan_verify(node)?,
            Fault::Monkey => self.plan_monkey(node)?,
            Fault::Sicken => self.sicken(node),
            Fault::Replace => self.plan_replace()?,
            Fault::Stall => self.stall(node),
            Fault::Adjust => self.plan_adjust(node)?,
            Fault::Grow => self.plan_grow(node)?,
        }
        Ok(())
    }

    fn draw_fault(&mut self) -> Option<Fault> {
        let weights = self.profile.faults;
        let table = [
            (weights.kill, Fault::Kill),
            (weights.kill_at_action, Fault::KillAtAction),
            (weights.power, Fault::Power),
            (weights.power_both, Fault::PowerBoth),
            (weights.cut, Fault::Cut),
            (weights.cut_one_way, Fault::CutOneWay),
            (weights.reset, Fault::Reset),
            (weights.corrupt, Fault::Corrupt),
            (weights.switch, Fault::Switch),
            (weights.disconnect, Fault::Disconnect),
            (weights.invalidate, Fault::Invalidate),
            (weights.detach, Fault::Detach),
            (weights.down, Fault::Down),
            (weights.stop, Fault::Stop),
            (weights.swizzle, Fault::Swizzle),
            (weights.slow, Fault::Delay),
            (weights.slow, Fault::Narrow),
            (weights.half_open, Fault::HalfOpen),
            (weights.kill_client, Fault::KillClient),
            (weights.suspend, Fault::Suspend),
            (weights.detach_primary, Fault::DetachPrimary),
            (weights.pause, Fault::Pause),
            (weights.rot, Fault::Rot),
            (weights.verify, Fault::Verify),
            (weights.monkey, Fault::Monkey),
            (weights.sicken, Fault::Sicken),
            (weights.replace, Fault::Replace),
            (weights.stall, Fault::Stall),
            (weights.adjust, Fault::Adjust),
            (weights.grow, Fault::Grow),
        ];
        let total = table.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut at = self.prng.below(total);
        for (weight, fault) in table {
            if at < weight {
                return Some(fault);
            }
            at -= weight;
        }
        None
    }

    fn cut(&mut self, directions: &[usize]) {
        let length = self.prng.log_between(20 * MILLIS, 10 * SECONDS);
        for from in directions {
            self.faults.cuts += 1;
            let cut = self.operator.next_cut(*from);
            self.link.cut(*from);
            self.clock.after(length, Event::Heal { from: *from, cut });
        }
    }

    /// Directions are cut one by one and come back in an order of their own, several times.
    fn swizzle(&mut self) {
        for _ in 0..self.prng.between(1, 4) {
            let from = self.prng.index(2);
            self.cut(&[from]);
            if self.prng.per_mille(500) {
                let way = Slowness { delay: self.prng.below(500 * MILLIS), factor: 1 };
                self.slow_down(1 - from, way);
            }
        }
    }

    fn slow_down(&mut self, from: usize, slowness: Slowness) {
        let length = self.prng.log_between(100 * MILLIS, 20 * SECONDS);
        self.link.slow_down(from, slowness);
        self.clock.after(length, Event::Ease { from });
    }

    /// A cut ends, unless a later one has replaced it.
    pub(crate) fn on_heal(&mut self, from: usize, cut: u64) {
        if self.operator.is_last_cut(from, cut) {
            self.tell(None, format_args!("** what {from} sends arrives again"));
            self.link.heal(from, &mut self.clock);
        }
    }

    /// Whether the node was to be killed at this very action; then it is.
    pub(crate) fn doom_strikes(&mut self, node: usize) -> Result<bool, Violation> {
        let Some(doom) = self.doomed.as_mut().filter(|doom| doom.node == node) else {
            return Ok(false);
        };
        if doom.actions > 0 {
            doom.actions -= 1;
            return Ok(false);
        }
        let power = doom.power;
        self.doomed = None;
        let power =
            power.unwrap_or_else(|| self.profile.faults.power > 0 && self.prng.per_mille(300));
        self.crash(node, power)?;
        Ok(true)
    }

    /// Metadata are damaged at rest. What there are two copies of always in the same one: the other
    /// one is what it must be recovered from.
    fn damage_metadata(&mut self, node: usize) {
        let Some(copy) = self.profile.log.damaged else { return };
        let target = &mut self.nodes[node];
        for disk in &mut target.disks {
            if target.prng.per_mille(500) {
                crate::format::damage_log(disk, &self.profile, node, copy, &mut target.prng);
                self.faults.damaged += 1;
            }
            if self.profile.damages_more && target.prng.per_mille(300) {
                crate::format::damage_more(disk, &self.profile, node, copy, &mut target.prng);
                self.faults.damaged += 1;
            }
        }
    }

    /// A process dies, by a kill or with the power of its node; it will start again.
    pub(crate) fn crash(&mut self, node: usize, power: bool) -> Result<(), Violation> {
        if self.nodes[node].resource.is_none() {
            return Ok(());
        }
        let word = if power { "loses power" } else { "is killed" };
        self.tell(Some(node), format_args!("{word}"));
        self.saw_crash(node, power);
        self.saw_crash_while_growing();
        self.operator.saw_crash(node, power, &self.nodes);
        if power {
            for volume in 0..self.nodes[node].disks.len() {
                self.check_stable(node, volume)?;
            }
            self.check_order(node, Boundary::Flush)?;
        }
        self.fences_saw_death(node);
        self.forget_lost_caches(node);
        let target = &mut self.nodes[node];
        target.stop();
        for disk in &mut target.disks {
            if power {
                disk.power_loss(&mut target.prng);
            } else {
                disk.kill(&mut target.prng);
            }
        }
        self.damage_metadata(node);
        let target = &mut self.nodes[node];
        if power {
            target.reboot();
            self.faults.power_losses += 1;
        } else {
            self.faults.kills += 1;
        }
        if let Some((_, key)) = self.nodes[node].session.take() {
            self.link.close(key, node, power, &mut self.clock);
        }
        self.clients.drop_node(node);
        let longest = if power { 8 * SECONDS } else { 3 * SECONDS };
        let delay = self.prng.log_between(5 * MILLIS, longest);
        self.clock.after(delay, Event::Start { node });
        self.crashed(node, power)
    }
}
