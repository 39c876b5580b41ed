//! The life of the daemon: run directory, shards, listeners, resources, until a signal ends it.
//!
//! One daemon per run directory, by a lock on its pid file that the kernel drops with the process.
//! `ready` exists while all listeners are bound and the resources of the file have been brought up
//! or given up.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tandem_control::admin::SOCKET_NAME;
use tandem_control::config::{Config, ConfigErrors, ResourceConfig};
use tandem_control::daemon_config::{DaemonConfig, DaemonConfigError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::control::exports::Exports;
use crate::control::socket::Inherited;
use crate::control::{Control, admin, nbd, socket, stdio};
use crate::limits;
use crate::shard::{Running, StartError};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node: which `on` sections are its own.
    pub node: String,
    /// The resources.
    pub config: PathBuf,
    /// The daemon's own configuration; `None` for the defaults.
    pub daemon_config: Option<PathBuf>,
    /// Where sockets and the pid file go; made if it is not there.
    pub run_dir: PathBuf,
    /// Whether to serve one client on standard input and output, and to end with it.
    pub stdio: bool,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The resources' configuration has errors.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The daemon's configuration has errors.
    #[error("{0}")]
    DaemonConfig(#[from] DaemonConfigError),
    /// The run directory belongs to another daemon.
    #[error("{run_dir}: another daemon{pid} runs here; stop it, or use another --run-dir")]
    Running {
        /// The directory.
        run_dir: String,
        /// Its process, as in `, pid 4711`.
        pid: String,
    },
    /// Something of the system cannot be had.
    #[error("{what}: {source}")]
    System {
        /// What it is.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A data thread cannot be started.
    #[error("{0}")]
    Shard(String),
}

/// Runs the daemon until SIGTERM or SIGINT; a second one exits the process at once.
///
/// # Errors
/// Why it cannot start. Once it runs, it ends in good order or not at all.
pub fn run(settings: &Settings) -> Result<(), DaemonError> {
    let daemon_config = match &settings.daemon_config {
        Some(path) => DaemonConfig::load(path)?,
        None => DaemonConfig::default(),
    };
    let config = Config::load(&settings.config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let _lock = lock_run_dir(&settings.run_dir)?;
    let descriptors = raise_descriptor_limit();
    let boot_id = boot_id().map_err(system("/proc/sys/kernel/random/boot_id"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("the control thread"))?;
    let (errands, errands_to_run) = mpsc::unbounded_channel();
    let pool_bytes = usize::try_from(daemon_config.limits.pool_bytes).unwrap_or(usize::MAX);
    let shards: Result<Vec<Running>, StartError> = (0..shard_count(&daemon_config))
        .map(|number| Running::start(number, pool_bytes, errands.clone()))
        .collect();
    let shards = shards.map_err(|error| DaemonError::Shard(error.to_string()))?;
    let mailboxes = shards.iter().map(|shard| shard.mailbox.clone()).collect();
    let (node, run_dir) = (settings.node.clone(), settings.run_dir.clone());
    let exports = Exports::new(&daemon_config.nbd, descriptors);
    let config_file = settings.config.clone();
    let control =
        Control::new(node, run_dir, config_file, mailboxes, exports, &daemon_config, boot_id);
    let resources = config.seen_from(&settings.node);
    if resources.is_empty() {
        let file = settings.config.display();
        tracing::warn!("no resource of {file} has a node '{}'", settings.node);
    }
    let served = runtime.block_on(async {
        tokio::spawn(Arc::clone(&control).run_errands(errands_to_run));
        serve(&control, &daemon_config, resources, settings.stdio).await
    });
    drop(runtime);
    for shard in shards {
        shard.stop();
    }
    served
}

/// Binds, brings up, waits for a signal, takes down.
async fn serve(
    control: &Arc<Control>,
    daemon_config: &DaemonConfig,
    resources: Vec<ResourceConfig>,
    stdio: bool,
) -> Result<(), DaemonError> {
    let mut signals = Signals::new().map_err(system("signal handlers"))?;
    let run_dir = control.run_dir().to_owned();
    let (nbd_socket, admin_socket) = (run_dir.join(NBD_SOCKET), run_dir.join(SOCKET_NAME));
    let ready = run_dir.join(READY_FILE);
    let listener = socket::listen_unix(&nbd_socket).map_err(system(nbd_socket.display()))?;
    tokio::spawn(nbd::serve_unix(Arc::clone(control), listener));
    for address in &daemon_config.nbd.listen {
        let listener = socket::while_in_use(|| socket::listen(*address)).await;
        let listener = listener.map_err(system(format!("listen on {address}")))?;
        tokio::spawn(nbd::serve_tcp(Arc::clone(control), listener));
    }
    for (number, socket) in tandem_ring::listen_fds().into_iter().enumerate() {
        match socket::inherited(socket).map_err(system(format!("inherited socket {number}")))? {
            Inherited::Unix(it) => drop(tokio::spawn(nbd::serve_unix(Arc::clone(control), it))),
            Inherited::Tcp(it) => drop(tokio::spawn(nbd::serve_tcp(Arc::clone(control), it))),
        }
    }
    let listener = socket::listen_unix(&admin_socket).map_err(system(admin_socket.display()))?;
    tokio::spawn(admin::serve(Arc::clone(control), listener));
    let mut starts: JoinSet<()> =
        resources.into_iter().map(|it| Arc::clone(control).start_resource(it)).collect();
    tokio::select! {
        // What takes longer goes on while the daemon serves.
        _ = timeout(START_PATIENCE, async { while starts.join_next().await.is_some() {} }) => {}
        () = signals.next() => {}
    }
    starts.detach_all();
    if !signals.is_over {
        std::fs::write(&ready, "").map_err(system(ready.display()))?;
        tracing::info!(node = control.node, run_dir = %run_dir.display(), "ready");
        tokio::select! {
            () = signals.next() => {}
            () = stdio::serve(control), if stdio => tracing::info!("the only client is gone"),
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        () = take_down(control) => {}
        () = signals.next() => {
            tracing::warn!("told twice to stop: exiting at once");
            std::process::exit(1);
        }
    }
    for path in [&ready, &nbd_socket, &admin_socket] {
        socket::remove_file(path).map_err(system(path.display()))?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Brings every resource down in good order, as far as that goes in time.
async fn take_down(control: &Arc<Control>) {
    let downs: JoinSet<()> = control
        .registry
        .all()
        .into_iter()
        .map(|running| {
            let control = Arc::clone(control);
            async move {
                if let Err(refused) = control.abandon(&running.config.name).await {
                    tracing::error!("{refused}");
                }
            }
        })
        .collect();
    if timeout(limits::STOP_DEADLINE, downs.join_all()).await.is_err() {
        tracing::error!("not everything could be brought down within {:?}", limits::STOP_DEADLINE);
    }
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Whether one came.
    is_over: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt, is_over: false })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        self.is_over = true;
    }
}

/// Makes the run directory, and takes it for this process as long as the file returned is open.
fn lock_run_dir(run_dir: &Path) -> Result<File, DaemonError> {
    std::fs::create_dir_all(run_dir).map_err(system(run_dir.display()))?;
    let path = run_dir.join(PID_FILE);
    let mut options = File::options();
    let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(system(path.display()))?;
    let start = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        // A daemon that was just killed keeps its lock until its last write has ended, but its
        // sockets are gone; one that runs answers.
        let is_answering = UnixStream::connect(run_dir.join(SOCKET_NAME)).is_ok();
        if !is_answering && start.elapsed() < limits::LOCK_PATIENCE {
            remove_ready(run_dir)?;
            std::thread::sleep(LOCK_INTERVAL);
            continue;
        }
        let pid = std::fs::read_to_string(&path).unwrap_or_default();
        let pid = match pid.trim() {
            "" => String::new(),
            pid => format!(", pid {pid},"),
        };
        return Err(DaemonError::Running { run_dir: run_dir.display().to_string(), pid });
    }
    remove_ready(run_dir)?;
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(system(path.display()))?;
    Ok(file)
}

/// What a killed daemon left must not pass for the readiness of this one.
fn remove_ready(run_dir: &Path) -> Result<(), DaemonError> {
    let ready = run_dir.join(READY_FILE);
    socket::remove_file(&ready).map_err(system(ready.display()))
}

/// Takes all descriptors that the system lets this process have, and says how many those are.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::debug!(?limit, "the limit of descriptors cannot be raised: {error}");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).map_or(MANY, |limit| limit.min(MANY))
}

/// The kernel's name of this boot, as 16 bytes.
fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(number.to_be_bytes())
}

fn shard_count(config: &DaemonConfig) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let configured = config.shards.and_then(|shards| usize::try_from(shards).ok());
    configured.unwrap_or_else(|| cores.min(SHARDS_DEFAULT_MAX))
}

fn system(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> DaemonError {
    let what = what.to_string();
    move |source| DaemonError::System { what, source }
}

/// Descriptors, where there is no limit that would be one.
const MANY: usize = 1 << 20;

const PID_FILE: &str = "tandemd.pid";
const READY_FILE: &str = "ready";
const NBD_SOCKET: &str = "nbd.sock";

/// Between two tries for the lock of the run directory.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Data threads unless told otherwise: more pay only with many busy resources.
const SHARDS_DEFAULT_MAX: usize = 4;

/// How long the resources of the file may take before the daemon says that it is ready without
/// them: longer than the wait for the lock of a killed predecessor.
const START_PATIENCE: Duration = Duration::from_secs(10);
