//! Carries out a command line.

use std::collections::BTreeSet;

use tandem_control::admin::{Client, ClientError, Request, Response};
use tandem_control::events::EventOptions;
use tandem_control::exit;

use crate::cli::{Arguments, Command};
use crate::configuration::{self, Form};
use crate::create_md::create_md;
use crate::events::{Wanted, events};
use crate::manual;
use crate::monitor::monitor;
use crate::output::{self, Failure};
use crate::plan::{Step, plan};
use crate::sh::sh;
use crate::show::{Question, show};
use crate::split_brain::split_brain;

/// Does what the command line says.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = arguments.node.clone().unwrap_or_else(host_name);
    let file = &arguments.config_file;
    match &arguments.command {
        Command::Status { json, verbose, statistics, watch, objects } => {
            let question = match (json, watch) {
                (true, _) => Question::Json,
                (false, true) => Question::Watch,
                (false, false) => Question::Text { verbose: *verbose, statistics: *statistics },
            };
            show(arguments, question, objects)
        }
        Command::Events2 { full, statistics, diff, timestamps, now, poll, object } => {
            let (full, statistics, diff) = (*full, *statistics, *diff);
            let lines = EventOptions { full, statistics, diff };
            let wanted = Wanted { lines, timestamps: *timestamps, now: *now, poll: *poll };
            let resource = object.as_deref().filter(|object| *object != "all");
            events2(arguments, resource, wanted)
        }
        Command::Why { objects } => show(arguments, Question::Why, objects),
        Command::Monitor => monitor(arguments, &node),
        Command::SplitBrain(what) => split_brain(arguments, what),
        Command::Role(objects) => show(arguments, Question::Role, &objects.objects),
        Command::Cstate(objects) => show(arguments, Question::Cstate, &objects.objects),
        Command::Dstate(objects) => show(arguments, Question::Dstate, &objects.objects),
        Command::Dump { show_secrets, objects } => {
            configuration::dump(file, &node, objects, Form::Text, *show_secrets)
        }
        Command::DumpXml { show_secrets, objects } => {
            configuration::dump(file, &node, objects, Form::Xml, *show_secrets)
        }
        Command::Check { file: named } => configuration::check(named.as_ref().unwrap_or(file)),
        Command::Completions { shell } => manual::completions(*shell),
        Command::ManPages { folder } => manual::write_pages(folder),
        Command::Sh(question) => sh(file, &node, question),
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
        | Command::GetGi(_)
        | Command::ShowGi(_)
        | Command::DumpMd(_)
        | Command::WipeMd { .. }
        | Command::ApplyAl(_)
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
        | Command::WaitConnect(_)
        | Command::WaitSync(_)
        | Command::Verify { .. } => by_plan(arguments, &node),
    }
}

/// What is told the daemon, or done to metadata, step by step.
fn by_plan(arguments: &Arguments, node: &str) -> Result<(), Failure> {
    let config = configuration::load(&arguments.config_file)?;
    let steps = plan(&arguments.command, &config, node)?.unwrap_or_default();
    if matches!(arguments.command, Command::Up(_) | Command::Adjust(_)) {
        output::warnings(&config.warnings);
    }
    carry_out(&steps, arguments)
}

fn events2(arguments: &Arguments, resource: Option<&str>, wanted: Wanted) -> Result<(), Failure> {
    if arguments.dry_run {
        output::print(&format!("events2 {}\n", resource.unwrap_or("all")));
        return Ok(());
    }
    events(connect(arguments)?, resource, wanted)
}

/// Connects to the daemon, or says which socket nobody listens on.
pub(crate) fn connect(arguments: &Arguments) -> Result<Client, Failure> {
    Client::connect(&arguments.run_dir).map_err(|error| client_failure(&error))
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
pub(crate) fn carry_out(steps: &[Step], arguments: &Arguments) -> Result<(), Failure> {
    if arguments.dry_run {
        let lines: Vec<String> = steps.iter().map(|step| format!("{step}\n")).collect();
        output::print(&lines.concat());
        return Ok(());
    }
    let mut client = connect_for(steps, arguments)?;
    let mut failed = BTreeSet::new();
    let mut first: Option<u8> = None;
    for step in steps {
        if failed.contains(step.resource()) {
            continue;
        }
        let done = match (step, client.as_mut()) {
            (Step::CreateMd(create), _) => create_md(create),
            (Step::Offline(offline), _) => offline.run(),
            (Step::AskOrOffline(_, offline), None) => offline.run(),
            (Step::AskOrOffline(request, offline), Some(client)) => match ask(client, request) {
                // What the daemon does not know it does not have open.
                Err(failure) if failure.exit_code == exit::CONFIG => offline.run(),
                done => done,
            },
            (Step::Ask(request), Some(client)) => ask(client, request),
            (Step::Ask(_), None) => unreachable!("a client was made if any step asks"),
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
fn connect_for(steps: &[Step], arguments: &Arguments) -> Result<Option<Client>, Failure> {
    let needs = steps.iter().any(|step| matches!(step, Step::Ask(_)));
    let prefers = steps.iter().any(|step| matches!(step, Step::AskOrOffline(..)));
    if !needs && !prefers {
        return Ok(None);
    }
    match Client::connect(&arguments.run_dir) {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning { .. }) if !needs => Ok(None),
        Err(error) => Err(client_failure(&error)),
    }
}

/// Has the daemon do something.
pub(crate) fn ask(client: &mut Client, request: &Request) -> Result<(), Failure> {
    let response = client
        .call_with_progress(request, output::error)
        .map_err(|error| client_failure(&error))?;
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
            let socket = client.socket().display();
            let message = format!("the daemon behind {socket} answered something else than asked");
            Err(Failure::new(exit::FAILURE, message))
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
