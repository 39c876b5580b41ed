//! Handlers called by hand, or by a daemon that has this program as its helper.
//!
//! A handler is run as the daemon runs it, with what can be known of the event from here. What a
//! caller has said of it in the environment counts more. Its exit code is the program's.

use clap::Subcommand;
use tandem_control::NodeId;
use tandem_control::exit;
use tandem_control::handler::{Caller, Facts, Occasion, environment};
use tandem_control::status::ResourceStatus;

use crate::cli::{Arguments, Objects};
use crate::configuration;
use crate::object::{Object, PEER_DEVICE, Target};
use crate::output::{self, Failure};
use crate::show::fetch;
use crate::world::World;

/// Which handler.
#[derive(Debug, Subcommand)]
pub(crate) enum HandlerCommand {
    /// Run the handler that puts a lost peer out of the way (all handlers are commands)
    FencePeer(Objects),
    /// Run the handler fence-peer, by its old name
    #[command(hide = true)]
    OutdatePeer(Objects),
    /// Run the handler that takes back what fence-peer did
    #[command(hide = true)]
    UnfencePeer(Objects),
    /// Run the handler of a resync to this node that is about to begin
    #[command(hide = true)]
    BeforeResyncTarget(Objects),
    /// Run the handler of a resync to this node that is done
    #[command(hide = true)]
    AfterResyncTarget(Objects),
    /// Run the handler of a resync from this node that is about to begin
    #[command(hide = true)]
    BeforeResyncSource(Objects),
    /// Run the handler of a split brain, whoever settles it
    #[command(hide = true)]
    InitialSplitBrain(Objects),
    /// Run the handler of a Primary with the older data
    #[command(hide = true)]
    PriLost(Objects),
    /// Run the handler of a Primary that should lose its changes
    #[command(hide = true)]
    PriLostAfterSb(Objects),
    /// Run the handler of a Primary without good data
    #[command(hide = true)]
    PriOnInconDegr(Objects),
    /// Run the handler of a disk that has failed
    #[command(hide = true)]
    LocalIoError(Objects),
    /// Run the handler of a verify that has found differences
    #[command(hide = true)]
    OutOfSync(Objects),
    /// Run the handler of a quorum that is lost
    #[command(hide = true)]
    QuorumLost(Objects),
    /// Run the handler of a connection that is lost
    #[command(hide = true)]
    Disconnected(Objects),
}

impl HandlerCommand {
    /// Its name in the configuration, and what it is called for.
    fn parts(&self) -> (&'static str, &[String]) {
        let (name, objects) = match self {
            Self::FencePeer(objects) | Self::OutdatePeer(objects) => ("fence-peer", objects),
            Self::UnfencePeer(objects) => ("unfence-peer", objects),
            Self::BeforeResyncTarget(objects) => ("before-resync-target", objects),
            Self::AfterResyncTarget(objects) => ("after-resync-target", objects),
            Self::BeforeResyncSource(objects) => ("before-resync-source", objects),
            Self::InitialSplitBrain(objects) => ("initial-split-brain", objects),
            Self::PriLost(objects) => ("pri-lost", objects),
            Self::PriLostAfterSb(objects) => ("pri-lost-after-sb", objects),
            Self::PriOnInconDegr(objects) => ("pri-on-incon-degr", objects),
            Self::LocalIoError(objects) => ("local-io-error", objects),
            Self::OutOfSync(objects) => ("out-of-sync", objects),
            Self::QuorumLost(objects) => ("quorum-lost", objects),
            Self::Disconnected(objects) => ("disconnected", objects),
        };
        (name, &objects.objects)
    }
}

/// Runs the handler that the command names.
pub(crate) fn run(
    world: &mut dyn World,
    arguments: &Arguments,
    node: &str,
    command: &HandlerCommand,
) -> Result<(), Failure> {
    let (name, objects) = command.parts();
    call(world, arguments, node, name, objects)
}

/// Runs the handler of that name for each object, until one ends with another code than 0.
pub(crate) fn call(
    world: &mut dyn World,
    arguments: &Arguments,
    node: &str,
    handler: &str,
    objects: &[String],
) -> Result<(), Failure> {
    let config = configuration::load(world, &arguments.config_file)?;
    for target in Target::find(&config, node, objects, PEER_DEVICE)? {
        let resource = &target.config.name;
        let Some(line) = target.config.handlers.get(handler) else {
            output::error(&format!("{resource}: there is no handler '{handler}': nothing is run"));
            continue;
        };
        let variables = variables(world, arguments, node, handler, &target);
        if arguments.dry_run {
            output::print(&format!("{handler} {resource}: {line}\n"));
            let shown = variables.iter().map(|(name, value)| format!("  {name}={value}\n"));
            output::print(&shown.collect::<String>());
            continue;
        }
        let exit_code = world.run_program(line, &variables)?;
        ended(resource, handler, exit_code)?;
    }
    Ok(())
}

fn variables(
    world: &mut dyn World,
    arguments: &Arguments,
    node: &str,
    handler: &str,
    target: &Target<'_>,
) -> Vec<(String, String)> {
    let resource = &target.config.name;
    let mut peers = target.peers();
    let only = peers.next().filter(|_| peers.next().is_none());
    let said = world.variable("DRBD_PEER_NODE_ID");
    let said = said.and_then(|it| it.to_str()?.parse().ok()).map(NodeId);
    let peer = said.or_else(|| only.map(|it| it.node_id));
    let facts = match arguments.dry_run {
        true => Facts::default(),
        false => {
            status(world, arguments, resource).map(|it| Facts::of(&it, peer)).unwrap_or_default()
        }
    };
    let occasion = Occasion { handler, volume: target.named_volume(), peer, facts };
    let (config_file, run_dir) = (&arguments.config_file, &arguments.run_dir);
    let mut variables =
        environment(&target.config, occasion, Caller { config_file, run_dir, node });
    for (name, value) in &mut variables {
        let is_of_event = name.starts_with("DRBD_") || name == "UP_TO_DATE_NODES";
        let inherited = world.variable(name).filter(|_| is_of_event && name != "DRBD_CONF");
        if let Some(inherited) = inherited {
            *value = inherited.to_string_lossy().into_owned();
        }
    }
    variables
}

/// The resource's, where its daemon runs.
fn status(world: &mut dyn World, arguments: &Arguments, resource: &str) -> Option<ResourceStatus> {
    let mut daemon = world.connect(&arguments.run_dir).ok()?;
    let object = Object { resource: Some(resource.to_owned()), peer: None, volume: None };
    fetch(&mut *daemon, &object).ok()?.into_iter().next()
}

/// Says what the handler has come to.
fn ended(resource: &str, handler: &str, exit_code: Option<u8>) -> Result<(), Failure> {
    let Some(code) = exit_code else {
        let message = format!("{resource}: {handler} was ended by a signal: it has no exit code");
        return Err(Failure::new(exit::FAILURE, message));
    };
    let meaning = match (handler, code) {
        ("fence-peer", 3) => ": the peer's data are Inconsistent",
        ("fence-peer", 4) => ": the peer's data are Outdated",
        ("fence-peer", 5) => ": the peer is dead",
        ("fence-peer", 6) => ": the peer is Primary",
        ("fence-peer", 7) => ": the peer was shot",
        ("fence-peer", _) => ": the peer is not known to be out of the way",
        ("before-resync-target", 1..) => ": it forbids the resync",
        _ => "",
    };
    let message = format!("{resource}: {handler} ended with exit code {code}{meaning}");
    if code == exit::OK {
        output::print(&format!("{message}\n"));
        return Ok(());
    }
    Err(Failure::new(code, message))
}
