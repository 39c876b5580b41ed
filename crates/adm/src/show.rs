//! Commands that show what the daemon reports: `status`, `why`, `role`, `peer-role`, `cstate`,
//! `dstate`.
//!
//! They ask the daemon alone and need no configuration, so that they work when that is broken.

use tandem_control::admin::{Request, Response};
use tandem_control::exit;
use tandem_control::status::{
    ConnectionStatus, ResourceStatus, TextOptions, VolumeStatus, json, text, why,
};

use crate::cli::Arguments;
use crate::object::{Allowed, Object, PEER, RESOURCE, VOLUME};
use crate::output::{self, Failure};
use crate::run::{client_failure, connect};
use crate::world::{Daemon, World};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// Everything, as text.
    Text {
        /// Also what is as it should be.
        verbose: bool,
        /// Also counters.
        statistics: bool,
    },
    /// Everything, as JSON.
    Json,
    /// Everything, again and again.
    Watch,
    /// What is not as it should be, and what helps.
    Why,
    /// One word.
    Role,
    /// A line per connection.
    PeerRole,
    /// A line per connection.
    Cstate,
    /// A line per volume.
    Dstate,
}

/// Answers `question` for the objects that `texts` name.
pub(crate) fn show(
    world: &mut dyn World,
    arguments: &Arguments,
    question: Question,
    texts: &[String],
) -> Result<(), Failure> {
    let allowed = match question {
        Question::Text { .. }
        | Question::Json
        | Question::Watch
        | Question::Why
        | Question::Role => RESOURCE,
        Question::PeerRole | Question::Cstate => PEER,
        Question::Dstate => VOLUME,
    };
    let objects = parse(texts, allowed)?;
    if arguments.dry_run {
        print_questions(&objects);
        return Ok(());
    }
    let mut daemon = connect(world, arguments)?;
    if matches!(question, Question::Watch) {
        return daemon.watch(&objects);
    }
    output::print(&answer(question, &mut *daemon, &objects)?);
    Ok(())
}

/// With `--dry-run`: what the daemon would be asked.
pub(crate) fn print_questions(objects: &[Object]) {
    for object in objects {
        let name = object.resource.as_deref().unwrap_or("all");
        output::print(&format!("status {name}\n"));
    }
}

fn answer(
    question: Question,
    daemon: &mut dyn Daemon,
    objects: &[Object],
) -> Result<String, Failure> {
    let wide = output::terminal_width();
    match question {
        Question::Json => Ok(json(&fetch_all(daemon, objects)?)),
        Question::Text { verbose, statistics } => {
            let (terminal, width) = (wide.is_some(), wide.unwrap_or(80));
            let options = TextOptions { verbose, statistics, terminal, width };
            Ok(text(&fetch_all(daemon, objects)?, options))
        }
        Question::Watch
        | Question::Why
        | Question::Role
        | Question::PeerRole
        | Question::Cstate
        | Question::Dstate => {
            let mut out = String::new();
            for object in objects {
                for resource in fetch(daemon, object)? {
                    out.push_str(&lines(question, &resource, object));
                }
            }
            Ok(out)
        }
    }
}

/// A peer or volume that is named must exist.
fn check(object: &Object, resources: &[ResourceStatus]) -> Result<(), Failure> {
    for resource in resources {
        let name = &resource.name;
        let mut connections = resource.connections.iter();
        if let Some(peer) = &object.peer
            && !connections.any(|connection| connection.name == *peer)
        {
            return Err(Failure::new(exit::CONFIG, format!("{name}: No such peer: {peer}")));
        }
        if let Some(number) = object.volume
            && !resource.volumes.iter().any(|volume| volume.volume == number)
        {
            return Err(Failure::new(exit::CONFIG, format!("{name}: No such volume: {number}")));
        }
    }
    Ok(())
}

/// The status of everything that `objects` name.
pub(crate) fn fetch_all(
    daemon: &mut dyn Daemon,
    objects: &[Object],
) -> Result<Vec<ResourceStatus>, Failure> {
    let mut found = Vec::new();
    for object in objects {
        found.extend(fetch(daemon, object)?);
    }
    Ok(found)
}

/// The objects; everything if none is named.
pub(crate) fn parse(texts: &[String], allowed: Allowed) -> Result<Vec<Object>, Failure> {
    if texts.is_empty() {
        return Ok(vec![Object::ALL]);
    }
    texts.iter().map(|text| Object::parse(text, allowed)).collect()
}

/// The status of what an object names, of which every part exists.
pub(crate) fn fetch(
    daemon: &mut dyn Daemon,
    object: &Object,
) -> Result<Vec<ResourceStatus>, Failure> {
    let request = Request::Status { resource: object.resource.clone() };
    let response = daemon.answer(&request, &mut |_| ()).map_err(|error| client_failure(&error))?;
    let found = match response {
        Response::Status(found) => found,
        Response::Refused(refusal) => {
            return Err(Failure::new(refusal.exit_code.max(exit::USAGE), refusal.message));
        }
        Response::Hello(_)
        | Response::Done
        | Response::Progress(_)
        | Response::Running(_)
        | Response::Sighted(_) => Vec::new(),
    };
    check(object, &found)?;
    match &object.resource {
        Some(name) if found.is_empty() => {
            let message = format!("{name}: No such resource (is it up? 'tandemadm up {name}')");
            Err(Failure::new(exit::CONFIG, message))
        }
        Some(_) | None => Ok(found),
    }
}

/// `role`: one word; `peer-role`, `cstate`: a line per connection; `dstate`: a line per volume.
fn lines(question: Question, resource: &ResourceStatus, object: &Object) -> String {
    match question {
        Question::Why => why(resource),
        Question::Role => format!("{}\n", resource.role),
        Question::PeerRole => of_connections(resource, object, |it| it.peer_role.to_string()),
        Question::Cstate => of_connections(resource, object, |it| it.connection_state.to_string()),
        Question::Dstate => dstate(resource, object),
        Question::Text { .. } | Question::Json | Question::Watch => String::new(),
    }
}

fn of_connections(
    resource: &ResourceStatus,
    object: &Object,
    say: impl Fn(&ConnectionStatus) -> String,
) -> String {
    let meant = |name: &String| object.peer.as_ref().is_none_or(|peer| peer == name);
    let connections = resource.connections.iter().filter(|connection| meant(&connection.name));
    connections.map(|connection| say(connection) + "\n").collect()
}

fn dstate(resource: &ResourceStatus, object: &Object) -> String {
    let mut out = String::new();
    let meant = |number| object.volume.is_none_or(|meant| meant == number);
    for volume in resource.volumes.iter().filter(|volume| meant(volume.volume)) {
        out.push_str(&dstate_line(resource, volume));
    }
    out
}

/// The states of a volume's disks: here, then at every peer.
pub(crate) fn dstate_line(resource: &ResourceStatus, volume: &VolumeStatus) -> String {
    let mut line = volume.disk_state.name().to_owned();
    for connection in &resource.connections {
        let mut devices = connection.peer_devices.iter();
        let device = devices.find(|device| device.volume == volume.volume);
        line.push('/');
        line.push_str(device.map_or("DUnknown", |device| device.peer_disk_state.name()));
    }
    line.push('\n');
    line
}
