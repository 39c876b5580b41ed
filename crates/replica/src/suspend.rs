//! Why the application's I/O is frozen, and what waits for its going on.
//!
//! A reason is a fact that is looked at when it matters, not a switch that somebody must turn back:
//! `user` lasts from `suspend-io` to `resume-io`, `no-data` for as long as this Primary reaches no
//! UpToDate copy of some volume (`on-no-data-accessible suspend-io`), `fencing` for as long as a
//! lost peer may go on by itself.
//!
//! While any reason holds, new requests wait as they came, in their order; clients bound how many.
//! `user` lets what is in flight end, so that it ends in a consistent point. Every other reason
//! also keeps back the answers to what is in flight: whether they may be given, and what a write
//! has to be told apart from, is known only when the reason is gone. A frozen node makes no new
//! generation.

use std::collections::VecDeque;

use bytes::Bytes;
use tandem_wire::Role;

use crate::action::{Action, ClientId, CommandId, Cookie, Request};
use crate::config::OnNoData;
use crate::error::{CommandError, RequestError};
use crate::limits::COMMANDS_MAX;
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::status::Suspended;
use crate::write::{Leg, Stage};

/// What operators said, and what waits.
#[derive(Debug, Default)]
pub(crate) struct Suspension {
    /// `suspend-io` was said; the commands wait until nothing is in flight.
    user: Option<Vec<CommandId>>,
    /// `resume-io` was said while no data were accessible: until they are, errors are answered.
    answers_errors: bool,
    /// Requests that came in meanwhile.
    held: VecDeque<Request>,
    /// Answers that are ready.
    answers: VecDeque<Answer>,
    /// Something in flight has come as far as it can.
    withheld: bool,
}

/// The answer to a request.
#[derive(Debug)]
struct Answer {
    client: ClientId,
    cookie: Cookie,
    result: Result<Option<Bytes>, RequestError>,
}

impl Suspension {
    /// Whether `suspend-io` waits for what is in flight.
    pub(crate) fn is_suspending(&self) -> bool {
        self.user.as_ref().is_some_and(|commands| !commands.is_empty())
    }
}

impl Resource {
    /// All reasons that hold why the application's I/O is frozen.
    pub fn suspended(&self) -> Suspended {
        Suspended {
            user: self.suspension.user.is_some(),
            no_data: self.lacks_data(),
            fencing: self.lacks_fence(),
            quorum: false,
        }
    }

    /// Whether new requests wait.
    pub(crate) fn is_suspended(&self) -> bool {
        self.role == Role::Primary && (self.suspension.user.is_some() || self.holds_answers())
    }

    /// Whether also what is in flight gets no answer.
    pub(crate) fn holds_answers(&self) -> bool {
        self.lacks_data() || self.lacks_fence()
    }

    /// Whether nothing of the application moves any more. Once the operator was told so it stays,
    /// though a write that waits may still read what it fills its blocks up with.
    pub(crate) fn is_frozen(&self) -> bool {
        let was_told = self.suspension.user.as_ref().is_some_and(Vec::is_empty);
        self.holds_answers() || (self.is_suspended() && (was_told || self.is_settled_io()))
    }

    fn lacks_data(&self) -> bool {
        self.role == Role::Primary
            && self.waits_for_data()
            && self.volume_indexes().any(|volume| !self.has_data(volume))
    }

    /// Whether requests wait for data instead of getting errors.
    pub(crate) fn waits_for_data(&self) -> bool {
        match self.config.on_no_data {
            // While I/O is frozen for a fence nothing is answered, errors neither (rule 7).
            OnNoData::IoError => !self.suspension.answers_errors && self.lacks_fence(),
            OnNoData::SuspendIo => !self.suspension.answers_errors,
        }
    }

    /// Whether a request that found no good copy is to be tried again when there is one. A disk
    /// that has failed in the present input is as good as gone.
    pub(crate) fn tries_again(&self, client: ClientId, volume: VolumeIndex) -> bool {
        let gone = !self.has_data(volume) || self.volumes[volume].failure.is_some();
        gone && self.waits_for_data() && self.clients.contains_key(&client)
    }

    /// Takes a request that must wait.
    pub(crate) fn hold_request(&mut self, request: Request) {
        self.suspension.held.push_back(request);
    }

    /// Takes a flush that is to be carried out again: it comes before all that came later.
    pub(crate) fn hold_again(&mut self, request: Request) {
        self.suspension.held.push_front(request);
        self.unsettled = true;
    }

    /// Whether requests wait that came earlier.
    pub(crate) fn has_held(&self) -> bool {
        !self.suspension.held.is_empty()
    }

    /// Answers a request as soon as answers may be given.
    pub(crate) fn answer(
        &mut self,
        client: ClientId,
        cookie: Cookie,
        result: Result<Option<Bytes>, RequestError>,
    ) {
        if self.holds_answers() && self.clients.contains_key(&client) {
            self.suspension.withheld = true;
            return self.suspension.answers.push_back(Answer { client, cookie, result });
        }
        self.push(Action::Reply { client, cookie, result });
    }

