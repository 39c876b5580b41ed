//! Carries out a command line.

use std::collections::BTreeSet;
use std::path::Path;

use tandem_control::admin::{ClientError, Request, Response};
use tandem_control::events::EventOptions;
use tandem_control::exit;

use crate::cli::{Arguments, Command};
use crate::configuration::{self, Form};
use crate::events::Wanted;
use crate::object::Object;
use crate::output::{self, Failure};
use crate::plan::{Step, plan};
use crate::sh::sh;
use crate::show::{Question, print_questions, show};
use crate::split_brain::split_brain;
use crate::world::{Daemon, World};
use crate::{handler, manual};

/// Does what the command line says.
pub(crate) fn run(arguments: &Arguments, world: &mut dyn World) -> Result<(), Failure> {
    let node = arguments.node.clone().unwrap_or_else(|| world.host_name());
    let file = &arguments.config_file;
    match &arguments.command {
        Command::Status { json, verbose, statistics, watch, objects } => {
            let text = Question::Text { verbose: *verbose, statistics: *statistics };
            let question = if *watch { Question::Watch } else { text };
            let question = if *json { Question::Json } else { question };
            show(world, arguments, question, objects)
        }
        Command::Events2 { full, statistics, diff, timestamps, now, poll, object } => {
            let lines = EventOptions { full: *full, statistics: *statistics, diff: *diff };
            let wanted = Wanted { lines, timestamps: *timestamps, now: *now, poll: *poll };
            events2(world, arguments, object.as_deref(), wanted)
        }
        Command::Why { objects } => show(world, arguments, Question::Why, objects),
        Command::Monitor => monitor(world, arguments, &node),
        Command::SplitBrain(what) => split_brain(world, arguments, &node, what),
        Command::Role(objects) => show(world, arguments, Question::Role, &objects.objects),
        Command::PeerRole(objects) => show(world, arguments, Question::PeerRole, &objects.objects),
        Command::Cstate(objects) => show(world, arguments, Question::Cstate, &objects.objects),
        Command::Dstate(objects) => show(world, arguments, Question::Dstate, &objects.objects),
        Command::Dump { show_secrets, objects } => {
            configuration::dump(world, file, &node, objects, Form::Text, *show_secrets)
        }
        Command::DumpXml { show_secrets, objects } => {
            configuration::dump(world, file, &node, objects, Form::Xml, *show_secrets)
        }
        Command::Check { file: it } => configuration::check(world, it.as_ref().unwrap_or(file)),
        Command::Completions { shell } => manual::completions(*shell),
        Command::HiddenCommands => manual::hidden_commands(),
        Command::ManPages { folder } => man_pages(world, arguments, folder),
        Command::Handler(command) => handler::run(world, arguments, &node, command),
        Command::Sh(question) => sh(world, file, &node, question),
        Command::CreateMd { .. }
        | Command::Up(_)
        | Command::Down(_)
        | Command::Attach(_)
        | Command::Detach { .. }
        | Command::Connect { .. }
        | Command::Disconnect { .. }
        | Command::Primary { .. }
        | Command::Secondary { .. }
        | Command::Outdate(_)
        | Command::NewCurrentUuid { .. }
        | Command::GetGi(_)
        | Command::ShowGi(_)
        | Command::SetGi { .. }
        | Command::DumpMd(_)
        | Command::DumpSuperblock { .. }
        | Command::CheckResize(_)
        | Command::WipeMd { .. }
        | Command::ApplyAl(_)
        | Command::ForgetPeer(_)
        | Command::Resize { .. }
        | Command::KernelAttach(_)
        | Command::KernelDetach { .. }
        | Command::Invalidate(_)
        | Command::InvalidateRemote(_)
        | Command::SuspendIo(_)
        | Command::ResumeIo(_)
        | Command::PauseSync(_)
        | Command::ResumeSync(_)
        | Command::Adjust(_)
        | Command::Options(_)
        | Command::WaitConnect(_)
        | Command::WaitSync(_)
        | Command::Verify { .. } => by_plan(world, arguments, &node),
    }
}

/// What is told the daemon, or done to metadata, step by step.
fn by_plan(world: &mut dyn World, arguments: &Arguments, node: &str) -> Result<(), Failure> {
    let config = configuration::load(world, &arguments.config_file)?;
    let steps = plan(&arguments.command, &config, node)?.unwrap_or_default();
    if matches!(arguments.command, Command::Up(_) | Command::Adjust(_) | Command::Options(_)) {
        output::warnings(&config.warnings);
    }
    carry_out(world, &steps, arguments)
}

