//! Commands to a resource that is there.

use tandem_control::admin::Request;
use tandem_control::exit;

use super::session::Session;
use super::usage;
use super::words::Words;
use crate::output::Failure;
use crate::plan::initial_data;

/// Carries out a command that is one of these.
pub(super) fn run(
    session: &mut Session,
    command: &str,
    words: &mut Words,
) -> Option<Result<(), Failure>> {
    let request = match command {
        "connect" | "disconnect" => of_connection(command, words),
        "primary" | "secondary" => of_resource(command, words),
        "detach" | "invalidate" | "resize" | "suspend-io" | "resume-io" | "check-resize"
        | "new-current-uuid" => of_minor(session, command, words),
        "outdate" => outdate(session, words),
        "invalidate-remote" | "pause-sync" | "resume-sync" | "verify" => {
            of_peer_device(command, words)
        }
        "down" => return Some(down(session, words)),
        "del-resource" => return Some(del_resource(session, words)),
        _ if command.starts_with("wait-") => wait(command, words)?,
        _ => return None,
    };
    Some(request.and_then(|request| {
        words.finish()?;
        request.map_or(Ok(()), |request| session.ask(&request))
    }))
}

/// Nothing where there is nothing to do.
type Asked = Result<Option<Request>, Failure>;

fn of_connection(command: &str, words: &mut Words) -> Asked {
    let (resource, peer) = (words.word("resource")?, words.peer()?);
    if command == "disconnect" {
        return Ok(Some(Request::Disconnect { resource, peer, force: words.flag("force")? }));
    }
    let tentative = words.flag("tentative")?;
    let discard_my_data = words.flag("discard-my-data")?;
    Ok(Some(Request::Connect { resource, peer, discard_my_data, tentative }))
}

fn of_resource(command: &str, words: &mut Words) -> Asked {
    let resource = words.word("resource")?;
    let force = words.flag("force")? || words.flag("overwrite-data-of-peer")?;
    Ok(Some(if command == "primary" {
        Request::Primary { resource, force }
    } else {
        Request::Secondary { resource, force }
    }))
}

fn of_minor(session: &mut Session, command: &str, words: &mut Words) -> Asked {
    let (resource, volume) = session.volume_of(words.minor()?)?;
    Ok(Some(match command {
        "detach" => {
            if words.flag("diskless")? {
                return Err(usage("--diskless: nodes without a disk are not there yet"));
            }
            Request::Detach { resource, volume, force: words.flag("force")? }
        }
        "invalidate" => {
            // Which peer it is copied from is no choice where there is one.
            let _ = words.option("sync-from-peer-node-id");
            let reset_bitmap = words.choice("reset-bitmap")?.unwrap_or(true);
            Request::Invalidate { resource, volume, reset_bitmap }
        }
        "new-current-uuid" => {
            let (equal, mine) = (words.flag("clear-bitmap")?, words.flag("force-resync")?);
            if equal && mine {
                return Err(usage("--clear-bitmap and --force-resync contradict each other"));
            }
            Request::NewCurrentUuid { resource, volume, initial: initial_data(equal, mine) }
        }
        "resize" => Request::Resize {
            resource,
            volume,
            size_bytes: words.bytes("size")?.filter(|size| *size > 0),
            assume_clean: words.flag("assume-clean")?,
            assume_peer_has_space: words.flag("assume-peer-has-space")?,
        },
        "suspend-io" => {
            let _ = words.flag("bdev-freeze")?;
            Request::SuspendIo { resource }
        }
        "resume-io" => Request::ResumeIo { resource },
        // Metadata find their disk's old end by themselves.
        _ => return Ok(None),
    }))
}

/// `outdate MINOR`, and `outdate RES VOLUME`, which drbdadm says.
fn outdate(session: &mut Session, words: &mut Words) -> Asked {
    let (resource, volume) = if words.left() > 1 {
        (words.word("resource")?, words.volume()?)
    } else {
        session.volume_of(words.minor()?)?
    };
    Ok(Some(Request::Outdate { resource, volume }))
}

fn of_peer_device(command: &str, words: &mut Words) -> Asked {
    let (resource, peer, volume) = (words.word("resource")?, words.peer()?, words.volume()?);
    Ok(Some(match command {
        "invalidate-remote" => {
            let reset_bitmap = words.choice("reset-bitmap")?.unwrap_or(true);
            Request::InvalidateRemote { resource, volume, peer, reset_bitmap }
        }
        "pause-sync" => Request::PauseSync { resource, volume, peer },
        "resume-sync" => Request::ResumeSync { resource, volume, peer },
        _ => Request::Verify {
            resource,
            volume,
            peer,
            start_bytes: words.bytes("start")?,
            stop_bytes: words.bytes("stop")?,
            repair: false,
        },
    }))
}

fn down(session: &mut Session, words: &mut Words) -> Result<(), Failure> {
    let name = words.word("resource")?;
    words.finish()?;
    let names = match name.as_str() {
        "all" => session.running(None)?.into_iter().map(|(config, _)| config.name).collect(),
        _ => vec![name],
    };
    let mut result = Ok(());
    for resource in names {
        let done = session.ask(&Request::Down { resource });
        result = result.and(done);
    }
    result
}

/// What has volumes or peers is in use.
fn del_resource(session: &mut Session, words: &mut Words) -> Result<(), Failure> {
    let resource = words.word("resource")?;
    words.finish()?;
    let (config, _) = session.one(&resource)?;
    if !config.volumes.is_empty() || !config.peers.is_empty() {
        let text = format!(
            "{resource}: Failure: (159) Resource still in use (delete volumes and \
                            peers first)"
        );
        return Err(Failure::new(exit::CONFIG, text));
    }
    session.ask(&Request::Down { resource })
}

fn wait(command: &str, words: &mut Words) -> Option<Asked> {
    let (what, of) = command.strip_prefix("wait-")?.split_once('-')?;
    if !["connect", "sync"].contains(&what) || !["resource", "connection", "volume"].contains(&of) {
        return None;
    }
    Some(wait_for(what, of, words))
}

fn wait_for(what: &str, of: &str, words: &mut Words) -> Asked {
    let resource = words.word("resource")?;
    let peer = if of == "resource" { None } else { Some(words.peer()?) };
    let volume = if of == "volume" { Some(words.volume()?) } else { None };
    let timeout = words.timeout("wfc-timeout")?;
    for other in ["degr-wfc-timeout", "outdated-wfc-timeout", "wait-after-sb"] {
        let _ = words.option(other);
    }
    Ok(Some(match what {
        "connect" => Request::WaitConnect { resource, peer, timeout },
        _ => Request::WaitSync { resource, volume, peer, timeout },
    }))
}
