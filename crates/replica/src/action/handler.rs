//! Programs that operators have run at an event.

/// Names a handler whose end the core waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

macro_rules! handlers {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// DRBD's names for programs that operators have run at an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Handler { $($(#[$doc])+ $variant,)+ }

        impl Handler {
            /// Its name in the configuration.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

handlers! {
    /// A split brain was found, whether or not a policy settles it.
    InitialSplitBrain = "initial-split-brain",
    /// A split brain that only an operator can settle.
    SplitBrain = "split-brain",
    /// A Primary has the older data, and the connection waits for that to change.
    PriLost = "pri-lost",
    /// A Primary should lose its changes by a policy, and cannot be demoted.
    PriLostAfterSb = "pri-lost-after-sb",
    /// The peer is to be put out of the way. Its exit code is the answer.
    FencePeer = "fence-peer",
    /// What was done for that can be taken back.
    UnfencePeer = "unfence-peer",
    /// This node is about to be target of a resync. An exit code other than 0 forbids it.
    BeforeResyncTarget = "before-resync-target",
    /// This node was target of a resync that is done.
    AfterResyncTarget = "after-resync-target",
    /// An online verify has found blocks that differ.
    OutOfSync = "out-of-sync",
    /// A backing disk has failed and was given up (`on-io-error call-local-io-error`).
    LocalIoError = "local-io-error",
}
