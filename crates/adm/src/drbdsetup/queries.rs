//! Questions about resources.

use tandem_control::config::{ResourceConfig, Shown, show, show_json};
use tandem_control::exit;
use tandem_control::names::DiskState;
use tandem_control::status::{ResourceStatus, TextOptions, json, text};

use super::session::Session;
use super::words::Words;
use crate::metadata::MetaPlace;
use crate::output::{self, Failure};
use crate::show::dstate_line;

/// Answers a question that is one of these.
pub(super) fn run(
    session: &mut Session,
    command: &str,
    words: &mut Words,
) -> Option<Result<(), Failure>> {
    let answer = match command {
        "role" => role(session, words),
        "cstate" => cstate(session, words),
        "dstate" => dstate(session, words),
        "get-gi" | "show-gi" => generations(session, command, words),
        "status" => status(session, words),
        "show" => shown(session, words),
        _ => return None,
    };
    Some(answer.map(|text| output::print(&text)))
}

type Answer = Result<String, Failure>;

fn role(session: &mut Session, words: &mut Words) -> Answer {
    let resource = words.word("resource")?;
    words.finish()?;
    let (_, status) = session.one(&resource)?;
    Ok(format!("{}\n", status.role))
}

fn cstate(session: &mut Session, words: &mut Words) -> Answer {
    let (resource, peer) = (words.word("resource")?, words.peer()?);
    words.finish()?;
    let (_, status) = session.one(&resource)?;
    let connection = status.connections.iter().find(|it| it.peer_node_id == peer);
    let missing = || Failure::new(exit::CONFIG, format!("{resource}: No such connection"));
    Ok(format!("{}\n", connection.ok_or_else(missing)?.connection_state))
}

fn dstate(session: &mut Session, words: &mut Words) -> Answer {
    let minor = words.minor()?;
    words.finish()?;
    for (_, status) in session.running(None)? {
        if let Some(volume) = status.volumes.iter().find(|volume| volume.minor == minor) {
            return Ok(dstate_line(&status, volume));
        }
    }
    Err(Failure::new(exit::CONFIG, format!("{minor}: No such device")))
}

/// Read from the disk, where the daemon keeps them.
fn generations(session: &mut Session, command: &str, words: &mut Words) -> Answer {
    let (resource, peer, volume) = (words.word("resource")?, words.peer()?, words.volume()?);
    words.finish()?;
    let (config, status) = session.one(&resource)?;
    let mut states = status.volumes.iter();
    let state = states.find(|it| it.volume == volume).map(|it| it.disk_state);
    let known = config.peers.iter().any(|it| it.node_id == peer);
    let Some(state) = state.filter(|_| known) else {
        return Err(Failure::new(exit::CONFIG, format!("{resource}: No such peer device")));
    };
    let place = MetaPlace::of_running(&config, volume);
    let place = place.filter(|_| state != DiskState::Diskless);
    let place = place.ok_or_else(|| Failure::new(exit::USAGE, "Device has no disk"))?;
    session.generations(&place, peer, command == "show-gi")
}

fn status(session: &mut Session, words: &mut Words) -> Answer {
    let resources = chosen(session, words)?;
    let is_json = words.flag("json")?;
    let verbose = words.flag("verbose")?;
    let statistics = words.flag("statistics")?;
    let _ = words.option("color");
    words.finish()?;
    let statuses: Vec<ResourceStatus> = resources.into_iter().map(|(_, status)| status).collect();
    if is_json {
        return Ok(json(&statuses));
    }
    let wide = output::terminal_width();
    let (terminal, width) = (wide.is_some(), wide.unwrap_or(80));
    Ok(text(&statuses, TextOptions { verbose, statistics, terminal, width }))
}

fn shown(session: &mut Session, words: &mut Words) -> Answer {
    let resources = chosen(session, words)?;
    let is_json = words.flag("json")?;
    // Which defaults are meant would be DRBD's, and they are not in force here.
    let _ = words.flag("show-defaults")?;
    words.finish()?;
    let all: Vec<Shown<'_>> =
        resources.iter().map(|(config, status)| Shown { config, status }).collect();
    Ok(if is_json { show_json(&all) } else { show(&all) })
}

/// The resource that is named, or all.
fn chosen(
    session: &mut Session,
    words: &mut Words,
) -> Result<Vec<(ResourceConfig, ResourceStatus)>, Failure> {
    let name = words.next().filter(|name| name != "all");
    session.running(name.as_deref())
}
