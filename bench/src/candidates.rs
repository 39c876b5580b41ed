//! What is measured: tandem in each protocol and without its peer, what others would take in its
//! place, and the disk itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tandem_tests::tool::tool;
use tandem_tests::{Cluster, Context, Process, Result, Side, Spec, fail, image};

use crate::binding::{self, Binding};
use crate::fio::{Figures, Jobs, Target};
use crate::nbd_server::Server;
use crate::qemu::{self, Copies};
use crate::workload::Workload;

/// How long a daemon may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Kinds of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pair of tandem, by protocol.
    Tandem(char),
    /// Tandem with its peer away.
    TandemAlone,
    /// QEMU's storage daemon, one copy.
    QemuAlone,
    /// Two daemons, two copies, by the quorum driver.
    QemuQuorum,
    /// The same by a write-blocking mirror.
    QemuMirror,
    /// nbdkit's file plugin, one copy, through the page cache.
    Nbdkit,
    /// nbd-server, one copy, through the page cache.
    NbdServer,
    /// No daemon: two files, each written to at once; one of them is read.
    Disk,
}

/// The ones with two copies, what one copy costs, and what two could cost at least.
pub const QUICK: &[Kind] = &[
    Kind::Tandem('C'),
    Kind::Tandem('A'),
    Kind::QemuQuorum,
    Kind::QemuMirror,
    Kind::QemuAlone,
    Kind::Disk,
];

/// Those that memory says something about.
pub const IN_MEMORY: &[Kind] = &[
    Kind::Tandem('C'),
    Kind::Tandem('A'),
    Kind::TandemAlone,
    Kind::QemuQuorum,
    Kind::QemuMirror,
    Kind::QemuAlone,
];

/// All of them.
pub const ALL: &[Kind] = &[
    Kind::Tandem('C'),
    Kind::Tandem('B'),
    Kind::Tandem('A'),
    Kind::TandemAlone,
    Kind::QemuQuorum,
    Kind::QemuMirror,
    Kind::QemuAlone,
    Kind::Nbdkit,
    Kind::NbdServer,
    Kind::Disk,
];

/// A candidate that runs.
#[derive(Debug)]
pub struct Candidate {
    /// As tables name it.
    pub name: String,
    /// Its export; the files of the disk itself, which has as many copies.
    targets: Vec<Target>,
    /// All of its daemons, the one that serves the export first.
    pub pids: Vec<u32>,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Tandem(Box<Cluster>),
    Processes(Vec<Process>),
    NbdServer(Server),
}

impl Candidate {
    /// Whether a workload is measured with it. Of two files written to as one, and one read, no
    /// mixture can be made; where there are no daemons, none can be bound.
    pub fn takes(&self, workload: &Workload) -> bool {
        let is_main = QUICK.iter().any(|kind| kind.name() == self.name);
        let is_disk = self.pids.is_empty();
        (is_main || !workload.is_minor) && !(is_disk && (workload.is_mixed() || workload.is_bound))
    }

    /// Writes all of its disks once.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn fill(&self, bytes: u64) -> Result<()> {
        Workload::fill(&self.targets, bytes)
    }

    /// Runs a workload for so long.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn run(&self, workload: &Workload, bytes: u64, length: Duration) -> Result<Figures> {
        if workload.is_bound {
            return self.run_bound(workload, bytes, length);
        }
        let copies = if workload.only_reads() { 1 } else { self.targets.len() };
        let figures = workload.run(&self.targets[..copies], bytes, length)?;
        Ok(figures.of_each(copies))
    }

    /// The same, with the daemon that serves the export and fio on one processor, which take turns
    /// at depth 1, and all other daemons on another one.
    fn run_bound(&self, workload: &Workload, bytes: u64, length: Duration) -> Result<Figures> {
        let [first, second] = binding::processors()?;
        let of = |(index, pid): (usize, &u32)| (*pid, if index == 0 { first } else { second });
        let processes: Vec<(u32, usize)> = self.pids.iter().enumerate().map(of).collect();
        let _bound = Binding::new(&processes)?;
        let jobs = workload.jobs(&self.targets, bytes, Some(length));
        Jobs { processor: Some(first), ..jobs }.run().about(workload.name)
    }

    /// Ends its daemons; the ones that others depend on last.
    ///
    /// # Errors
    /// One does not end.
    pub fn end(self) -> Result<()> {
        match self.running {
            Running::Tandem(mut cluster) => cluster.stop(),
            Running::Processes(mut processes) => {
                let mut last_first = processes.iter_mut().rev();
                last_first.try_for_each(|process| process.terminate(END_LIMIT).map(drop))
            }
            Running::NbdServer(server) => server.end(END_LIMIT),
        }
    }
}

