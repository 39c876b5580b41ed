//! kill -9 of either daemon at random moments under load, again and again.
//!
//! 1. Writers with overlapping requests in flight work on the primary; every write is on record.
//! 2. At a random moment a daemon is killed: that of the primary, of the secondary, or both.
//! 3. A killed primary is replaced by the survivor, or restarted and promoted again. A killed
//!    secondary is restarted while the writers go on; sometimes it is killed again in its resync.
//! 4. What is read back is held against the record: no acknowledged write may be missing, none may
//!    come back. When the nodes are in sync again, both disks are the same.
//!
//! `TANDEM_KILLS` says how many times; the default is for every day. In A the survivor may lack the
//! end of the stream; in B and C it may lack nothing.

use std::sync::Arc;
use std::time::Duration;

use tandem_tests::{
    Audit, Cluster, Load, LoadSpec, Must, Outcome, Random, Result, Side, Spec, ensure,
};

#[test]
fn kills_in_protocol_c() -> Result<()> {
    kills('C', count(10))
}

#[test]
fn kills_in_protocol_b() -> Result<()> {
    kills('B', count(10).div_ceil(4))
}

#[test]
fn kills_in_protocol_a() -> Result<()> {
    kills('A', count(10).div_ceil(4))
}

fn count(default: usize) -> usize {
    let chosen = std::env::var("TANDEM_KILLS").ok().and_then(|kills| kills.parse().ok());
    chosen.unwrap_or(default)
}

fn kills(protocol: char, count: usize) -> Result<()> {
    let test = format!("kills-{protocol}");
    let cluster = Cluster::in_sync(&test, Spec::with_protocol(protocol))?;
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    let random = Random::announced(&test);
    let mut story = Story { cluster, audit, random, protocol, primary: Side::A, acked: 0 };
    for round in 1..=count {
        // Each kind comes up, however few there are.
        let kind = if round <= 4 { round as u64 } else { 1 + story.random.below(5) };
        let told = story.round(kind);
        told.map_err(|failure| {
            let text = format!("{test}, round {round} of {count}, kind {kind}: {failure}");
            tandem_tests::Failure::new(text)
        })?;
    }
    let (acked, kills) = (story.acked, count);
    eprintln!("{test}: {kills} kills, {acked} acknowledged writes, none lost");
    ensure(acked > 100, || format!("only {acked} writes: the faults had nothing to hit"))?;
    story.cluster.finish()
}

struct Story {
    cluster: Cluster,
    audit: Arc<Audit>,
    random: Random,
    protocol: char,
    primary: Side,
    acked: u64,
}

impl Story {
    fn round(&mut self, kind: u64) -> Result<()> {
        let seed = self.random.number();
        let node = self.cluster.node(self.primary);
        let load = Load::start(node, &self.audit, LoadSpec::default(), seed)?;
        self.pause(400);
        ensure(load.is_going(), || "a writer stopped before the fault".to_owned())?;
        let must = match kind {
            1 => self.replace_primary(load)?,
            2 => self.restart_secondary(load, false)?,
            3 => self.restart_primary(load)?,
            4 => self.restart_both(load)?,
            _ => self.restart_secondary(load, true)?,
        };
        let mut client = self.cluster.node(self.primary).client(0)?;
        let verdict = self.audit.judge(&client.read_all()?, must)?;
        self.acked += verdict.acked;
        drop(client);
        self.cluster.wait_in_sync()?;
        self.cluster.assert_same_data()?;
        let mut client = self.cluster.node(self.primary).client(0)?;
        self.audit.judge(&client.read_all()?, Must::Acked)?;
        Ok(())
    }

    /// The survivor is promoted and serves; the other one comes back later.
    fn replace_primary(&mut self, load: Load) -> Result<Must> {
        let lost = self.primary;
        self.cluster.node_mut(lost).kill()?;
        ended(load)?;
        self.primary = lost.peer();
        self.cluster.node(self.primary).adm_ok(&["primary", "r0"])?;
        let must = if self.protocol == 'A' { Must::Prefix } else { Must::Acked };
        let mut client = self.cluster.node(self.primary).client(0)?;
        self.acked += self.audit.judge(&client.read_all()?, must)?.acked;
        drop(client);
        // The new primary writes before and while the other one is back.
        let seed = self.random.number();
        let node = self.cluster.node(self.primary);
        let load = Load::start(node, &self.audit, LoadSpec::default(), seed)?;
        self.pause(200);
        self.cluster.node_mut(lost).start()?;
        self.pause(200);
        load.stop()?;
        Ok(Must::Acked)
    }

    /// The writers go on. `again` kills it once more, likely in its resync.
    fn restart_secondary(&mut self, load: Load, again: bool) -> Result<Must> {
        let secondary = self.primary.peer();
        self.cluster.node_mut(secondary).kill()?;
        self.pause(300);
        self.cluster.node_mut(secondary).start()?;
        if again {
            self.pause(100);
            self.cluster.node_mut(secondary).kill()?;
            self.pause(100);
            self.cluster.node_mut(secondary).start()?;
        }
        self.pause(200);
        load.stop()?;
        Ok(Must::Acked)
    }

    /// Nobody replaces it: it comes back and goes on.
    fn restart_primary(&mut self, load: Load) -> Result<Must> {
        let primary = self.primary;
        self.cluster.node_mut(primary).kill()?;
        ended(load)?;
        self.pause(100);
        self.cluster.node_mut(primary).start()?;
        self.promote()
    }

    /// Both daemons die; no power is lost.
    fn restart_both(&mut self, load: Load) -> Result<Must> {
        let first = if self.random.chance(50) { self.primary } else { self.primary.peer() };
        self.cluster.node_mut(first).kill()?;
        self.cluster.node_mut(first.peer()).kill()?;
        ended(load)?;
        let first = if self.random.chance(50) { self.primary } else { self.primary.peer() };
        self.cluster.node_mut(first).start()?;
        self.pause(50);
        self.cluster.node_mut(first.peer()).start()?;
        self.promote()
    }

    /// Promotes the one that was Primary, once the nodes have agreed who has the data.
    fn promote(&mut self) -> Result<Must> {
        self.cluster.wait_in_sync()?;
        self.cluster.node(self.primary).adm_ok(&["primary", "r0"])?;
        Ok(Must::Acked)
    }

    fn pause(&mut self, millis: u64) {
        std::thread::sleep(Duration::from_millis(self.random.below(millis)));
    }
}

/// The server is gone, and no request was answered with an error.
fn ended(load: Load) -> Result<()> {
    let outcome = load.join()?;
    ensure(matches!(outcome, Outcome::Broken(_)), || "the writers noticed nothing".to_owned())
}