fn events2(
    world: &mut dyn World,
    arguments: &Arguments,
    resource: Option<&str>,
    wanted: Wanted,
) -> Result<(), Failure> {
    let resource = resource.filter(|name| *name != "all");
    if arguments.dry_run {
        output::print(&format!("events2 {}\n", resource.unwrap_or("all")));
        return Ok(());
    }
    connect(world, arguments)?.events(resource, wanted)
}

fn monitor(world: &mut dyn World, arguments: &Arguments, node: &str) -> Result<(), Failure> {
    if arguments.dry_run {
        print_questions(&[Object::ALL]);
        return Ok(());
    }
    world.monitor(arguments, node)
}

fn man_pages(world: &mut dyn World, arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    if arguments.dry_run {
        output::print(&format!("man-pages {}\n", folder.display()));
        return Ok(());
    }
    world.write_pages(folder)
}

/// Connects to the daemon, or says which socket nobody listens on.
pub(crate) fn connect(
    world: &mut dyn World,
    arguments: &Arguments,
) -> Result<Box<dyn Daemon>, Failure> {
    world.connect(&arguments.run_dir).map_err(|error| client_failure(&error))
}

/// A session that broke, for the user.
pub(crate) fn client_failure(error: &ClientError) -> Failure {
    let advice = match error {
        ClientError::NotRunning { .. } => "; start tandemd, or name its directory with --run-dir",
        ClientError::Version { .. } => "; use the tandemadm of the daemon's release",
        ClientError::Io { .. } | ClientError::Codec { .. } => "; see the daemon's log",
    };
    Failure::new(exit::FAILURE, format!("{error}{advice}"))
}

/// After a failure the resource's other steps are left out, and the next resource is gone on with.
pub(crate) fn carry_out(
    world: &mut dyn World,
    steps: &[Step],
    arguments: &Arguments,
) -> Result<(), Failure> {
    if arguments.dry_run {
        let lines: Vec<String> = steps.iter().map(|step| format!("{step}\n")).collect();
        output::print(&lines.concat());
        return Ok(());
    }
    let mut daemon = connect_for(world, steps, arguments)?;
    let mut failed = BTreeSet::new();
    let mut first: Option<u8> = None;
    for step in steps {
        if failed.contains(step.resource()) {
            continue;
        }
        let done = match (step, daemon.as_deref_mut()) {
            (Step::CreateMd(create), _) => world.create_md(create),
            (Step::Offline(offline), _) => offline.run(world),
            (Step::AskOrOffline(_, offline), None) => offline.run(world),
            (Step::AskOrOffline(request, offline), Some(daemon)) => match ask(daemon, request) {
                // What the daemon does not know it does not have open.
                Err(failure) if failure.exit_code == exit::CONFIG => offline.run(world),
                done => done,
            },
            (Step::Ask(request), Some(daemon)) => ask(daemon, request),
            (Step::Ask(_), None) => unreachable!("it was connected to if any step asks"),
        };
        if let Err(failure) = done {
            output::error(&failure.message);
            failed.insert(step.resource().to_owned());
            first = first.or(Some(failure.exit_code));
        }
    }
    first.map_or(Ok(()), |exit_code| Err(Failure::new(exit_code, "")))
}

/// Connects where a step needs the daemon, or would rather ask it.
fn connect_for(
    world: &mut dyn World,
    steps: &[Step],
    arguments: &Arguments,
) -> Result<Option<Box<dyn Daemon>>, Failure> {
    let needs = steps.iter().any(|step| matches!(step, Step::Ask(_)));
    let prefers = steps.iter().any(|step| matches!(step, Step::AskOrOffline(..)));
    if !needs && !prefers {
        return Ok(None);
    }
    match world.connect(&arguments.run_dir) {
        Ok(daemon) => Ok(Some(daemon)),
        Err(ClientError::NotRunning { .. }) if !needs => Ok(None),
        Err(error) => Err(client_failure(&error)),
    }
}

/// Has the daemon do something.
pub(crate) fn ask(daemon: &mut dyn Daemon, request: &Request) -> Result<(), Failure> {
    let response =
        daemon.answer(request, &mut output::error).map_err(|error| client_failure(&error))?;
    match response {
        Response::Done => Ok(()),
        Response::Refused(refusal) => {
            // A refusal is a failure whatever code a daemon might send along.
            let code = if refusal.exit_code == exit::OK { exit::STATE } else { refusal.exit_code };
            Err(Failure::new(code, refusal.message))
        }
        Response::Hello(_)
        | Response::Status(_)
        | Response::Progress(_)
        | Response::Running(_)
        | Response::Sighted(_) => {
            let socket = daemon.socket().display();
            let message = format!("the daemon behind {socket} answered something else than asked");
            Err(Failure::new(exit::FAILURE, message))
        }
    }
}
