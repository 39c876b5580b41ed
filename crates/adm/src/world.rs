//! Everything outside that a command line reads, asks, changes or waits for, but for what it
//! prints.
//!
//! Whoever carries a line out has a [`World`] to do it in: the [`Machine`], or that of a
//! [rehearsal](crate::rehearsal). So what a line touches is what it calls here, and a test sees it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use tandem_control::NodeId;
use tandem_control::admin::{Client, ClientError, Request, Response};
use tandem_control::config::Reading;
use tandem_control::exit;

use crate::cli::Arguments;
use crate::events::{Wanted, events};
use crate::metadata::MetaPlace;
use crate::object::Object;
use crate::offline::{self, MetaCommand};
use crate::output::Failure;
use crate::plan::CreateMd;
use crate::watch::watch;
use crate::{configuration, create_md, manual, monitor};

/// What a line is carried out in.
pub(crate) trait World {
    /// What this node is called, unless the line says it.
    fn host_name(&mut self) -> String;
    /// A variable of the environment.
    fn variable(&mut self, name: &str) -> Option<OsString>;
    /// What is understood of a configuration; `-` is standard input.
    fn read(&mut self, file: &Path) -> Result<Reading, Failure>;
    /// A session with the daemon that has its sockets there.
    fn connect(&mut self, run_dir: &Path) -> Result<Box<dyn Daemon>, ClientError>;
    /// Writes the metadata of a volume.
    fn create_md(&mut self, create: &CreateMd) -> Result<(), Failure>;
    /// Writes metadata that are nobody's yet.
    fn create_unclaimed(
        &mut self,
        place: &MetaPlace,
        max_peers: u8,
        force: bool,
    ) -> Result<(), Failure>;
    /// Asks or does something of metadata that no daemon has.
    fn metadata(&mut self, place: &MetaPlace, command: MetaCommand) -> Result<(), Failure>;
    /// Runs a line of the shell to its end, with these variables alone: its exit code, if any.
    fn run_program(
        &mut self,
        line: &str,
        variables: &[(String, String)],
    ) -> Result<Option<u8>, Failure>;
    /// Writes the manual pages to a folder.
    fn write_pages(&mut self, folder: &Path) -> Result<(), Failure>;
    /// Shows everything until a key ends it.
    fn monitor(&mut self, arguments: &Arguments, node: &str) -> Result<(), Failure>;
}

/// A session with a daemon, and what only its node can do.
pub(crate) trait Daemon {
    /// Has a request answered; words of progress are handed on.
    fn answer(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Response, ClientError>;
    /// Its node.
    fn node(&self) -> &str;
    /// The socket that it is behind.
    fn socket(&self) -> &Path;
    /// Reads metadata that it has open from their disk: `get-gi`, or `show-gi` where `explained`.
    fn generations(
        &self,
        place: &MetaPlace,
        peer: NodeId,
        explained: bool,
    ) -> Result<String, Failure>;
    /// Shows states until interrupted.
    fn watch(self: Box<Self>, objects: &[Object]) -> Result<(), Failure>;
    /// Prints changes until interrupted.
    fn events(self: Box<Self>, resource: Option<&str>, wanted: Wanted) -> Result<(), Failure>;
}

/// The machine that this runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine;

impl World for Machine {
    fn host_name(&mut self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn variable(&mut self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn read(&mut self, file: &Path) -> Result<Reading, Failure> {
        configuration::read(file)
    }

    fn connect(&mut self, run_dir: &Path) -> Result<Box<dyn Daemon>, ClientError> {
        Ok(Box::new(Client::connect(run_dir)?))
    }

    fn create_md(&mut self, create: &CreateMd) -> Result<(), Failure> {
        create_md::create_md(create)
    }

    fn create_unclaimed(
        &mut self,
        place: &MetaPlace,
        max_peers: u8,
        force: bool,
    ) -> Result<(), Failure> {
        create_md::create_unclaimed(place, max_peers, force)
    }

    fn metadata(&mut self, place: &MetaPlace, command: MetaCommand) -> Result<(), Failure> {
        offline::run(place, command)
    }

    fn run_program(
        &mut self,
        line: &str,
        variables: &[(String, String)],
    ) -> Result<Option<u8>, Failure> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).env_clear().envs(variables.iter().cloned());
        let ended = command.stdin(Stdio::null()).status();
        let ended = ended.map_err(|error| {
            Failure::new(exit::FAILURE, format!("{line}: /bin/sh does not start: {error}"))
        })?;
        Ok(ended.code().and_then(|code| u8::try_from(code).ok()))
    }

    fn write_pages(&mut self, folder: &Path) -> Result<(), Failure> {
        manual::write_pages(folder)
    }

    fn monitor(&mut self, arguments: &Arguments, node: &str) -> Result<(), Failure> {
        monitor::monitor(&arguments.run_dir, node)
    }
}

impl Daemon for Client {
    fn answer(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Response, ClientError> {
        self.call_with_progress(request, progress)
    }

    fn node(&self) -> &str {
        &self.hello().node
    }

    fn socket(&self) -> &Path {
        self.socket()
    }

    fn generations(
        &self,
        place: &MetaPlace,
        peer: NodeId,
        explained: bool,
    ) -> Result<String, Failure> {
        offline::generations_in_use(place, peer, explained)
    }

    fn watch(mut self: Box<Self>, objects: &[Object]) -> Result<(), Failure> {
        watch(&mut self, objects)
    }

    fn events(self: Box<Self>, resource: Option<&str>, wanted: Wanted) -> Result<(), Failure> {
        events(*self, resource, wanted)
    }
}
