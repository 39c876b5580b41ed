//! All volumes of a connection, and what its policies say where both nodes wrote apart: DRBD's
//! after-sb-0pri, after-sb-1pri, after-sb-2pri and always-asbp.
//!
//! Writes of all volumes have one order, so one node loses in all of them: a policy that names the
//! loser has the effect of `--discard-my-data` on it, for every volume. Whoever of the operators
//! said that himself has decided before any policy is asked.

use std::fmt;

use tandem_wire::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, NodeId, Policies, Role,
};

use crate::limits::BLOCK_BYTES;

use super::{
    Decision, Refusal, Rule, Side, Verdict, compare, decide, has_disk, is_whole, may_have_gone_on,
};

/// What is to be done with every volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// By volume, as this node sees it.
    pub verdicts: Vec<Verdict>,
    /// Both wrote apart.
    pub split_brain: Option<SplitBrain>,
    /// This node, a Primary, is demoted before it loses its changes.
    pub demote: bool,
    /// This node, a Primary, should lose its changes and cannot be demoted.
    pub primary_lost: bool,
}

/// What is known of a split brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitBrain {
    /// First volume that has one, by its place among the volumes.
    pub volume: usize,
    /// How the generations of that volume showed it.
    pub rule: Rule,
    /// This node.
    pub mine: Party,
    /// The peer.
    pub peer: Party,
    /// Who loses, and who said so.
    pub settled: Settled,
    /// The policy that was asked, if one could be.
    pub policy: Option<Policy>,
}

/// One of the two in a split brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Blocks of 4 KiB that it changed since, over all volumes.
    pub blocks: u64,
    /// It was Primary when the nodes parted.
    pub was_primary: bool,
}

/// Whether and how a split brain was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was not: somebody must decide.
    No,
    /// One operator said `--discard-my-data`.
    Manually,
    /// By the policy.
    ByPolicy,
}

/// A policy, at the number of Primaries that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// after-sb-0pri.
    NoPrimary(AfterSplitBrain0Pri),
    /// after-sb-1pri.
    OnePrimary(AfterSplitBrain1Pri),
    /// after-sb-2pri.
    TwoPrimaries(AfterSplitBrain2Pri),
}

impl Party {
    /// What it changed, in bytes.
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(u64::from(BLOCK_BYTES))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks of 4 KiB ({} bytes)", self.blocks, self.bytes())
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrimary(policy) => write!(f, "after-sb-0pri {policy}"),
            Self::OnePrimary(policy) => write!(f, "after-sb-1pri {}", policy.name()),
            Self::TwoPrimaries(policy) => write!(f, "after-sb-2pri {}", policy.name()),
        }
    }
}

/// What is to be done with the volumes that both sides describe, in the same order.
///
/// # Panics
/// Where the two describe different numbers of volumes, which the handshake refuses.
pub fn settle(mine: &[Side], peer: &[Side]) -> Settlement {
    assert_eq!(mine.len(), peer.len(), "the handshake compares the numbers of volumes");
    let mut verdicts = decide_each(mine, peer);
    refuse_parts(mine, peer, &mut verdicts);
    let mut settlement =
        Settlement { verdicts, split_brain: None, demote: false, primary_lost: false };
    let is_split = |verdict: &Verdict| is_split_rule(verdict.rule);
    let Some(volume) = settlement.verdicts.iter().position(is_split) else {
        return settlement;
    };
    let parties = parties(mine, peer, &settlement.verdicts);
    let rule = settlement.verdicts[volume].rule;
    let open = settlement.verdicts.iter().any(|it| it.decision == Decision::SplitBrain);
    let mut split_brain = SplitBrain {
        volume,
        rule,
        mine: parties.mine,
        peer: parties.peer,
        settled: if open { Settled::No } else { Settled::Manually },
        policy: None,
    };
    if open && mine[volume].policies.difference(&peer[volume].policies).is_none() {
        ask_policy(mine, peer, &parties, &mut split_brain, &mut settlement);
    }
    settlement.split_brain = Some(split_brain);
    settlement
}

fn decide_each(mine: &[Side], peer: &[Side]) -> Vec<Verdict> {
    let mut verdicts: Vec<_> =
        mine.iter().zip(peer).map(|(mine, peer)| decide(mine, peer)).collect();
    find_crossed(mine, peer, &mut verdicts);
    verdicts
}

