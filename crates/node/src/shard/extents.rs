//! What clients want to know of ranges: where space is taken, and what peers lack.
//!
//! Bitmaps are in memory and are looked at right away; what the file system knows is found out on a
//! thread of its own, see [`crate::survey`]. Of a range whose data are not read from the disk here,
//! nothing is said but that there are data.

use tandem_nbd::wire::bitmap::DIRTY;
use tandem_nbd::{ContextKind, Extent};
use tandem_replica::wire::{ByteRange, VolumeNumber};
use tandem_replica::{ClientId, Cookie};

use super::Shard;
use crate::export::Question;
use crate::hosted::Hosted;

impl Shard {
    /// Answers a client's questions, or has them looked into.
    pub(super) fn answer_questions(&mut self, key: usize, questions: &[Question]) {
        for question in questions {
            let Some(entry) = self.clients.get(key) else { return };
            let (resource, volume) = (entry.resource, entry.volume);
            let peer = match question.kind {
                ContextKind::Allocation => None,
                ContextKind::OutOfSync { peer } => {
                    let client = entry.client.as_ref();
                    client.map(|client| client.peer_name(peer).to_owned())
                }
            };
            let mailbox = self.mailbox.clone();
            let Some(hosted) = self.resource_mut(resource) else { return };
            let extents = match peer {
                Some(peer) => out_of_sync(hosted, volume, &peer, question),
                None if hosted.survey(&mailbox, volume, question) => continue,
                None => vec![Extent { len: u64::from(question.range.len), flags: 0 }],
            };
            self.tell_extents(question.client, (question.cookie, extents));
        }
    }

    /// The answer to a question; nobody hears it where the client is gone.
    pub(super) fn tell_extents(&mut self, id: ClientId, answer: (Cookie, Vec<Extent>)) {
        let (cookie, extents) = answer;
        let Some(key) = self.client_key(id) else { return };
        let client = self.clients.get_mut(key).and_then(|entry| entry.client.as_mut());
        if let Some(client) = client.filter(|client| !client.is_closed()) {
            client.tell(&mut self.budget, cookie, extents);
            self.clients_to_serve.push(key);
        }
    }
}

/// Blocks that a peer lacks; all, where there is no disk here whose bitmap could say.
fn out_of_sync(
    hosted: &Hosted,
    volume: VolumeNumber,
    peer: &str,
    question: &Question,
) -> Vec<Extent> {
    let ByteRange { offset, len } = question.range;
    let end = offset + u64::from(len);
    let peers = &hosted.core.config().peers;
    let peer = peers.iter().find(|other| other.name == peer);
    let (Some(peer), Some(_)) = (peer, hosted.disk(volume)) else {
        return vec![Extent { len: end - offset, flags: DIRTY }];
    };
    let count_max = if question.one { 1 } else { EXTENTS_MAX };
    let mut extents = Vec::new();
    let mut at = offset;
    while at < end && extents.len() < count_max {
        let max_blocks = (end - at).div_ceil(BLOCK_BYTES) + 1;
        let next = hosted.core.next_out_of_sync(volume, peer.node_id, at / BLOCK_BYTES, max_blocks);
        let (start, stop) = next.map_or((end, end), |run| {
            ((run.start * BLOCK_BYTES).clamp(at, end), (run.end * BLOCK_BYTES).min(end))
        });
        extents.push(Extent { len: start - at, flags: 0 });
        extents.push(Extent { len: stop - start, flags: DIRTY });
        at = stop;
    }
    extents
}

/// What a bit of a bitmap stands for.
const BLOCK_BYTES: u64 = 4096;

/// No more are told.
pub(crate) const EXTENTS_MAX: usize = tandem_nbd::limits::EXTENTS_MAX as usize;
