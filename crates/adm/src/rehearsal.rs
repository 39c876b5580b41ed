//! A command line carried out where nothing is: what it would touch and say, for those who test it.
//!
//! The whole program runs, from its name on. What its world is made of comes from the caller:
//! one configuration, whatever file is named, and what a daemon answers. Metadata are as wanted.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tandem_control::admin::{ClientError, Request, Response, SOCKET_NAME};
use tandem_control::config::Reading;
use tandem_control::exit;
use tandem_control::{NodeId, VolumeNumber};

use crate::cli::Arguments;
use crate::configuration;
use crate::events::Wanted;
use crate::metadata::MetaPlace;
use crate::object::Object;
use crate::offline::{MetaCommand, Offline};
use crate::output::{Failure, captured};
use crate::plan::{CreateMd, Step};
use crate::world::{Daemon, World};

/// What a daemon answers.
pub type Answers = Rc<dyn Fn(&Request) -> Response>;

/// What there is beside the line.
#[derive(Clone)]
pub struct Stage {
    /// The text of every configuration file.
    pub configuration: String,
    /// The daemon's; `None` where none runs.
    pub daemon: Option<Answers>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_daemon = self.daemon.is_some();
        f.debug_struct("Stage").field("has_daemon", &has_daemon).finish_non_exhaustive()
    }
}

/// Something that a line does beside printing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Reads a configuration.
    Read(PathBuf),
    /// Connects to the daemon of a directory.
    Connected(PathBuf),
    /// Asks it.
    Asked(Request),
    /// Opens metadata that no daemon has, for what `--dry-run` says of it.
    Metadata(String),
    /// Goes on showing until interrupted.
    Shown(&'static str),
    /// Runs a line of the shell.
    Run(String),
    /// Writes manual pages to a folder.
    Pages(PathBuf),
}

impl fmt::Display for Touch {
    /// As `--dry-run` says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(file) => write!(f, "read {}", file.display()),
            Self::Connected(folder) => write!(f, "connect to {}", folder.display()),
            Self::Asked(request) => Step::Ask(request.clone()).fmt(f),
            Self::Metadata(step) => f.write_str(step),
            Self::Shown(what) => f.write_str(what),
            Self::Run(line) => write!(f, "run {line}"),
            Self::Pages(folder) => write!(f, "man-pages {}", folder.display()),
        }
    }
}

/// What a line has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// What the program exits with.
    pub exit_code: u8,
    /// Standard output.
    pub printed: String,
    /// Standard error.
    pub complained: String,
    /// What it has done, in this order.
    pub touches: Vec<Touch>,
}

/// Does what a program of that name and arguments is to do, on that stage.
#[must_use]
pub fn rehearse(called: &[OsString], stage: &Stage) -> Rehearsed {
    let touches = Touches::default();
    let mut world = Rehearsal { stage: stage.clone(), touches: touches.clone() };
    let (exit_code, captured) = captured(|| crate::call(called, &mut world));
    let touches = touches.take();
    Rehearsed { exit_code, printed: captured.out, complained: captured.error, touches }
}

type Touches = Rc<RefCell<Vec<Touch>>>;

struct Rehearsal {
    stage: Stage,
    touches: Touches,
}

impl Rehearsal {
    fn touch(&self, touch: Touch) {
        self.touches.borrow_mut().push(touch);
    }
}

impl World for Rehearsal {
    fn host_name(&mut self) -> String {
        "a".to_owned()
    }

    fn variable(&mut self, _: &str) -> Option<OsString> {
        None
    }

    fn read(&mut self, file: &Path) -> Result<Reading, Failure> {
        self.touch(Touch::Read(file.to_owned()));
        let reading = Reading::parse(Path::new("/rehearsal.res"), &self.stage.configuration);
        reading.map_err(|errors| configuration::invalid(&errors))
    }

    fn connect(&mut self, run_dir: &Path) -> Result<Box<dyn Daemon>, ClientError> {
        self.touch(Touch::Connected(run_dir.to_owned()));
        let socket = run_dir.join(SOCKET_NAME);
        match self.stage.daemon.clone() {
            Some(answers) => {
                Ok(Box::new(Played { socket, answers, touches: self.touches.clone() }))
            }
            None => {
                let source = io::ErrorKind::NotFound.into();
                Err(ClientError::NotRunning { socket, source })
            }
        }
    }

    fn create_md(&mut self, create: &CreateMd) -> Result<(), Failure> {
        self.touch(Touch::Metadata(Step::CreateMd(create.clone()).to_string()));
        Ok(())
    }

    fn create_unclaimed(
        &mut self,
        place: &MetaPlace,
        max_peers: u8,
        force: bool,
    ) -> Result<(), Failure> {
        let create = CreateMd {
            resource: place.name.clone(),
            volume: VolumeNumber(0),
            node_id: 0,
            disk: place.disk.clone(),
            meta_disk: place.meta_disk.clone(),
            max_peers,
            force,
        };
        self.create_md(&create)
    }

    fn metadata(&mut self, place: &MetaPlace, command: MetaCommand) -> Result<(), Failure> {
        let (resource, volume, place) = (place.name.clone(), VolumeNumber(0), place.clone());
        let offline = Offline { resource, volume, place, command };
        self.touch(Touch::Metadata(offline.to_string()));
        Ok(())
    }

    fn run_program(&mut self, line: &str, _: &[(String, String)]) -> Result<Option<u8>, Failure> {
        self.touch(Touch::Run(line.to_owned()));
        Ok(Some(exit::OK))
    }

    fn write_pages(&mut self, folder: &Path) -> Result<(), Failure> {
        self.touch(Touch::Pages(folder.to_owned()));
        Ok(())
    }

    fn monitor(&mut self, _: &Arguments, _: &str) -> Result<(), Failure> {
        self.touch(Touch::Shown("monitor"));
        Ok(())
    }
}

/// A daemon that is not there.
struct Played {
    socket: PathBuf,
    answers: Answers,
    touches: Touches,
}

impl Played {
    fn shown(&self, what: &'static str) -> Result<(), Failure> {
        self.touches.borrow_mut().push(Touch::Shown(what));
        Ok(())
    }
}

impl Daemon for Played {
    fn answer(
        &mut self,
        request: &Request,
        _: &mut dyn FnMut(&str),
    ) -> Result<Response, ClientError> {
        self.touches.borrow_mut().push(Touch::Asked(request.clone()));
        Ok((self.answers)(request))
    }

    fn node(&self) -> &'static str {
        "a"
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn generations(&self, place: &MetaPlace, peer: NodeId, _: bool) -> Result<String, Failure> {
        let what = format!("look at {} peer:{peer}", place.name);
        self.touches.borrow_mut().push(Touch::Metadata(what));
        Ok(String::new())
    }

    fn watch(self: Box<Self>, _: &[Object]) -> Result<(), Failure> {
        self.shown("status --watch")
    }

    fn events(self: Box<Self>, _: Option<&str>, _: Wanted) -> Result<(), Failure> {
        self.shown("events2")
    }
}

#[cfg(test)]
mod tests;
