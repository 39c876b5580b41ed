//! The world of one seed: clock, two nodes, the network, clients, the operator, faults and
//! checkers.
//!
//! `run` takes events off the clock until the run is over: first both nodes are set up and synced,
//! then faults and load for the time asked, then faults stop, links heal, dead nodes start, and
//! everything must come back to the healthy state within a bounded time. The first broken invariant
//! ends it.

use tandem_replica::Instant;

use crate::checks::Violation;
use crate::checks::differences::Differences;
use crate::checks::progress::Progress;
use crate::client::Clients;
use crate::clock::{Clock, MILLIS, SECONDS};
use crate::drill::Drill;
use crate::event::Event;
use crate::fault::{Doom, FaultCounts};
use crate::link::SimLink;
use crate::marks::Marks;
use crate::model::Model;
use crate::node::Node;
use crate::operator::Operator;
use crate::operator::by_hand::ByHand;
use crate::prng::Prng;
use crate::profile::Profile;
use crate::script::Script;
use crate::stamp::BLOCK_SECTORS;
use crate::trace::Trace;
use crate::verify::Verifies;

/// What is asked of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Simulated seconds of load and faults.
    pub seconds: u64,
    /// Print the timeline.
    pub trace: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first broken invariant, and when in nanoseconds.
    pub violation: Option<(u64, Violation)>,
    /// Hash of all events.
    pub hash: u64,
    /// Events that happened.
    pub events: u64,
    /// Simulated nanoseconds.
    pub simulated: u64,
    /// Requests of clients.
    pub requests: u64,
    /// Faults injected.
    pub faults: FaultCounts,
    /// Situations met.
    pub marks: Marks,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Until the first sync is done.
    Setup,
    /// Load and faults.
    Load,
    /// No new faults, no new requests; back to health.
    Heal,
    /// Over.
    Done,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// The parameters.
    pub profile: Profile,
    /// Time and what is to come.
    pub clock: Clock<Event>,
    /// The nodes.
    pub nodes: [Node; 2],
    /// The network between them.
    pub link: SimLink,
    /// The clients.
    pub clients: Clients,
    /// The operator.
    pub operator: Operator,
    /// What must be true.
    pub model: Model,
    /// By volume: where the images of the nodes differ.
    pub differences: Vec<Differences>,
    /// How far resyncs are.
    pub progress: Progress,
    /// When bytes of the link were last on their way for longer than usual.
    pub slow_at: u64,
    /// What online verifies have found.
    pub verifies: Verifies,
    /// The timeline.
    pub trace: Trace,
    /// What is recorded or played, if anything.
    pub script: Script,
    /// The moves that are made instead of load and faults, if any.
    pub drill: Option<Drill>,
    /// Faults injected.
    pub faults: FaultCounts,
    /// Situations met.
    pub marks: Marks,
    /// Chance for everything that has none of its own.
    pub prng: Prng,
    /// Where the run stands.
    pub phase: Phase,
    /// When the phase ends, or must have ended.
    pub phase_end: u64,
    /// A node that is to die between two actions.
    pub doomed: Option<Doom>,
    /// Timer events since time last went on, for live-locks.
    pub spinning: (u64, u64),
    /// By volume and node: what it asked for last in the running resync.
    pub cursors: [[Option<u64>; 2]; 2],
    /// Since when bits are left though both nodes call the volume good.
    pub forgotten_since: Option<u64>,
    options: Options,
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Outcome {
    run_scripted(seed, options, Script::default())
}

/// Records the run of a seed, or plays it with steps left out.
pub fn run_scripted(seed: u64, options: Options, script: Script) -> Outcome {
    World { script, ..World::new(seed, options) }.run()
}

impl World {
    /// The world of a seed at its beginning.
    pub fn new(seed: u64, options: Options) -> Self {
        let mut prng = Prng::new(seed);
        let mut profile = Profile::draw(&mut prng.fork(1));
        profile.by_hand = ByHand::of(seed);
        profile.dwell(seed);
        Self::of(profile, prng, options)
    }

    /// A world with these parameters at its beginning.
    pub fn of(profile: Profile, mut prng: Prng, options: Options) -> Self {
        let sectors: Vec<usize> = (profile.volume_blocks.iter())
            .map(|blocks| usize::try_from(*blocks).expect("small") * BLOCK_SECTORS)
            .collect();
        Self {
            clock: Clock::new(),
            nodes: [0, 1].map(|index| Node::new(index, &profile, prng.fork(2 + index as u64))),
            link: SimLink::new(profile.link, prng.fork(4)),
            clients: Clients::new(&profile, prng.fork(5)),
            operator: Operator::default(),
            model: Model::new(profile.protocol, &sectors).with_policies(profile.net.policies),
            differences: sectors.iter().map(|count| Differences::new(*count)).collect(),
            progress: Progress::new(&profile),
            slow_at: 0,
            verifies: Verifies::default(),
            trace: Trace::new(options.trace),
            script: Script::default(),
            drill: None,
            faults: FaultCounts::default(),
            marks: Marks::default(),
            cursors: [[None; 2]; 2],
            forgotten_since: None,
            prng: prng.fork(6),
            phase: Phase::Setup,
            phase_end: profile.patience(),
            doomed: None,
            spinning: (0, 0),
            profile,
            options,
        }
    }

