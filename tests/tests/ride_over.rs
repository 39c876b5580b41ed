//! Clients that connect again ride over whatever happens to the node that serves them.
//!
//! Writers with overlapping requests in flight work through somebody else's client: `qemu-nbd` with
//! `reconnect-delay`, or nbdkit's `nbd` plugin behind its `retry` filter. That client knows one
//! address, which is passed on to whichever node is Primary.
//!
//! 1. The daemon of the Primary is killed with -9, started again and promoted.
//! 2. It is killed, and the other node is promoted in its place.
//! 3. The Primary is demoted by force, and the other one promoted.
//! 4. The daemon of the Primary is stopped in good order, and the other one promoted.
//!
//! The writers notice delays, never an error, and miss nothing that was acknowledged: neither
//! demotion nor shutdown is answered with an error, and what was in flight is sent again.
//! `qemu-img bench` comes through the death of its node as well, where clients promote.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_tests::nbd::Address;
use tandem_tests::tool::tool;
use tandem_tests::{
    Audit, Cluster, Load, LoadSpec, Must, Node, Process, Relay, Result, Side, Spec, ensure,
    loopback,
};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn qemu_rides_over() -> Result<()> {
    ride("ride-qemu", |address, socket| {
        let mut command = tool("qemu-nbd")?;
        command.args(["--persistent", "--shared=8", "--export-name=r0/0", "--socket"]).arg(socket);
        command.args(["--image-opts", &qemu_options(address)]);
        Ok(command)
    })
}

#[test]
fn nbdkit_rides_over() -> Result<()> {
    ride("ride-nbdkit", |address, socket| {
        let mut command = tool("nbdkit")?;
        command.args(["--foreground", "--unix"]).arg(socket).args(["--filter=retry", "nbd"]);
        command.arg(format!("uri=nbd://{address}/r0/0"));
        command.args(["retries=60", "retry-delay=1", "retry-exponential=no"]);
        Ok(command)
    })
}

/// How qemu is to connect, and for how long again.
fn qemu_options(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "driver=nbd,server.type=inet,server.host={host},server.port={port},export=r0/0,\
         open-timeout=30,reconnect-delay=60"
    )
}

/// Where the writers find somebody else's client, which ends with this.
struct Rider {
    _process: Process,
    _folder: tempfile::TempDir,
    socket: PathBuf,
}

impl Rider {
    fn start(command: impl FnOnce(&Path) -> Result<Command>, log: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tandem-ride-").tempdir()?;
        let socket = folder.path().join("nbd.sock");
        let mut process = Process::start("the client", &mut command(&socket)?, log)?;
        let deadline = Instant::now() + LIMIT;
        while !socket.exists() {
            let goes_on = process.is_running()? && Instant::now() < deadline;
            ensure(goes_on, || std::fs::read_to_string(log).unwrap_or_default())?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { _process: process, _folder: folder, socket })
    }
}

fn ride(test: &str, client: impl FnOnce(SocketAddr, &Path) -> Result<Command>) -> Result<()> {
    let spec = Spec { nbd_over_tcp: true, ..Spec::default() };
    let cluster = Cluster::in_sync(test, spec)?;
    let relay = Relay::start(loopback(), &cluster)?;
    let log = cluster.folder().join("client.log");
    let rider = Rider::start(|socket| client(relay.address(), socket), &log)?;
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    let spec = LoadSpec { depth: 4, ..LoadSpec::default() };
    let load = Load::start_at(&Address::Unix(rider.socket.clone()), &audit, spec, 7)?;
    let mut story = Story { cluster, relay, audit, load };
    story.goes_on("at first", 0)?;
    story.kill_and_restart(Side::A)?;
    story.kill_and_replace(Side::A)?;
    story.demote(Side::B)?;
    story.stop(Side::A)?;
    let Story { cluster, relay, audit, load } = story;
    load.stop()?;
    drop(rider);
    drop(relay);
    cluster.wait_in_sync()?;
    let image = cluster.node(Side::B).client(0)?.read_all()?;
    let verdict = audit.judge(&image, Must::Acked)?;
    eprintln!("{test}: {} acknowledged writes, none lost", verdict.acked);
    cluster.assert_same_data()?;
    cluster.finish()
}