/// Writes of all volumes have one order. Where each side went on alone as Primary and has the newer
/// data of some volume by that, one wrote here and the other there: a split brain, though no volume
/// shows it. A Secondary may have newer data of a volume whose disk its Primary has lost; and a
/// disk that was away tells of times that have been settled since, so only a newer one is asked.
fn find_crossed(mine: &[Side], peer: &[Side], verdicts: &mut [Verdict]) {
    let by_generation = [
        Rule::BitmapSelf,
        Rule::BitmapPeer,
        Rule::HistorySelf,
        Rule::HistoryPeer,
        Rule::NothingNew,
    ];
    let is_newer = |at: &usize| {
        let Verdict { rule, reverted, .. } = verdicts[*at];
        by_generation.contains(&rule) && !reverted && is_whole(&mine[*at]) && is_whole(&peer[*at])
    };
    // Where the older one is Primary it is not copied; who has the newer data is the same.
    let is_against_roles = |decision: Decision| {
        matches!(
            decision,
            Decision::Refuse(Refusal::TargetIsPrimary | Refusal::TwoPrimaries)
                | Decision::Retry(Refusal::TargetIsPrimary)
        )
    };
    let direction = |at: usize| match verdicts[at].decision {
        decision if is_against_roles(decision) => compare(&mine[at], &peer[at]).0,
        decision => decision,
    };
    let newer: Vec<usize> = (0..verdicts.len()).filter(is_newer).collect();
    let mine_wrote = newer
        .iter()
        .any(|at| matches!(direction(*at), Decision::Source(_)) && may_have_gone_on(&mine[*at]));
    let peer_wrote = newer
        .iter()
        .any(|at| matches!(direction(*at), Decision::Target(_)) && may_have_gone_on(&peer[*at]));
    if mine_wrote && peer_wrote {
        let (decision, rule) = (Decision::SplitBrain, Rule::VolumesCrossed);
        for at in newer {
            verdicts[at] = Verdict { decision, rule, reverted: false };
        }
    }
}

/// Who gives its data up gives up all of them: where it has the only whole image of another volume,
/// or the only disk, the two would be of different times.
fn refuse_parts(mine: &[Side], peer: &[Side], verdicts: &mut [Verdict]) {
    let discards = |sides: &[Side]| sides.iter().any(|side| side.discard_my_data);
    let mine_loses = match (discards(mine), discards(peer)) {
        (true, false) => true,
        (false, true) => false,
        (true, true) | (false, false) => return,
    };
    let source = |it: &Verdict| matches!(it.decision, Decision::Source(_));
    let target = |it: &Verdict| matches!(it.decision, Decision::Target(_));
    let is_from_loser = |it: &Verdict| if mine_loses { source(it) } else { target(it) };
    let (losers, winners) = if mine_loses { (mine, peer) } else { (peer, mine) };
    let mut pairs = losers.iter().zip(winners);
    let is_only_disk = pairs.any(|(loser, winner)| is_whole(loser) && !has_disk(winner));
    let is_lost = |it: &Verdict| it.discards() && if mine_loses { target(it) } else { source(it) };
    if is_only_disk || verdicts.iter().any(is_from_loser) {
        for verdict in verdicts.iter_mut().filter(|verdict| is_lost(verdict)) {
            verdict.decision = Decision::Refuse(Refusal::DiscardsInPart);
        }
    }
}

impl Verdict {
    /// Whether what is lost is not older, but given up by an operator or a policy.
    pub(crate) fn discards(&self) -> bool {
        self.reverted || is_split_rule(self.rule)
    }
}

fn is_split_rule(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::BitmapCrossed | Rule::BitmapBoth | Rule::HistoryBoth | Rule::VolumesCrossed
    )
}

/// Whether the bits of both sides tell what each has changed since they were equal.
fn has_counts(rule: Rule) -> bool {
    !matches!(
        rule,
        Rule::BitmapCrossed
            | Rule::HistoryBoth
            | Rule::HistoryPeer
            | Rule::HistorySelf
            | Rule::VolumesCrossed
    )
}

/// The two of them, and what the policies look at beside.
#[derive(Debug)]
struct Parties {
    mine: Party,
    peer: Party,
    roles: [Role; 2],
    nodes: [NodeId; 2],
    in_use: [bool; 2],
    policies: Policies,
    /// Their bits start at one generation: they tell what each has changed.
    counts: bool,
    /// Both say that policies are to be asked where bits tell nothing.
    always: bool,
}

fn parties(mine: &[Side], peer: &[Side], verdicts: &[Verdict]) -> Parties {
    let party = |sides: &[Side]| Party {
        blocks: sides.iter().map(|it| it.uuids.dirty_blocks).fold(0, u64::saturating_add),
        was_primary: sides.iter().any(|it| it.uuids.flags.was_primary),
    };
    let (a, b) = (&mine[0], &peer[0]);
    Parties {
        mine: party(mine),
        peer: party(peer),
        roles: [a.role, b.role],
        nodes: [a.node_id, b.node_id],
        in_use: [a.in_use, b.in_use],
        policies: a.policies,
        counts: verdicts.iter().all(|it| has_counts(it.rule)),
        always: a.policies.always_asbp && b.policies.always_asbp,
    }
}

/// Who loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loser {
    Mine,
    Peer,
}

