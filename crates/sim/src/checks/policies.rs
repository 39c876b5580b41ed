//! INV-11 where policies are configured: whose changes a connection may give up without asking.
//!
//! The table of DRBD's after-sb-* as an allowance: it says less than the core must know (who was
//! Primary when the nodes parted, how many bits there are), and nothing that the core may not do.

use tandem_wire::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, NodeId, Policies, Role,
    RoleConflict,
};

/// The node that becomes target, and the one that stays.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Its number.
    pub loser: NodeId,
    /// Roles of loser and winner: a Primary that stepped back for it is Secondary by now.
    pub roles: [Role; 2],
    /// The loser replied to writes of its own while apart.
    pub replied: bool,
}

/// Whether both nodes having written apart, the policies may make this one lose.
pub fn may_lose(policies: &Policies, loss: Loss) -> bool {
    let zero = match policies.after_sb_0pri {
        AfterSplitBrain0Pri::Disconnect => false,
        AfterSplitBrain0Pri::DiscardZeroChanges => !loss.replied,
        AfterSplitBrain0Pri::DiscardNode(node) => node == loss.loser,
        AfterSplitBrain0Pri::DiscardYoungerPrimary
        | AfterSplitBrain0Pri::DiscardOlderPrimary
        | AfterSplitBrain0Pri::DiscardLeastChanges => true,
    };
    match loss.roles.map(|role| role == Role::Primary) {
        [false, false] => zero,
        [false, true] => match policies.after_sb_1pri {
            AfterSplitBrain1Pri::DiscardSecondary => true,
            AfterSplitBrain1Pri::Consensus
            | AfterSplitBrain1Pri::CallPriLostAfterSb
            | AfterSplitBrain1Pri::ViolentlyAs0p => zero,
            AfterSplitBrain1Pri::Disconnect => {
                zero && policies.after_sb_2pri == AfterSplitBrain2Pri::CallPriLostAfterSb
            }
        },
        [true, false] => {
            let violent = policies.after_sb_1pri == AfterSplitBrain1Pri::ViolentlyAs0p
                && policies.rr_conflict == RoleConflict::Violently;
            violent && zero
        }
        [true, true] => false,
    }
}
