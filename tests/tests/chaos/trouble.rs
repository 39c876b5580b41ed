//! What goes wrong in a round: trouble that the writers live through, and a last fault.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tandem_tests::proxy::Direction;
use tandem_tests::{Must, Result, Side, ensure};

use super::tally::Tally;
use super::world::World;

const BOTH: [Side; 2] = [Side::A, Side::B];

impl World {
    /// One thing goes wrong, and is well again or will be.
    pub(super) fn trouble(&mut self, tally: &mut Tally) -> Result<()> {
        match self.random.below(20) {
            0..5 => self.partition(tally),
            5 | 6 => self.corrupt(tally),
            7 => self.slow(),
            8..12 => self.kill_secondary(tally),
            12 | 13 => self.stop_one(tally),
            14 | 15 => self.secondary_disk(tally),
            _ => self.command(tally),
        }
    }

    /// The last thing that goes wrong; returns what must have outlived it.
    pub(super) fn last_fault(&mut self, tally: &mut Tally) -> Result<Must> {
        let is_volatile = self.disks.is_some();
        match self.random.below(10) {
            0..3 => self.lose_primary(tally),
            3 => self.lose_both(tally),
            4 | 5 if is_volatile => self.power_off(&[self.primary], tally),
            6 if is_volatile => self.power_off(&BOTH, tally),
            7 if is_volatile && self.is_clean => self.primary_disk(tally),
            8 => self.switch_over(tally),
            _ => Ok(Must::Acked),
        }
    }

    /// The link is whole, fast and honest.
    pub(super) fn heal_link(&mut self) -> Result<()> {
        let link = self.cluster.link();
        link.heal();
        link.limit(0);
        link.delay(Duration::ZERO);
        self.packets.as_ref().map_or(Ok(()), |packets| packets.heal())
    }

    fn partition(&mut self, tally: &mut Tally) -> Result<()> {
        self.is_clean = false;
        tally.partitions += 1;
        let ways = match self.random.below(4) {
            0 => vec![Direction::AToB],
            1 => vec![Direction::BToA],
            _ => vec![Direction::AToB, Direction::BToA],
        };
        tally.one_way += u64::from(ways.len() == 1);
        let kind = self.random.below(3);
        let link = self.cluster.link();
        match &self.packets {
            Some(packets) if kind == 0 => {
                for way in &ways {
                    packets.lose(link, *way)?;
                }
            }
            _ if kind == 1 && ways.len() == 2 => link.cut(),
            Some(_) | None => ways.iter().for_each(|way| link.stall(*way)),
        }
        self.tell(format!("partition {kind} {ways:?}"));
        self.pause(2500);
        self.cluster.link().heal();
        self.packets.as_ref().map_or(Ok(()), |packets| packets.heal())
    }

    fn corrupt(&mut self, tally: &mut Tally) -> Result<()> {
        self.is_clean = false;
        for _ in 0..1 + self.random.below(3) {
            tally.corruptions += 1;
            let way = [Direction::AToB, Direction::BToA][usize::from(self.random.chance(50))];
            self.cluster.link().corrupt(way);
            self.tell(format!("corrupted {way:?}"));
            self.pause(200);
        }
        Ok(())
    }

    fn slow(&mut self) -> Result<()> {
        let (rate, delay) = ((1 + self.random.below(20)) << 20, self.random.below(20));
        self.cluster.link().limit(rate);
        self.cluster.link().delay(Duration::from_millis(delay));
        self.tell(format!("slow link, {rate} bytes a second, {delay} ms"));
        Ok(())
    }

    /// The writers go on without it; as often as not it is killed again when it is being synced.
    fn kill_secondary(&mut self, tally: &mut Tally) -> Result<()> {
        let secondary = self.secondary();
        self.is_clean = false;
        self.kill(secondary, tally)?;
        self.pause(500);
        self.cluster.node_mut(secondary).start()?;
        if self.random.chance(60) {
            let until = Instant::now() + Duration::from_secs(2);
            while !self.is_resyncing(secondary)? && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.kill(secondary, tally)?;
            self.pause(200);
            self.cluster.node_mut(secondary).start()?;
        }
        Ok(())
    }

    fn kill(&mut self, side: Side, tally: &mut Tally) -> Result<()> {
        tally.kills += 1;
        let resyncing = self.is_resyncing(side)?;
        tally.kills_in_resync += u64::from(resyncing);
        self.tell(format!("killed {side:?}, resyncing: {resyncing}"));
        self.cluster.node_mut(side).kill()
    }

    /// Nothing happens on a node for some time.
    fn stop_one(&mut self, tally: &mut Tally) -> Result<()> {
        tally.stops += 1;
        self.is_clean = false;
        let side = BOTH[usize::from(self.random.chance(50))];
        self.signal(side, Signal::STOP)?;
        self.tell(format!("stopped {side:?}"));
        self.pause(2500);
        self.signal(side, Signal::CONT)
    }

    /// A daemon with a boot id of its own runs below `unshare`, which becomes it.
    fn signal(&mut self, side: Side, signal: Signal) -> Result<()> {
        self.cluster.node_mut(side).daemon()?.signal(signal)
    }

