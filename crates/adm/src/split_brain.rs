//! `split-brain show` and `split-brain resolve`: what each node would lose, and ending it.
//!
//! Nobody loses anything by asking. It is ended on the node that loses what only it has; the other
//! one takes the connection that such a node asks for.

use std::fmt::Write as _;

use tandem_control::admin::Request;
use tandem_control::exit;
use tandem_control::names::{ConnectionState, Role};
use tandem_control::status::{ConnectionStatus, Divergence, ResourceStatus, SyncState};

use crate::cli::{Arguments, SplitBrain};
use crate::handler;
use crate::object::{Object, PEER};
use crate::output::{self, Failure};
use crate::plan::Step;
use crate::run::{carry_out, connect};
use crate::show::{fetch, parse, print_questions};
use crate::world::{Daemon, World};

/// The handler of that event.
const NAME: &str = "split-brain";

/// Shows or ends the split brains of what is named.
pub(crate) fn split_brain(
    world: &mut dyn World,
    arguments: &Arguments,
    node: &str,
    what: &SplitBrain,
) -> Result<(), Failure> {
    match what {
        SplitBrain::Show { objects } => {
            let objects = parse(objects, PEER)?;
            if arguments.dry_run {
                print_questions(&objects);
                return Ok(());
            }
            let mut daemon = connect(world, arguments)?;
            for object in objects {
                for resource in fetch(&mut *daemon, &object)? {
                    output::print(&show(&resource, &object));
                }
            }
            Ok(())
        }
        SplitBrain::Resolve { discard_mine: _, objects } => {
            let mut daemon = connect(world, arguments)?;
            let mut steps = Vec::new();
            for object in parse(&objects.objects, PEER)? {
                steps.extend(resolve(&mut *daemon, &object)?);
            }
            carry_out(world, &steps, arguments)
        }
        SplitBrain::Handler(objects) => handler::call(world, arguments, node, NAME, objects),
    }
}

/// The connections meant that are in a split brain.
fn split<'a>(
    resource: &'a ResourceStatus,
    object: &'a Object,
) -> impl Iterator<Item = (&'a ConnectionStatus, &'a Divergence)> {
    let meant = |it: &&ConnectionStatus| object.peer.as_ref().is_none_or(|peer| *peer == it.name);
    resource.connections.iter().filter(meant).filter_map(|connection| {
        match &connection.sync_state {
            SyncState::SplitBrain(divergence) => Some((connection, divergence)),
            SyncState::Normal | SyncState::Unrelated(_) => None,
        }
    })
}

fn show(resource: &ResourceStatus, object: &Object) -> String {
    let mut text = String::new();
    for (connection, divergence) in split(resource, object) {
        describe(resource, connection, divergence, &mut text);
    }
    if text.is_empty() {
        text = format!("{}: no split brain\n", resource.name);
    }
    text
}

fn describe(
    resource: &ResourceStatus,
    connection: &ConnectionStatus,
    divergence: &Divergence,
    text: &mut String,
) {
    let (name, peer) = (&resource.name, &connection.name);
    let Divergence { volume, rule, policy, .. } = divergence;
    let then = |was_primary: bool| if was_primary { "Primary" } else { "Secondary" };
    let _ = write!(
        text,
        "{name}: split brain with {peer}: both nodes wrote since they parted (found on volume \
         {volume}, {rule}).\n\
         \x20 here:   {} then, {} now; {} blocks of 4 KiB ({} bytes) are on this node only\n\
         \x20 {peer}: {} then; {} blocks of 4 KiB ({} bytes) are there only\n",
        then(divergence.own_was_primary),
        resource.role,
        divergence.own_loss_blocks,
        divergence.own_loss_bytes(),
        then(divergence.peer_was_primary),
        divergence.peer_loss_blocks,
        divergence.peer_loss_bytes(),
    );
    if let Some(policy) = policy {
        let _ = writeln!(text, "  The policy '{policy}' was asked, and settled nothing.");
    }
    let _ = write!(
        text,
        "  One node must lose what only it has; copy that elsewhere first if anybody may miss it.\n\
         \x20   this node loses it: tandemadm split-brain resolve --discard-mine {name}:{peer}\n\
         \x20   {peer} loses it: there, tandemadm split-brain resolve --discard-mine {name}\n"
    );
}

/// What is to be asked of the daemon of this node.
fn resolve(daemon: &mut dyn Daemon, object: &Object) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for resource in fetch(daemon, object)? {
        let name = &resource.name;
        let of_resource = steps.len();
        for (connection, _) in split(&resource, object) {
            if resource.role == Role::Primary {
                let message = format!(
                    "{name}: this node is Primary: its clients would see their data change; say \
                     'tandemadm secondary {name}' first"
                );
                return Err(Failure::new(exit::STATE, message));
            }
            let (resource, peer) = (name.clone(), connection.peer_node_id);
            if connection.connection_state != ConnectionState::StandAlone {
                let (resource, force) = (resource.clone(), false);
                steps.push(Step::Ask(Request::Disconnect { resource, peer, force }));
            }
            let (discard_my_data, tentative) = (true, false);
            steps.push(Step::Ask(Request::Connect { resource, peer, discard_my_data, tentative }));
        }
        if steps.len() == of_resource && object.resource.is_some() {
            let message =
                format!("{name}: no split brain: nothing to resolve (see 'tandemadm why {name}')");
            return Err(Failure::new(exit::STATE, message));
        }
    }
    Ok(steps)
}
