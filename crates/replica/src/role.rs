//! Promotion and demotion.
//!
//! A promotion needs good data, no other Primary, and every connected peer's vote; that this node
//! is Primary is durable before its first request is served. A demotion is the other way round:
//! nothing in flight, everything durable on this node and acked by the peers, then the mark is
//! cleared. A node that finds the mark at attach has crashed as Primary.

use tandem_wire::RequestId;

use crate::action::{CommandId, Initial};
use crate::peers::{PeerSet, VolumeIndex};
use crate::resource::Resource;
use crate::store::Ticket;
use crate::time::Instant;

mod data;
mod demotion;
mod promotion;

/// A change of role under way.
#[derive(Debug)]
pub(crate) enum RoleChange {
    Promoting {
        command: CommandId,
        aim: Aim,
        step: Promotion,
    },
    /// Without a command it is part of `down`.
    Demoting {
        command: Option<CommandId>,
        step: Demotion,
    },
}

/// What a promotion is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// To be Primary; by force with whatever data are here.
    Primary { force: bool },
    /// To have good data of a volume where nobody has any, and stay Secondary: what a promotion by
    /// force does on its way, with the same consent.
    Data { volume: VolumeIndex, initial: Initial },
}

impl Aim {
    pub(crate) fn is_forced(self) -> bool {
        match self {
            Self::Primary { force } => force,
            Self::Data { .. } => false,
        }
    }
}

/// How far a promotion has come.
#[derive(Debug)]
pub(crate) enum Promotion {
    /// A Primary peer may be vanishing, or a handshake is under way.
    Waiting { until: Instant },
    /// A peer without a session is being fenced.
    Fencing,
    /// Votes are out.
    Voting { id: RequestId, awaiting: PeerSet, until: Instant },
    /// The mark is being made durable.
    Saving(Vec<(VolumeIndex, Ticket)>),
}

/// How far a demotion has come.
#[derive(Debug)]
pub(crate) enum Demotion {
    /// Requests end, peers ack.
    Draining,
    /// Disks are flushed.
    Flushing { left: usize },
    /// The mark is being cleared.
    Saving(Vec<(VolumeIndex, Ticket)>),
}

impl Resource {
    /// Whether a handshake may report this node's role.
    pub(crate) fn role_is_settled(&self) -> bool {
        !matches!(
            self.role_change,
            Some(RoleChange::Promoting {
                step: Promotion::Voting { .. } | Promotion::Saving(_),
                ..
            })
        )
    }

    /// Notes this node's role for the case that a session ends in it: where both nodes go on alone,
    /// a policy may ask who was Primary then. A session that has recorded nothing yet says nothing
    /// of that. A peer that is away may be Primary itself, for other clients.
    fn mark_sessions(&mut self, volume: VolumeIndex, is_primary: bool) {
        for peer in self.peer_indexes() {
            let takes_part = self.connections[peer].has_decided();
            let Some(attached) = self.volumes[volume].attached_mut() else { continue };
            let flags = &mut attached.store.peer_mut(peer).flags;
            if takes_part {
                flags.was_primary = is_primary;
            } else {
                flags.went_on = true; // it is Primary without the peer, or was until now
            }
        }
    }

    /// Takes a change of role on as far as it goes.
    pub(crate) fn advance_role(&mut self) {
        match &self.role_change {
            None => {}
            Some(RoleChange::Promoting { step, .. }) => match step {
                Promotion::Waiting { until } => self.try_promotion(*until),
                Promotion::Fencing => self.advance_promotion_fencing(),
                Promotion::Voting { awaiting, .. } if awaiting.is_empty() => self.votes_in(),
                Promotion::Voting { until, .. } if *until <= self.now => self.votes_overdue(),
                Promotion::Saving(tickets) if self.all_durable(tickets) => self.marks_durable(),
                Promotion::Voting { .. } | Promotion::Saving(_) => {}
            },
            Some(RoleChange::Demoting { step, .. }) => match step {
                Demotion::Draining => self.try_demotion(),
                Demotion::Saving(tickets) if self.all_durable(tickets) => self.demoted(),
                Demotion::Flushing { .. } | Demotion::Saving(_) => {}
            },
        }
    }

    pub(crate) fn all_durable(&self, tickets: &[(VolumeIndex, Ticket)]) -> bool {
        tickets.iter().all(|(volume, ticket)| {
            !self.volumes[*volume].is_attached() || self.is_durable(*volume, *ticket)
        })
    }

    /// When a change of role wants to be looked at.
    pub(crate) fn role_deadline(&self) -> Option<Instant> {
        match &self.role_change {
            Some(RoleChange::Promoting {
                step: Promotion::Waiting { until } | Promotion::Voting { until, .. },
                ..
            }) => Some(*until),
            Some(RoleChange::Promoting {
                step: Promotion::Fencing | Promotion::Saving(_), ..
            })
            | Some(RoleChange::Demoting { .. })
            | None => None,
        }
    }
}