    /// Lets everything happen.
    pub fn run(&mut self) -> Outcome {
        self.trace.line(0, None, format_args!("{:?}", self.profile));
        let violation = self.live().err();
        let now = self.clock.now();
        crate::failure::at(now);
        if let Some(violation) = &violation {
            self.trace.line(now, None, format_args!("BROKEN {violation}"));
        }
        Outcome {
            violation: violation.map(|violation| (now, violation)),
            hash: self.trace.hash(),
            events: self.clock.count(),
            simulated: now,
            requests: self.clients.requests,
            faults: self.faults,
            marks: std::mem::take(&mut self.marks),
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        for node in [0, 1] {
            let delay = self.prng.below(50 * MILLIS);
            self.clock.after(delay, Event::Start { node });
        }
        self.clock.after(100 * MILLIS, Event::Operator);
        self.clock.after(SECONDS, Event::Sample);
        while self.phase != Phase::Done {
            let event = self.clock.pop().expect("the operator never rests");
            crate::failure::at(self.clock.now());
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        if self.defer(event) {
            return Ok(());
        }
        match event {
            Event::Timer { node, life, at } => self.on_timer(node, life, at),
            Event::Disk { node, life, volume, generation, token, key } => {
                if self.nodes[node].life != life {
                    return Ok(());
                }
                self.on_disk(node, volume, generation, token, key)
            }
            Event::Opened { node, life, volume, generation } => {
                if self.nodes[node].life != life {
                    return Ok(());
                }
                self.on_opened(node, volume, generation)
            }
            Event::Measured { node, life, volume, generation } => {
                if self.nodes[node].life != life {
                    return Ok(());
                }
                self.on_measured(node, volume, generation)
            }
            Event::Arrive { session, from } => self.on_arrive(session, from),
            Event::Dial { node, life, attempt } => self.on_dial(node, life, attempt),
            Event::DialFailed { node, life, attempt } => self.on_dial_failed(node, life, attempt),
            Event::Up { session, node, life, peer_discards } => {
                self.on_up(session, node, life, peer_discards)
            }
            Event::Client { client } => self.on_client(client),
            Event::Operator => self.on_operator(),
            Event::Fault => self.on_fault(),
            Event::Cross(other) => self.on_cross(other),
            Event::Heal { from, cut } => {
                self.on_heal(from, cut);
                Ok(())
            }
            Event::Start { node } => self.on_start(node),
            Event::Sample => self.on_sample(),
            Event::Continue { node, life } => {
                if self.nodes[node].life == life {
                    self.wake(node);
                }
                Ok(())
            }
            Event::Ease { from } => {
                self.link.ease(from);
                Ok(())
            }
            Event::Late { node, life } => self.on_late(node, life),
            Event::Fence { caller } => self.on_fence(caller),
            Event::Fenced { caller, exit_code } => self.on_fenced(caller, exit_code),
            Event::Permitted { caller, exit_code } => self.on_permitted(caller, exit_code),
        }
    }

    /// The present as the core takes it.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.now())
    }

    /// A line in the timeline.
    pub fn tell(&self, node: Option<usize>, text: std::fmt::Arguments<'_>) {
        self.trace.line(self.clock.now(), node, text);
    }

    /// The next phase begins.
    pub fn enter(&mut self, phase: Phase) {
        self.tell(None, format_args!("== {phase:?}"));
        self.phase = phase;
        match phase {
            Phase::Setup | Phase::Done => {}
            Phase::Load if self.drill.is_some() => {
                self.trust_fences();
                self.phase_end = u64::MAX;
            }
            Phase::Load => {
                self.trust_fences();
                self.wear_out();
                self.phase_end = self.clock.now() + self.options.seconds * SECONDS;
                let pause = self.prng.between(1, self.profile.fault_pause * 2);
                self.clock.after(pause, Event::Fault);
                for client in 0..self.clients.slots.len() {
                    self.clock.after(self.prng.below(100 * MILLIS), Event::Client { client });
                }
            }
            Phase::Heal => {
                // What was sent slowly before goes on to arrive slowly: a large reply for minutes.
                let healed = self.clock.now().max(self.link.slow_until());
                self.phase_end = healed + self.profile.patience();
                self.operator.calm();
                self.cure();
                self.doomed = None;
                for from in [0, 1] {
                    self.link.ease(from);
                    self.wake(from);
                    self.link.heal(from, &mut self.clock);
                }
            }
        }
    }
}
