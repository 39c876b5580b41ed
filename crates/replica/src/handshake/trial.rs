//! What connecting would come to, and none of it done (DRBD's `connect --tentative`).
//!
//! The node takes the peer's report and gives none of its own. To the peer it is a link that broke
//! before there was anything to decide, which it bears at any time. Of what precedes a report here
//! nothing is done either: no flush, no forgotten fence. Whether the sizes fit is not looked at,
//! for disks would be measured.

use crate::action::CommandId;
use crate::connection::Link;
use crate::decision::{self, Decision, Extent, Side};
use crate::error::CommandError;
use crate::peers::PeerIndex;
use crate::resource::Resource;

use super::PeerReport;

impl Resource {
    pub(crate) fn begin_trial(
        &mut self,
        command: CommandId,
        peer: PeerIndex,
        discard_my_data: bool,
    ) -> Result<(), CommandError> {
        let connection = &self.connections[peer];
        if !matches!(connection.link, Link::StandAlone) {
            let name = &connection.config.name;
            let text = format!("the connection to {name} is not StandAlone: 'disconnect' it first");
            return Err(CommandError::Refused(text));
        }
        self.begin_connect(command, peer, discard_my_data)?;
        self.connections[peer].on_trial = true;
        Ok(())
    }

    /// The peer's report is there: says what would follow, and leaves.
    pub(super) fn end_trial(&mut self, peer: PeerIndex, report: &PeerReport) {
        let settings = report.settings.expect("the report is complete");
        let found = self.incompatible(peer, &settings).unwrap_or_else(|| {
            let mine: Vec<Side> = self.volume_indexes().map(|v| self.side(peer, v)).collect();
            let theirs = self.take_report(peer, report, &settings);
            self.foresee(&mine, &theirs)
        });
        let name = &self.connections[peer].config.name;
        let text = format!("only tried (tentative); connected to {name}, {found}");
        self.drop_to_standalone(peer, &text);
    }

    /// There is no report in time. Where the peer only tries as well, neither gives one.
    pub(crate) fn give_up_trial(&mut self, peer: PeerIndex) {
        let name = &self.connections[peer].config.name;
        let text = format!(
            "only tried (tentative); {name} is there, and has not told of its data in time: its \
             disk may hang, or it only tries, too"
        );
        self.drop_to_standalone(peer, &text);
    }

    /// What both reports lead to, in words.
    fn foresee(&self, mine: &[Side], theirs: &[Side]) -> String {
        let settlement = decision::settle(mine, theirs);
        let volumes = self.volumes.iter().zip(&settlement.verdicts).zip(mine.iter().zip(theirs));
        let lines = volumes.map(|((volume, verdict), (mine, theirs))| {
            let blocks = mine.uuids.dirty_blocks + theirs.uuids.dirty_blocks;
            let what = describe(verdict.decision, blocks);
            format!("volume {}: {what} (rule {})", volume.number, verdict.rule.name())
        });
        let demoted = settlement.demote.then(|| "this node would be demoted".to_owned());
        lines.chain(demoted).collect::<Vec<_>>().join("; ")
    }
}

fn describe(decision: Decision, blocks: u64) -> String {
    let (target, extent) = match decision {
        Decision::NoSync => return "nothing would be copied".to_owned(),
        Decision::SplitBrain => return "it would be a split brain".to_owned(),
        Decision::Unrelated => return "their data have nothing in common".to_owned(),
        Decision::Refuse(reason) | Decision::Retry(reason) => {
            return format!("it would be refused: {reason}");
        }
        Decision::Source(extent) => ("the peer", extent),
        Decision::Target(extent) => ("this node", extent),
    };
    match extent {
        Extent::Full => format!("everything would be copied to {target}"),
        Extent::Bits => format!("at most {blocks} blocks of 4 KiB would be copied to {target}"),
    }
}