struct Story {
    cluster: Cluster,
    relay: Relay,
    audit: Arc<Audit>,
    load: Load,
}

impl Story {
    /// Waits for a hundred more acknowledged writes, over a connection that was made behind the
    /// first `passed`.
    fn goes_on(&self, when: &str, passed: u64) -> Result<()> {
        let (acked, deadline) = (self.audit.acked_count(), Instant::now() + LIMIT);
        while self.relay.passed() <= passed || self.audit.acked_count() < acked + 100 {
            ensure(self.load.is_going(), || format!("{when}: a writer stopped"))?;
            ensure(Instant::now() < deadline, || format!("{when}: nothing is written any more"))?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn kill_and_restart(&mut self, primary: Side) -> Result<()> {
        let passed = self.relay.passed();
        self.cluster.node_mut(primary).kill()?;
        self.cluster.node_mut(primary).start()?;
        self.cluster.wait_in_sync()?;
        self.cluster.node(primary).adm_ok(&["primary", "r0"])?;
        self.goes_on("behind a kill and a restart", passed)
    }

    fn kill_and_replace(&mut self, primary: Side) -> Result<()> {
        let passed = self.relay.passed();
        self.cluster.node_mut(primary).kill()?;
        promote(self.cluster.node(primary.peer()))?;
        self.goes_on("behind the fail-over", passed)?;
        self.cluster.node_mut(primary).start()?;
        self.is_whole()
    }

    fn demote(&mut self, primary: Side) -> Result<()> {
        let passed = self.relay.passed();
        self.cluster.node(primary).adm_ok(&["secondary", "--force", "r0"])?;
        promote(self.cluster.node(primary.peer()))?;
        self.goes_on("behind a demotion by force", passed)
    }

    fn stop(&mut self, primary: Side) -> Result<()> {
        let passed = self.relay.passed();
        self.cluster.node_mut(primary).stop()?;
        promote(self.cluster.node(primary.peer()))?;
        self.goes_on("behind a stop", passed)?;
        self.cluster.node_mut(primary).start()?;
        self.is_whole()
    }

    /// Waits until both nodes are UpToDate again, while the writers go on.
    fn is_whole(&self) -> Result<()> {
        let both =
            |it: &tandem_tests::Status| it.disk(0) == "UpToDate" && it.peer_disk(0) == "UpToDate";
        self.cluster.node(Side::A).wait("UpToDate", LIMIT, both).map(drop)
    }
}

fn promote(node: &Node) -> Result<()> {
    node.adm_ok(&["primary", "r0"]).map(drop)
}

/// Nobody promotes the survivor but the client that comes to it.
#[test]
fn a_benchmark_of_qemu_comes_through_where_clients_promote() -> Result<()> {
    let options = "auto-promote yes;".to_owned();
    let spec = Spec { nbd_over_tcp: true, options, ..Spec::default() };
    let mut cluster = Cluster::in_sync("ride-bench", spec)?;
    cluster.node(Side::A).adm_ok(&["secondary", "r0"])?;
    let relay = Relay::start(loopback(), &cluster)?;
    relay.set_fallback(Some(Side::A));
    let mut command = tool("qemu-img")?;
    command.args(["bench", "-w", "-c", "6000", "-d", "8", "-s", "4096", "--pattern", "85"]);
    command.args(["-S", "8192", "--flush-interval", "64", "--image-opts"]);
    command.arg(qemu_options(relay.address()));
    let log = cluster.folder().join("bench.log");
    let mut bench = Process::start("qemu-img", &mut command, &log)?;
    let a = cluster.node(Side::A);
    a.wait("written to", LIMIT, |it| it.json()["devices"][0]["written"].as_u64() > Some(400))?;
    relay.set_fallback(Some(Side::B));
    cluster.node_mut(Side::A).kill()?;
    let status = bench.wait(LIMIT);
    let text = std::fs::read_to_string(&log)?;
    ensure(status?.success(), || text)?;
    assert_eq!(relay.passed(), 2, "it was over before the fault, or came again and again");
    let b = cluster.node(Side::B);
    b.wait("without clients", LIMIT, |it| it.role() == "Secondary")?;
    let mut client = b.client(0)?;
    for block in 0..6000 {
        assert_eq!(client.read(block * 8192, 4096)?, [85; 4096], "block {block}");
    }
    drop(client);
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}
