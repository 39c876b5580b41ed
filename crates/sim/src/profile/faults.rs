//! The faults of a run, and how often each is drawn.

use crate::prng::Prng;

macro_rules! weights {
    ($($(#[$doc:meta])* $name:ident = $per_mille:literal,)*) => {
        /// How often each fault is chosen; 0 for never.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct FaultWeights { $($(#[$doc])* pub $name: u64,)* }

        impl FaultWeights {
            /// So many of a thousand runs have it; what none has is drawn apart.
            pub(super) fn draw(prng: &mut Prng) -> Self {
                let mut weight = |on: u64| match on {
                    0 => 0,
                    _ if prng.per_mille(on) => prng.between(1, 10),
                    _ => 0,
                };
                Self { $($name: weight($per_mille),)* }
            }

            /// All of them, to be chosen from.
            pub(super) fn each(&mut self) -> Vec<&mut u64> {
                vec![$(&mut self.$name,)*]
            }
        }
    };
}

weights! {
    /// A process is killed.
    kill = 600,
    /// A process is killed between two of its actions.
    kill_at_action = 600,
    /// A node loses power.
    power = 500,
    /// Both nodes lose power.
    power_both = 200,
    /// Both directions are silent for a while.
    cut = 600,
    /// One direction is silent for a while.
    cut_one_way = 300,
    /// Sessions are reset.
    reset = 500,
    /// A bit is flipped in flight.
    corrupt = 200,
    /// The operator moves the Primary.
    switch = 500,
    /// The operator disconnects, and connects again later.
    disconnect = 300,
    /// The operator invalidates a Secondary's data.
    invalidate = 200,
    /// The operator detaches a Secondary's disk, and attaches it again later.
    detach = 200,
    /// The operator takes a Secondary down, and up again later.
    down = 200,
    /// A process is stopped and goes on later.
    stop = 300,
    /// Directions are silent one by one, and come back in another order.
    swizzle = 200,
    /// A direction has a long way, or little width, for a while.
    slow = 200,
    /// One end of a link is told that it ended, the other is not.
    half_open = 250,
    /// A client dies, and another one asks what it asked.
    kill_client = 400,
    /// The operator suspends I/O, and resumes it later.
    suspend = 300,
    /// The operator detaches the Primary's disk, and attaches it again later.
    detach_primary = 150,
    /// The operator pauses or resumes resyncs.
    pause = 600,
    /// Sectors of a Secondary's disk rot.
    rot = 250,
    /// The operator has a volume verified, or stops that.
    verify = 350,
    /// Any command is given, whatever the states.
    monkey = 150,
    /// A disk fails some operations.
    sicken = 300,
    /// A Secondary's disk is replaced by a new one.
    replace = 0,
    /// Some operations of a disk hang.
    stall = 0,
    /// The operator changes options of one node.
    adjust = 0,
    /// The operator enlarges disks, and has volumes grow.
    grow = 0,
}
