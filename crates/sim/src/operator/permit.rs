//! What stands behind `before-resync-target`: a program with delays that forbids a resync, or does
//! not end in time, at times.

use tandem_replica::{CallId, Handler};

use super::fence::Caller;
use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::event::Event;
use crate::marks::Mark;
use crate::world::{Phase, World};

impl World {
    /// A node asks whether it may be target of a resync.
    pub(crate) fn ask_permit(&mut self, node: usize, call: CallId) {
        let caller = self.caller(node, call);
        let profile = self.profile.permits[node];
        self.marks.hit(Mark::PermitAsked);
        self.marks.hit_if(self.nodes[node].session.is_some(), Mark::PermitAskedBehind);
        // Where all is to become well, programs work.
        let is_troubled = self.phase == Phase::Load;
        let hangs = self.prng.per_mille(profile.hangs) && is_troubled;
        let refuses = self.prng.per_mille(profile.refuses) && is_troubled;
        let (delay, exit_code) = match (hangs, refuses) {
            (true, _) => (20 * SECONDS, None),
            (false, true) => (self.prng.log_between(MILLIS, profile.delay_max), Some(1)),
            (false, false) => (self.prng.log_between(MILLIS, profile.delay_max), Some(0)),
        };
        self.clock.after(delay, Event::Permitted { caller, exit_code });
    }

    /// The program has ended.
    pub(crate) fn on_permitted(
        &mut self,
        caller: Caller,
        exit_code: Option<i32>,
    ) -> Result<(), Violation> {
        if self.is_gone(caller) {
            return Ok(());
        }
        self.marks.hit(match exit_code {
            Some(0) => Mark::PermitGranted,
            Some(_) => Mark::PermitRefused,
            None => Mark::PermitSilent,
        });
        self.answer_call(caller, Handler::BeforeResyncTarget, exit_code)
    }
}