    /// Whether a write or flush that has ended may be answered. `apart`: a peer that was lost may
    /// not have it, so that a new generation comes first. To a client that is gone nothing is
    /// promised: what it left behind ends without one.
    pub(crate) fn may_answer(
        &mut self,
        client: ClientId,
        volume: VolumeIndex,
        apart: bool,
    ) -> bool {
        if self.holds_answers() {
            let awaited = self.clients.contains_key(&client);
            self.suspension.withheld |= awaited;
            return !awaited;
        }
        if apart {
            self.rotate_generation(volume);
        }
        !self.volumes[volume].is_rotating()
    }

    /// Looks again at what could not be answered.
    pub(crate) fn let_answers_go(&mut self) {
        self.suspension.withheld = true;
        self.unsettled = true;
    }

    /// A client is gone: nobody waits for its requests.
    pub(crate) fn forget_held(&mut self, client: ClientId) {
        self.suspension.held.retain(|request| request.client != client);
        self.suspension.answers.retain(|answer| answer.client != client);
    }

    /// Lets everything go on for which there is no reason to wait.
    pub(crate) fn advance_suspension(&mut self) {
        if self.suspension.answers_errors
            && self.volume_indexes().all(|volume| self.has_data(volume))
        {
            self.suspension.answers_errors = false;
        }
        if std::mem::take(&mut self.suspension.withheld) {
            self.settle_withheld();
            self.suspension.withheld |= !self.suspension.answers.is_empty();
        }
        if self.is_suspended() {
            self.forget_gated();
        }
        while !self.is_suspended()
            && let Some(request) = self.suspension.held.pop_front()
        {
            self.carry_out_request(request);
        }
        self.end_suspending();
    }

    fn settle_withheld(&mut self) {
        if !self.holds_answers() {
            for Answer { client, cookie, result } in std::mem::take(&mut self.suspension.answers) {
                self.push(Action::Reply { client, cookie, result });
            }
        }
        self.part_from_fenced();
        for volume in self.volume_indexes() {
            self.rotate_where_different(volume);
            self.generation_settled(volume);
            self.flushes_generation_settled(volume);
        }
    }

    /// Writes at the gate whose client is gone: they were never begun.
    fn forget_gated(&mut self) {
        let Self { gated, writes, clients, .. } = self;
        let mut forgotten = Vec::new();
        gated.retain(|key| {
            let write = writes.get(*key).expect("the gate holds live writes");
            let is_awaited = clients.contains_key(&write.client);
            if !is_awaited {
                forgotten.push(*key);
            }
            is_awaited
        });
        for key in forgotten {
            self.abandon_write(key, RequestError::Io);
        }
    }

    /// `suspend-io` ends when nothing is in flight. Where no data are accessible that may be never,
    /// and what waits for them would go on in the middle of the suspension.
    fn end_suspending(&mut self) {
        if !self.suspension.is_suspending() {
            return;
        }
        if self.holds_answers() {
            for command in self.suspension.user.take().unwrap_or_default() {
                let text = if self.lacks_data() {
                    "I/O is frozen already and cannot come to an end: no UpToDate data are \
                     accessible; attach a disk or connect a peer that has them first"
                } else {
                    "I/O is frozen already and cannot come to an end: the lost peer is not fenced; \
                     fence or connect it first"
                };
                self.done(command, Err(CommandError::Refused(text.to_owned())));
            }
        } else if self.is_settled_io() {
            let commands = std::mem::take(self.suspension.user.as_mut().expect("just seen"));
            for command in commands {
                self.done(command, Ok(()));
            }
        }
    }

    /// Whether everything of the application that was begun has ended, but for its answer.
    fn is_settled_io(&self) -> bool {
        let held = self.holds_answers();
        let writes = self.writes.iter().all(|(_, write)| match write.stage {
            Stage::Preparing | Stage::Covering | Stage::Gated | Stage::Replied => true,
            Stage::InFlight => held && write.local != Leg::Pending && write.awaiting.is_empty(),
        });
        let rotating = self.volumes.iter().any(|volume| volume.is_rotating());
        writes && !rotating && self.reads_are_settled(held) && self.flushes_are_settled(held)
    }

    pub(crate) fn begin_suspend(&mut self, id: CommandId) -> Result<(), CommandError> {
        if self.suspension.user.as_ref().is_some_and(Vec::is_empty) {
            self.done(id, Ok(())); // it is frozen, whatever else has come to hold it
            return Ok(());
        }
        let commands = self.suspension.user.get_or_insert_default();
        if commands.len() >= COMMANDS_MAX {
            return Err(CommandError::Concurrent);
        }
        commands.push(id);
        self.unsettled = true;
        Ok(())
    }

    /// The operator wants answers, whatever they are.
    pub(crate) fn begin_resume(&mut self, id: CommandId) {
        self.suspension.answers_errors = self.lacks_data();
        self.waive_fences();
        for command in self.suspension.user.take().unwrap_or_default() {
            let text = "resume-io was said before everything in flight had ended";
            self.done(command, Err(CommandError::Refused(text.to_owned())));
        }
        self.suspension.withheld = true;
        self.unsettled = true;
        self.done(id, Ok(()));
    }
}
