//! Everything at once, for as long as one likes.
//!
//! 1. A world is a pair with a protocol and disks of its own: plain files, or disks whose cache is
//!    lost with their power, which can fail and hang. Its seed decides.
//! 2. In each round clients write, read, trim, zero and flush on several connections, while links
//!    are cut, stalled one way or both, slowed and corrupted, daemons are killed and stopped, disks
//!    fail, hang and lose power, and an operator gives commands.
//! 3. A round ends with the loss of the primary, of both nodes, a switchover, or nothing. Then all
//!    is mended. What is read is held against the record of every write, as strictly as what
//!    happened allows; both nodes say that they are in sync, and their disks are the same.
//! 4. `status` answers all the time. No daemon panics.
//!
//! `TANDEM_CHAOS_MINUTES` says how long; the default is for every day. A failure prints the seed of
//! its world, which chooses the same things again, though not the same moments.

mod tally;
mod trouble;
mod world;

use std::time::{Duration, Instant};

use tally::Tally;
use tandem_tests::{Failure, Random, Result, ensure};
use world::World;

/// How long a world lasts: its logs stay short.
const WORLD: Duration = Duration::from_secs(60);

#[test]
fn chaos() -> Result<()> {
    let chosen = std::env::var("TANDEM_CHAOS_MINUTES").ok().and_then(|it| it.parse().ok());
    let minutes: f64 = chosen.unwrap_or(0.3);
    let end = Instant::now() + Duration::try_from_secs_f64(minutes * 60.0)?;
    let mut seed = Random::announced("chaos").seed();
    let mut tally = Tally::default();
    loop {
        let told = live(seed, end, &mut tally);
        eprintln!("chaos: {tally}");
        told.map_err(|failure| {
            let again = format!("TANDEM_SEED={seed} make chaos");
            Failure::new(format!("in the world of seed {seed}: {failure}\nagain: {again}"))
        })?;
        if Instant::now() > end {
            break;
        }
        seed = Random::new(seed).number();
    }
    ensure(tally.acked > 100, || format!("only {} writes", tally.acked))
}

fn live(seed: u64, end: Instant, tally: &mut Tally) -> Result<()> {
    let end = end.min(Instant::now() + WORLD);
    let mut world = World::begin(seed, tally)?;
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        round += 1;
        let told = world.round(tally);
        told.map_err(|failure| {
            Failure::new(format!("{world}, round {round}: {failure}\nso far: {}", world.told()))
        })?;
    }
    tally.worlds += 1;
    world.end()
}