impl Kind {
    /// As tables name it.
    pub fn name(self) -> String {
        match self {
            Self::Tandem(protocol) => format!("tandem {protocol}"),
            Self::TandemAlone => "tandem alone".to_owned(),
            Self::QemuAlone => "qemu alone".to_owned(),
            Self::QemuQuorum => "qemu quorum".to_owned(),
            Self::QemuMirror => "qemu mirror".to_owned(),
            Self::Nbdkit => "nbdkit file".to_owned(),
            Self::NbdServer => "nbd-server".to_owned(),
            Self::Disk => "disk".to_owned(),
        }
    }

    /// Starts it with disks of so many bytes in a folder of its own below `parent`.
    ///
    /// # Errors
    /// A program is missing, or does not come up.
    pub fn start(self, parent: &Path, bytes: u64) -> Result<Candidate> {
        let name = self.name();
        match self {
            Self::Tandem(protocol) => {
                let mut cluster = pair(parent, &name, spec(bytes, protocol))?;
                cluster.bring_up()?;
                tandem(&name, cluster)
            }
            Self::TandemAlone => {
                let mut cluster = pair(parent, &name, spec(bytes, 'C'))?;
                cluster.bring_up_alone()?;
                tandem(&name, cluster)
            }
            Self::QemuAlone | Self::QemuQuorum | Self::QemuMirror => self.qemu(parent, bytes),
            Self::Nbdkit => nbdkit(&name, parent, bytes),
            Self::NbdServer => nbd_server(&name, parent, bytes),
            Self::Disk => disk(&name, parent, bytes),
        }
    }

    fn qemu(self, parent: &Path, bytes: u64) -> Result<Candidate> {
        let folder = folder(&self.name(), parent)?;
        let disk = |name: &str| -> Result<PathBuf> {
            let file = folder.join(name);
            image::allocate(&file, bytes)?;
            Ok(file)
        };
        let mut processes = Vec::new();
        let peer_socket = folder.join("peer.sock").display().to_string();
        if self != Self::QemuAlone {
            let peer = qemu::start("peer", &folder, &disk("b.img")?, Copies::One)?;
            processes.push(peer.process);
        }
        let copies = match self {
            Self::QemuQuorum => Copies::Quorum(&peer_socket),
            Self::QemuMirror => Copies::Mirror(&peer_socket),
            Self::QemuAlone => Copies::One,
            Self::Tandem(_) | Self::TandemAlone | Self::Nbdkit | Self::NbdServer | Self::Disk => {
                return fail(format!("{} is none of QEMU's", self.name()));
            }
        };
        let main = qemu::start("main", &folder, &disk("a.img")?, copies)?;
        processes.push(main.process);
        Ok(Candidate {
            name: self.name(),
            targets: vec![Target::Export(main.uri)],
            pids: processes.iter().rev().map(Process::pid).collect(),
            running: Running::Processes(processes),
        })
    }
}

/// One volume of so many bytes, whose nodes talk to each other over TCP on loopback. Metadata lie
/// on the same disk, behind the volume.
pub fn spec(bytes: u64, protocol: char) -> Spec {
    let volumes = vec![bytes + (8 << 20)];
    Spec { protocol, volumes, is_direct: true, ..Spec::default() }
}