    /// The secondary's disk fails, hangs, or loses its power.
    fn secondary_disk(&mut self, tally: &mut Tally) -> Result<()> {
        let secondary = self.secondary();
        let Some(disks) = &mut self.disks else { return self.kill_secondary(tally) };
        let disk = &mut disks[secondary as usize];
        self.is_clean = false;
        match self.random.below(3) {
            0 => {
                tally.disk_faults += 1;
                disk.set_failing(true)?;
                self.tell("the secondary's disk failed");
                self.pause(700);
                if let Some(disks) = &self.disks {
                    disks[secondary as usize].set_failing(false)?;
                }
                // It may have had nothing to do and not noticed; then this is refused.
                self.cluster.node(secondary).adm(&["attach", "r0"]).map(drop)
            }
            1 => {
                tally.disk_faults += 1;
                disk.set_hanging(true)?;
                self.tell("the secondary's disk hung");
                self.pause(1500);
                self.disks.as_ref().map_or(Ok(()), |it| it[secondary as usize].set_hanging(false))
            }
            _ => {
                self.power_cut(&[secondary], tally)?;
                self.pause(300);
                self.power_on(secondary)
            }
        }
    }

    /// The survivor takes over where it has everything, else it comes back itself.
    fn lose_primary(&mut self, tally: &mut Tally) -> Result<Must> {
        let lost = self.primary;
        let may_fail_over = self.is_clean && self.random.chance(70);
        self.kill(lost, tally)?;
        if may_fail_over {
            self.primary = lost.peer();
            self.tell("failed over");
            self.cluster.node(self.primary).adm_ok(&["primary", "r0"])?;
            tally.promotions += 1;
            return Ok(if self.protocol == 'A' { Must::Prefix } else { Must::Acked });
        }
        self.pause(300);
        self.cluster.node_mut(lost).start()?;
        Ok(Must::Acked)
    }

    /// Both processes die; no power is lost.
    fn lose_both(&mut self, tally: &mut Tally) -> Result<Must> {
        let first = BOTH[usize::from(self.random.chance(50))];
        self.kill(first, tally)?;
        self.kill(first.peer(), tally)?;
        Ok(Must::Acked)
    }

    /// Nodes lose power and come back.
    fn power_off(&mut self, sides: &[Side], tally: &mut Tally) -> Result<Must> {
        self.power_cut(sides, tally)?;
        self.pause(200);
        for side in sides {
            self.power_on(*side)?;
        }
        // The other node has what the disk has lost, if nothing has happened to it and it had
        // it before the reply.
        let is_saved = sides.len() == 1 && self.is_clean && self.protocol != 'A';
        Ok(if is_saved { Must::Acked } else { Must::Flushed })
    }

    fn power_cut(&mut self, sides: &[Side], tally: &mut Tally) -> Result<()> {
        for side in sides {
            tally.power_losses += 1;
            self.tell(format!("power of {side:?} lost"));
            self.cluster.node_mut(*side).kill()?;
        }
        for side in sides {
            if let Some(disks) = &mut self.disks {
                disks[*side as usize].power_off()?;
            }
        }
        Ok(())
    }

    fn power_on(&mut self, side: Side) -> Result<()> {
        if let Some(disks) = &mut self.disks {
            disks[side as usize].power_on()?;
        }
        let boot_id = self.random.number();
        self.cluster.node_mut(side).reboot(boot_id)?;
        self.cluster.node_mut(side).start()
    }

    /// The primary goes on with the secondary's disk alone.
    fn primary_disk(&mut self, tally: &mut Tally) -> Result<Must> {
        tally.disk_faults += 1;
        let primary = self.primary;
        let Some(disks) = &self.disks else { return Ok(Must::Acked) };
        disks[primary as usize].set_failing(true)?;
        self.tell("the primary's disk failed");
        self.pause(700);
        Ok(Must::Acked)
    }

    /// The roles change places in good order.
    fn switch_over(&mut self, tally: &mut Tally) -> Result<Must> {
        self.end_load()?;
        self.mend(tally)?;
        let (old, new) = (self.primary, self.secondary());
        self.tell("switched over");
        self.cluster.node(old).adm_ok(&["secondary", "r0"])?;
        self.cluster.node(new).adm_ok(&["primary", "r0"])?;
        tally.promotions += 1;
        self.primary = new;
        Ok(Must::Acked)
    }

    /// An operator says something, whatever the state; it may be refused.
    fn command(&mut self, tally: &mut Tally) -> Result<()> {
        tally.commands += 1;
        let side = BOTH[usize::from(self.random.chance(50))];
        let (primary, secondary) = (self.primary, self.secondary());
        let (on, command, undo) = match self.random.below(10) {
            0 => (side, "pause-sync", Some("resume-sync")),
            1 => (side, "verify", None),
            2 => (secondary, "invalidate", None),
            3 => (primary, "invalidate-remote", None),
            4 => (side, "disconnect", Some("connect")),
            5 => (primary, "suspend-io", Some("resume-io")),
            6 => (secondary, "detach", Some("attach")),
            7 => (side, "adjust", None),
            8 => return self.refused_demotion(),
            _ => (side, "outdate", None),
        };
        // Only those leave the secondary as it is.
        self.is_clean &= ["pause-sync", "verify", "suspend-io", "adjust"].contains(&command);
        self.tell(format!("{command} on {on:?}"));
        self.cluster.node(on).adm(&[command, "r0"])?;
        if let Some(undo) = undo {
            self.pause(400);
            self.cluster.node(on).adm(&[undo, "r0"])?;
        }
        Ok(())
    }

    /// Clients are at work.
    fn refused_demotion(&mut self) -> Result<()> {
        self.tell("demotion in use");
        let output = self.cluster.node(self.primary).adm(&["secondary", "r0"])?;
        ensure(output.code != 0, || "a primary in use was demoted".to_owned())
    }
}
