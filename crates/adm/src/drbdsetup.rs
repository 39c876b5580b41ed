//! The personality `drbdsetup`: its arguments, as LINBIT's drbdadm and drbdmon pass them, its
//! output and its exit codes, on the daemon behind `TANDEM_RUN_DIR`.
//!
//! What makes and changes a resource a part at a time is told the daemon a part at a time
//! ([`parts`]); the rest are commands and questions that `tandemadm` has as well. What is not there
//! is refused with a sentence.

mod commands;
mod parts;
mod queries;
mod session;
mod words;

use std::ffi::OsString;

use tandem_control::events::EventOptions;
use tandem_control::exit;

use crate::events::Wanted;
use crate::output::{self, Failure};
use crate::world::World;
use session::Session;
use words::Words;

/// Does what the arguments say, those behind the program's name.
pub(crate) fn run(arguments: &[OsString], world: &mut dyn World) -> Result<(), Failure> {
    let mut words = Words::sort(arguments)?;
    if words.flag("help")? {
        output::print(&format!("{USAGE}\n"));
        return Ok(());
    }
    let Some(command) = words.next() else {
        return Err(usage(USAGE));
    };
    if ABSENT.contains(&command.as_str()) {
        let text = format!("{command} is not there, nothing was done");
        return Err(Failure::new(exit::FAILURE, text));
    }
    let mut session = Session::connect(world)?;
    if command == "events2" {
        return events2(session, &mut words);
    }
    if let Some(done) = parts::run(&mut session, &command, &mut words) {
        return done;
    }
    if let Some(done) = commands::run(&mut session, &command, &mut words) {
        return done;
    }
    if let Some(done) = queries::run(&mut session, &command, &mut words) {
        return done;
    }
    Err(usage(&format!("invalid command '{command}'")))
}

fn events2(session: Session, words: &mut Words) -> Result<(), Failure> {
    let resource = words.next().filter(|name| name != "all");
    let wanted = Wanted {
        lines: EventOptions {
            full: words.flag("full")?,
            statistics: words.flag("statistics")?,
            diff: words.flag("diff")?,
        },
        timestamps: words.flag("timestamps")?,
        now: words.flag("now")?,
        poll: words.flag("poll")?,
    };
    // No line is coloured, and the daemon has buffers of its own.
    let _ = (words.option("color"), words.option("rcvbuf"));
    words.finish()?;
    session.events(resource.as_deref(), wanted)
}

const USAGE: &str = "USAGE: drbdsetup COMMAND [ARGUMENTS]";

/// Commands of LINBIT's that mean something that there is no way to do.
const ABSENT: &[&str] = &["forget-peer", "rename-resource", "udev"];

/// What cannot be understood.
fn usage(text: &str) -> Failure {
    Failure::new(exit::FAILURE, text)
}
