//! What is told to operators and to programs as it happens.

use crate::action::{Action, CallId, Event, Handler, News, Severity};
use crate::config::OnIoError;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

impl Resource {
    /// Tells operators something.
    pub(crate) fn note(
        &mut self,
        volume: Option<VolumeIndex>,
        peer: Option<PeerIndex>,
        severity: Severity,
        text: String,
    ) {
        let volume = volume.map(|volume| self.volumes[volume].number);
        let peer = peer.map(|peer| self.connections[peer].config.node_id);
        self.push(Action::Notify(Event {
            volume,
            peer,
            severity,
            handler: None,
            text,
            news: None,
        }));
    }

    /// A disk has failed: tells operators, and their program where they want that.
    pub(crate) fn note_failure(&mut self, volume: VolumeIndex, text: String) {
        let handler = match self.volumes[volume].config.on_io_error {
            OnIoError::Detach | OnIoError::PassOn => None,
            OnIoError::CallLocalIoError => Some(Handler::LocalIoError),
        };
        let (severity, volume) = (Severity::Error, Some(self.volumes[volume].number));
        self.push(Action::Notify(Event {
            volume,
            peer: None,
            severity,
            handler,
            text,
            news: None,
        }));
    }

    /// Tells operators something that they may have a program for.
    pub(crate) fn call(
        &mut self,
        handler: Handler,
        volume: Option<VolumeIndex>,
        peer: PeerIndex,
        severity: Severity,
        text: String,
    ) {
        let volume = volume.map(|volume| self.volumes[volume].number);
        let peer = Some(self.connections[peer].config.node_id);
        let handler = Some(handler);
        self.push(Action::Notify(Event { volume, peer, severity, handler, text, news: None }));
    }

    /// Has a program run whose end is waited for, under the name given back.
    pub(crate) fn call_and_wait(
        &mut self,
        handler: Handler,
        volume: Option<VolumeIndex>,
        peer: PeerIndex,
    ) -> CallId {
        self.next_request += 1;
        let id = CallId(self.next_request);
        let volume = volume.map(|volume| self.volumes[volume].number);
        let peer = self.connections[peer].config.node_id;
        self.push(Action::Call { id, handler, volume, peer });
        id
    }

    /// Tells operators, and programs too.
    pub(crate) fn tell(
        &mut self,
        volume: VolumeIndex,
        peer: PeerIndex,
        severity: Severity,
        text: String,
        news: News,
    ) {
        let volume = Some(self.volumes[volume].number);
        let peer = Some(self.connections[peer].config.node_id);
        let handler = match news {
            News::VerifyDone { found_blocks: 1.., .. } => Some(Handler::OutOfSync),
            News::VerifyDone { found_blocks: 0, .. } | News::BlocksDiffer(_) => None,
        };
        let news = Some(news);
        self.push(Action::Notify(Event { volume, peer, severity, handler, text, news }));
    }
}