/// Disks and configuration of a pair, in a folder of its own below `parent`; not brought up.
///
/// # Errors
/// There is no room.
pub fn pair(parent: &Path, name: &str, spec: Spec) -> Result<Cluster> {
    let folder = Cluster::folder_in(parent, &name.replace(' ', "-"))?;
    let disks = ["a", "b"].map(|node| {
        let file = |volume| folder.path().join(format!("{node}{volume}.img"));
        (0..spec.volumes.len()).map(file).collect()
    });
    let mut cluster = Cluster::with_disks(spec, folder, &disks)?;
    cluster.be_quiet();
    Ok(cluster)
}

/// The daemons of a pair that run.
///
/// # Errors
/// One has just ended.
pub fn daemons(cluster: &mut Cluster) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for side in [Side::A, Side::B] {
        if cluster.node(side).is_started() {
            pids.push(cluster.node_mut(side).daemon()?.pid());
        }
    }
    Ok(pids)
}

/// The export of a volume at node `a`.
pub fn export(cluster: &Cluster, volume: u16) -> Target {
    Target::Export(cluster.node(Side::A).uri(volume))
}

fn tandem(name: &str, mut cluster: Cluster) -> Result<Candidate> {
    let pids = daemons(&mut cluster)?;
    let targets = vec![export(&cluster, 0)];
    let running = Running::Tandem(Box::new(cluster));
    Ok(Candidate { name: name.to_owned(), targets, pids, running })
}

fn nbdkit(name: &str, parent: &Path, bytes: u64) -> Result<Candidate> {
    let folder = folder(name, parent)?;
    let file = folder.join("a.img");
    image::allocate(&file, bytes)?;
    let socket = folder.join("main.sock");
    let mut command = tool("nbdkit")?;
    command.args(["--foreground", "--unix"]).arg(&socket).arg("file").arg(&file);
    let log = folder.join("log");
    let process = Process::start(name, &mut command, &log)?;
    qemu::await_socket(&socket, &log)?;
    let pids = vec![process.pid()];
    let targets = vec![Target::Export(format!("nbd+unix:///?socket={}", socket.display()))];
    let running = Running::Processes(vec![process]);
    Ok(Candidate { name: name.to_owned(), targets, pids, running })
}

fn nbd_server(name: &str, parent: &Path, bytes: u64) -> Result<Candidate> {
    let folder = folder(name, parent)?;
    let file = folder.join("a.img");
    image::allocate(&file, bytes)?;
    let server = Server::start(&folder, &file)?;
    let (targets, pids) = (vec![Target::Export(server.uri.clone())], vec![server.pid()]);
    Ok(Candidate { name: name.to_owned(), targets, pids, running: Running::NbdServer(server) })
}

fn disk(name: &str, parent: &Path, bytes: u64) -> Result<Candidate> {
    let folder = folder(name, parent)?;
    let mut targets = Vec::new();
    for file in ["a.img", "b.img"].map(|file| folder.join(file)) {
        image::allocate(&file, bytes)?;
        targets.push(Target::File(file));
    }
    let running = Running::Processes(Vec::new());
    Ok(Candidate { name: name.to_owned(), targets, pids: Vec::new(), running })
}

fn folder(name: &str, parent: &Path) -> Result<PathBuf> {
    let folder = parent.join(name.replace(' ', "-"));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The kinds with these names; all of `kinds` where none is named.
///
/// # Errors
/// A name is nobody's.
pub fn named(kinds: &[Kind], names: &[String]) -> Result<Vec<Kind>> {
    for name in names {
        if !ALL.iter().any(|kind| kind.name() == *name) {
            let known: Vec<String> = ALL.iter().map(|kind| kind.name()).collect();
            return fail(format!("'{name}' is no candidate; there are: {}", known.join(", ")));
        }
    }
    let of = if names.is_empty() { kinds } else { ALL };
    let chosen = of.iter().filter(|kind| names.is_empty() || names.contains(&kind.name()));
    Ok(chosen.copied().collect())
}
