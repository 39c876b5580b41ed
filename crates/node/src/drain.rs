//! The one way out of the core: carries its actions out until there are no more.
//!
//! Called after every input. An action that is over at once (a merge, an operation on a disk that
//! is closed) is fed back here; everything else ends in a completion of the ring or in mail.

use tandem_replica::wire::NodeId;
use tandem_replica::{Action, Instant, LinkSession};

use crate::control::handlers::Occasion;
use crate::mail::{Errand, ResourceKey};
use crate::opener;
use crate::shard::Shard;

/// Carries out what `resource` wants done, and tells those who watch it what has come of it.
pub(crate) fn drain(shard: &mut Shard, resource: usize, now: Instant) {
    while let Some(action) = shard.resource_mut(resource).and_then(|it| it.core.poll_action()) {
        carry_out(shard, resource, action, now);
    }
    if let Some(hosted) = shard.resource_mut(resource) {
        hosted.watched.look(&hosted.core, now);
    }
}

fn carry_out(shard: &mut Shard, resource: usize, action: Action, now: Instant) {
    let key = ResourceKey(resource);
    let Some(hosted) = shard.resources.get_mut(resource).and_then(Option::as_deref_mut) else {
        unreachable!("the action came from this resource");
    };
    match action {
        Action::Disk(op) => {
            let disk = hosted.disk(op.volume);
            if let Some(finished) = shard.operations.start(&mut shard.io, resource, disk, op) {
                shard.feed_disk(finished, now);
            }
        }
        Action::OpenDisk { volume, generation } => {
            let paths = hosted.paths(volume).expect("who attaches has named the disk");
            opener::spawn(&shard.mailbox, key, generation, paths.clone());
        }
        Action::MeasureDisk { volume, generation } => {
            opener::measure(&shard.mailbox, key, volume, generation, hosted.files(volume));
        }
        Action::CloseDisk { volume, generation } => {
            if let Some(disk) = hosted.remove_disk(volume, generation) {
                disk.unregister(&mut shard.io);
            }
        }
        Action::Send { peer, session, packet } => {
            let Some(link) = link_of(shard, resource, peer, session) else { return };
            if let Some(entry) = shard.links.get_mut(link) {
                entry.send(packet);
                shard.links_to_serve.push(link);
            }
        }
        Action::Connect { peer } => {
            let errand = Errand::Connect { shard: shard.number, resource: key, peer };
            // Without a control thread the daemon is ending.
            let _ = shard.errands.send(errand);
        }
        Action::Disconnect { peer, session } => {
            if let Some(link) = link_of(shard, resource, peer, session) {
                shard.part_with_link(link, now);
            }
        }
        Action::Reply { client, cookie, result } => shard.reply(client, cookie, result),
        Action::CloseClient { client } => shard.close_client_unanswered(client, now),
        Action::CommandDone { id, result } => {
            if let Some(result) = hosted.end_command(id, result) {
                shard.role_changed(resource, result, now);
            }
        }
        Action::Call { id, handler, volume, peer } => {
            let occasion = Occasion { handler, volume, peer: Some(peer), call: Some(id) };
            run_handler(shard, key, occasion);
        }
        Action::Notify(event) => {
            hosted.log(&event);
            if let Some(handler) = event.handler {
                let (volume, peer) = (event.volume, event.peer);
                run_handler(shard, key, Occasion { handler, volume, peer, call: None });
            }
        }
        Action::Resyncing { volume, resyncing } => {
            let shard_number = shard.number;
            let errand =
                Errand::Resyncing { shard: shard_number, resource: key, volume, resyncing };
            let _ = shard.errands.send(errand);
        }
    }
}

/// Has the control thread run an operator's program; without one the daemon is ending.
fn run_handler(shard: &Shard, resource: ResourceKey, occasion: Occasion) {
    let _ = shard.errands.send(Errand::Handle { shard: shard.number, resource, occasion });
}

/// The present link to a peer, if it is of this session.
fn link_of(
    shard: &mut Shard,
    resource: usize,
    peer: NodeId,
    session: LinkSession,
) -> Option<usize> {
    let link = shard.resource_mut(resource)?.link(peer)?;
    (shard.links.get(link)?.session == session).then_some(link)
}