fn ask_policy(
    mine: &[Side],
    peer: &[Side],
    parties: &Parties,
    split_brain: &mut SplitBrain,
    settlement: &mut Settlement,
) {
    if !parties.counts && !parties.always {
        return;
    }
    let (policy, loser) = parties.ask();
    split_brain.policy = Some(policy);
    let Some(loser) = loser else { return };
    let (index, is_mine) = match loser {
        Loser::Mine => (0, true),
        Loser::Peer => (1, false),
    };
    let demotes = parties.roles[index] == Role::Primary && policy.demotes();
    if demotes && parties.in_use[index] {
        settlement.primary_lost = is_mine;
        return;
    }
    let lose = |sides: &[Side], loses: bool| -> Vec<Side> {
        let role = |side: &Side| if loses && demotes { Role::Secondary } else { side.role };
        let changed = sides.iter();
        changed.map(|it| Side { discard_my_data: loses, role: role(it), ..*it }).collect()
    };
    let (mine, peer) = (lose(mine, is_mine), lose(peer, !is_mine));
    let mut verdicts = decide_each(&mine, &peer);
    refuse_parts(&mine, &peer, &mut verdicts);
    let is_settled = |verdict: &Verdict| {
        matches!(verdict.decision, Decision::NoSync | Decision::Source(_) | Decision::Target(_))
    };
    if !verdicts.iter().all(is_settled) {
        return; // the winner has no whole image, or a Primary is not to be touched
    }
    settlement.demote = demotes && is_mine;
    settlement.verdicts = verdicts;
    split_brain.settled = Settled::ByPolicy;
}

impl Policy {
    /// Whether a Primary that loses by it is demoted.
    fn demotes(self) -> bool {
        matches!(
            self,
            Self::OnePrimary(AfterSplitBrain1Pri::CallPriLostAfterSb)
                | Self::TwoPrimaries(AfterSplitBrain2Pri::CallPriLostAfterSb)
        )
    }
}

impl Parties {
    /// The policy for as many Primaries as there are, and whom it makes lose.
    fn ask(&self) -> (Policy, Option<Loser>) {
        let Policies { after_sb_0pri, after_sb_1pri, after_sb_2pri, .. } = self.policies;
        let secondary = match self.roles.map(|role| role == Role::Primary) {
            [false, false] => return (Policy::NoPrimary(after_sb_0pri), self.without_primary()),
            [true, true] => {
                let loser = match after_sb_2pri {
                    AfterSplitBrain2Pri::Disconnect => None,
                    AfterSplitBrain2Pri::CallPriLostAfterSb
                    | AfterSplitBrain2Pri::ViolentlyAs0p => self.without_primary(),
                };
                return (Policy::TwoPrimaries(after_sb_2pri), loser);
            }
            [true, false] => Loser::Peer,
            [false, true] => Loser::Mine,
        };
        let loser = match after_sb_1pri {
            AfterSplitBrain1Pri::Disconnect => None,
            AfterSplitBrain1Pri::Consensus => {
                self.without_primary().filter(|loser| *loser == secondary)
            }
            AfterSplitBrain1Pri::DiscardSecondary => Some(secondary),
            AfterSplitBrain1Pri::CallPriLostAfterSb | AfterSplitBrain1Pri::ViolentlyAs0p => {
                self.without_primary()
            }
        };
        (Policy::OnePrimary(after_sb_1pri), loser)
    }

    /// What after-sb-0pri says, whatever the roles.
    fn without_primary(&self) -> Option<Loser> {
        let was_primary = [self.mine.was_primary, self.peer.was_primary];
        match self.policies.after_sb_0pri {
            AfterSplitBrain0Pri::Disconnect => None,
            AfterSplitBrain0Pri::DiscardYoungerPrimary => match was_primary {
                [true, false] => Some(Loser::Peer),
                [false, true] => Some(Loser::Mine),
                [true, true] | [false, false] => self.by_changes(),
            },
            AfterSplitBrain0Pri::DiscardOlderPrimary => match was_primary {
                [true, false] => Some(Loser::Mine),
                [false, true] => Some(Loser::Peer),
                [true, true] | [false, false] => self.by_changes(),
            },
            AfterSplitBrain0Pri::DiscardZeroChanges => self.zero_changes(),
            AfterSplitBrain0Pri::DiscardLeastChanges => Some(self.least_changes()),
            AfterSplitBrain0Pri::DiscardNode(node) => match self.nodes.map(|it| it == node) {
                [true, _] => Some(Loser::Mine),
                [false, true] => Some(Loser::Peer),
                [false, false] => None,
            },
        }
    }

    fn by_changes(&self) -> Option<Loser> {
        Some(self.zero_changes().unwrap_or_else(|| self.least_changes()))
    }

    /// Bits that do not tell what a side has changed do not tell either that it is nothing.
    fn zero_changes(&self) -> Option<Loser> {
        if !self.counts {
            return None;
        }
        match (self.mine.blocks == 0, self.peer.blocks == 0) {
            (true, true) => Some(self.either()),
            (true, false) => Some(Loser::Mine),
            (false, true) => Some(Loser::Peer),
            (false, false) => None,
        }
    }

    fn least_changes(&self) -> Loser {
        match self.mine.blocks.cmp(&self.peer.blocks) {
            std::cmp::Ordering::Less => Loser::Mine,
            std::cmp::Ordering::Greater => Loser::Peer,
            std::cmp::Ordering::Equal => self.either(),
        }
    }

    /// Where nothing else tells them apart: the higher node id loses.
    fn either(&self) -> Loser {
        if self.nodes[0] > self.nodes[1] { Loser::Mine } else { Loser::Peer }
    }
}
