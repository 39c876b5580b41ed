//! What a connection does without asking where both nodes' data went apart, or where a resync runs
//! against the roles: DRBD's after-sb-0pri, after-sb-1pri, after-sb-2pri, always-asbp, rr-conflict.
//!
//! They travel at connect because both nodes must come to the same answer. The node that
//! `discard-local` and `discard-remote` mean travels by its number, so that mirrored settings are
//! equal ones.

use std::fmt;

use crate::types::NodeId;

macro_rules! policies {
    ($(
        $(#[$doc:meta])+
        $type:ident { $($(#[$word_doc:meta])+ $word:ident = $number:literal, $name:literal;)+ }
    )+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[repr(u8)]
            pub enum $type {
                #[default]
                $($(#[$word_doc])+ $word = $number,)+
            }

            impl $type {
                /// All of them, by ascending number.
                pub const ALL: &[Self] = &[$(Self::$word,)+];

                /// The one with this number, if there is one.
                pub fn from_u8(number: u8) -> Option<Self> {
                    match number {
                        $($number => Some(Self::$word),)+
                        _ => None,
                    }
                }

                /// Its name as DRBD spells it.
                pub fn name(self) -> &'static str {
                    match self { $(Self::$word => $name,)+ }
                }
            }
        )+
    };
}

policies! {
    /// Split brain, one Primary.
    AfterSplitBrain1Pri {
        /// Nobody is to lose anything without being asked.
        Disconnect = 0, "disconnect";
        /// What after-sb-0pri says, if it makes the Secondary lose.
        Consensus = 1, "consensus";
        /// The Secondary loses.
        DiscardSecondary = 2, "discard-secondary";
        /// What after-sb-0pri says; a Primary that loses is demoted, if it can be.
        CallPriLostAfterSb = 3, "call-pri-lost-after-sb";
        /// What after-sb-0pri says, also against the Primary.
        ViolentlyAs0p = 4, "violently-as0p";
    }
    /// Split brain, two Primaries.
    AfterSplitBrain2Pri {
        /// Nobody is to lose anything without being asked.
        Disconnect = 0, "disconnect";
        /// What after-sb-0pri says; the Primary that loses is demoted, if it can be.
        CallPriLostAfterSb = 1, "call-pri-lost-after-sb";
        /// What after-sb-0pri says, also against a Primary.
        ViolentlyAs0p = 2, "violently-as0p";
    }
    /// A node that should become target is Primary and has data of its own.
    RoleConflict {
        /// Stay apart until somebody acts.
        Disconnect = 0, "disconnect";
        /// As `Disconnect`, and the handler pri-lost is called.
        CallPriLost = 1, "call-pri-lost";
        /// Go on: its clients see their data change.
        Violently = 2, "violently";
        /// Try again, until the roles have changed.
        RetryConnect = 3, "retry-connect";
        /// Where only the end of a lost session is at stake: the Primary is source instead.
        AutoDiscard = 4, "auto-discard";
    }
}

/// Split brain, no Primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AfterSplitBrain0Pri {
    /// Nobody is to lose anything without being asked.
    #[default]
    Disconnect,
    /// Who became Primary after the nodes had parted loses.
    DiscardYoungerPrimary,
    /// Who was Primary when they parted loses.
    DiscardOlderPrimary,
    /// Who has changed nothing loses.
    DiscardZeroChanges,
    /// Who has changed fewer blocks loses.
    DiscardLeastChanges,
    /// This node loses.
    DiscardNode(NodeId),
}

impl AfterSplitBrain0Pri {
    const DISCARD_NODE: u8 = 0x80;

    /// Those that name no node, by ascending number.
    pub const PLAIN: &[Self] = &[
        Self::Disconnect,
        Self::DiscardYoungerPrimary,
        Self::DiscardOlderPrimary,
        Self::DiscardZeroChanges,
        Self::DiscardLeastChanges,
    ];

    /// Its number on the link.
    pub fn to_u8(self) -> u8 {
        match self {
            Self::Disconnect => 0,
            Self::DiscardYoungerPrimary => 1,
            Self::DiscardOlderPrimary => 2,
            Self::DiscardZeroChanges => 3,
            Self::DiscardLeastChanges => 4,
            Self::DiscardNode(node) => Self::DISCARD_NODE | node.0,
        }
    }

    /// The one with this number, if there is one.
    pub fn from_u8(number: u8) -> Option<Self> {
        if let Some(plain) = Self::PLAIN.get(usize::from(number)) {
            return Some(*plain);
        }
        let node = NodeId(number & !Self::DISCARD_NODE);
        let names_node = number & Self::DISCARD_NODE != 0 && node.0 < NodeId::COUNT_MAX;
        names_node.then_some(Self::DiscardNode(node))
    }
}

impl fmt::Display for AfterSplitBrain0Pri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnect => f.write_str("disconnect"),
            Self::DiscardYoungerPrimary => f.write_str("discard-younger-primary"),
            Self::DiscardOlderPrimary => f.write_str("discard-older-primary"),
            Self::DiscardZeroChanges => f.write_str("discard-zero-changes"),
            Self::DiscardLeastChanges => f.write_str("discard-least-changes"),
            Self::DiscardNode(node) => write!(f, "discard-node-{node}"),
        }
    }
}

/// All of a connection's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Split brain, no Primary; equal on both sides.
    pub after_sb_0pri: AfterSplitBrain0Pri,
    /// Split brain, one Primary; equal on both sides.
    pub after_sb_1pri: AfterSplitBrain1Pri,
    /// Split brain, two Primaries; equal on both sides.
    pub after_sb_2pri: AfterSplitBrain2Pri,
    /// The three also where only the histories have met, if both sides say so; then everything is
    /// copied.
    pub always_asbp: bool,
    /// The one of the node that should become target counts.
    pub rr_conflict: RoleConflict,
}

impl Policies {
    /// The first setting that must be equal on both sides and is not, with both values.
    pub fn difference(&self, theirs: &Self) -> Option<(&'static str, String, String)> {
        let all = [
            ("after-sb-0pri", self.after_sb_0pri.to_string(), theirs.after_sb_0pri.to_string()),
            (
                "after-sb-1pri",
                self.after_sb_1pri.name().to_owned(),
                theirs.after_sb_1pri.name().to_owned(),
            ),
            (
                "after-sb-2pri",
                self.after_sb_2pri.name().to_owned(),
                theirs.after_sb_2pri.name().to_owned(),
            ),
        ];
        all.into_iter().find(|(_, ours, theirs)| ours != theirs)
    }
}
