//! Two nodes and the network between them, from empty disks to the end.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::{free_address, loopback};
use crate::binaries::{Binaries, target_dir};
use crate::proxy::Direction;
use crate::spec::{Host, META_BYTES, Metadata, RESOURCE, Spec, meta_file, resource_file};
use crate::{Context, Failure, Link, Node, Result, Status, ensure, image};

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Node `a`, the Primary at first.
    A,
    /// Node `b`.
    B,
}

impl Side {
    /// The other node.
    pub fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A pair of nodes on loopback.
#[derive(Debug)]
pub struct Cluster {
    // Nodes go before the network and the folders: fields are dropped in this order.
    nodes: [Node; 2],
    link: Link,
    spec: Spec,
    nbd_tcp: [SocketAddr; 2],
    folder: Option<tempfile::TempDir>,
    is_quiet: bool,
    /// They go when this does.
    _run_dirs: [tempfile::TempDir; 2],
}

impl Cluster {
    /// Makes disks and configuration in a folder of its own; nothing is started.
    ///
    /// # Errors
    /// The programs are missing, or the folder is on a file system in memory.
    pub fn new(test: &str, spec: Spec) -> Result<Self> {
        let folder = test_folder(test)?;
        let disks = ["a", "b"].map(|name| {
            let volumes = 0..spec.volumes.len();
            volumes.map(|volume| folder.path().join(format!("{name}{volume}.img"))).collect()
        });
        Self::with_disks(spec, folder, &disks)
    }

    /// The same with the disks of someone else: those that are missing are made.
    ///
    /// # Errors
    /// The programs are missing, or there is no room.
    pub fn with_disks(
        spec: Spec,
        folder: tempfile::TempDir,
        disks: &[Vec<PathBuf>; 2],
    ) -> Result<Self> {
        let binaries = Binaries::find()?;
        let ip = loopback();
        let [a, b] = [free_address(ip)?, free_address(ip)?];
        let link = Link::start(a, b, ip)?;
        let run_dirs = [short_folder()?, short_folder()?];
        for disk in disks.iter().flatten() {
            if spec.metadata == Metadata::External {
                image::allocate(&meta_file(disk), META_BYTES)?;
            }
        }
        for (disk, bytes) in disks.iter().flat_map(|disks| disks.iter().zip(&spec.volumes)) {
            if !disk.exists() {
                image::allocate(disk, *bytes)?;
            }
        }
        let nbd_tcp = [free_address(ip)?, free_address(ip)?];
        let path = folder.path();
        let node = |name, index: usize| {
            let run_dir = run_dirs[index].path().to_owned();
            Node::new(name, binaries.clone(), path, run_dir, disks[index].clone())
        };
        let nodes = [node("a", 0), node("b", 1)];
        let (seen_by_a, seen_by_b) = match spec.is_direct {
            true => (b, a),
            false => (link.front(Direction::AToB), link.front(Direction::BToA)),
        };
        for (node, addresses) in nodes.iter().zip([[a, seen_by_a], [seen_by_b, b]]) {
            let host = |index: usize| Host {
                name: nodes[index].name(),
                disks: disks[index].clone(),
                address: addresses[index],
            };
            let text = resource_file(&spec, &[host(0), host(1)]);
            std::fs::write(node.config(), text).about(node.config().display())?;
        }
        for (node, address) in nodes.iter().zip(nbd_tcp) {
            let listen = if spec.nbd_over_tcp { format!("\"{address}\"") } else { String::new() };
            std::fs::write(node.daemon_config(), format!("[nbd]\nlisten = [{listen}]\n"))?;
        }
        Ok(Self {
            nodes,
            link,
            spec,
            nbd_tcp,
            folder: Some(folder),
            is_quiet: false,
            _run_dirs: run_dirs,
        })
    }

    /// A folder for disks of one's own, for [`with_disks`](Self::with_disks).
    ///
    /// # Errors
    /// It would be on a file system in memory.
    pub fn folder_for(test: &str) -> Result<tempfile::TempDir> {
        test_folder(test)
    }

    /// The same, wherever `parent` is.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder_in(parent: &Path, name: &str) -> Result<tempfile::TempDir> {
        let prefix = format!("{name}-");
        tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).about(parent.display())
    }

    /// Leaves nothing behind and prints nothing when it is dropped before its end.
    pub fn be_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// A pair with metadata, up and in sync, `a` Primary.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn in_sync(test: &str, spec: Spec) -> Result<Self> {
        let mut cluster = Self::new(test, spec)?;
        cluster.bring_up()?;
        Ok(cluster)
    }

    /// From empty disks to a pair in sync, `a` Primary.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn bring_up(&mut self) -> Result<()> {
        for node in &self.nodes {
            node.adm_ok(&["create-md", RESOURCE])?;
        }
        for node in &mut self.nodes {
            node.start()?;
        }
        let primary = &self.nodes[0];
        let limit = Duration::from_secs(20);
        primary.wait("connected", limit, |it| it.connection() == "Connected")?;
        primary.adm_ok(&["primary", "--force", RESOURCE])?;
        for node in &self.nodes {
            node.wait_in_sync()?;
        }
        Ok(())
    }

    /// From empty disks to a Primary `a` whose peer has never been there.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn bring_up_alone(&mut self) -> Result<()> {
        let a = &mut self.nodes[0];
        a.adm_ok(&["create-md", RESOURCE])?;
        a.start()?;
        a.adm_ok(&["primary", "--force", RESOURCE]).map(drop)
    }

    /// One node of a pair, Primary, with a disk of `bytes` that has no space allocated but for
    /// metadata.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn alone_on_sparse(folder: tempfile::TempDir, bytes: u64) -> Result<Self> {
        let disks = ["a", "b"].map(|name| vec![folder.path().join(name)]);
        for disk in disks.iter().flatten() {
            File::create(disk).and_then(|file| file.set_len(bytes)).about(disk.display())?;
        }
        let mut cluster = Self::with_disks(Spec::with_bytes(bytes), folder, &disks)?;
        cluster.bring_up_alone()?;
        Ok(cluster)
    }

    /// A node.
    pub fn node(&self, side: Side) -> &Node {
        &self.nodes[side as usize]
    }

    /// A node, to start or to end its daemon.
    pub fn node_mut(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[side as usize]
    }

    /// The network.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Where a node serves clients over TCP, if it was told to.
    pub fn nbd_tcp(&self, side: Side) -> SocketAddr {
        self.nbd_tcp[side as usize]
    }

    /// The folder of disks, configuration and logs.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().map_or_else(|| Path::new("."), tempfile::TempDir::path)
    }

    /// Waits until both nodes say that they have the same data.
    ///
    /// # Errors
    /// They do not come to that.
    pub fn wait_in_sync(&self) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.wait_in_sync().map(drop))
    }

    /// Fails unless the data of both nodes are the same, in every volume. Both are idle.
    ///
    /// # Errors
    /// They differ.
    pub fn assert_same_data(&self) -> Result<()> {
        for volume in 0..u16::try_from(self.spec.volumes.len())? {
            let bytes = self.data_bytes(volume)?;
            let [a, b] = &self.nodes;
            image::assert_same(a.disk(volume), b.disk(volume), bytes)?;
        }
        Ok(())
    }

    /// Bytes of a volume's data area, as a daemon says.
    ///
    /// # Errors
    /// None says.
    pub fn data_bytes(&self, volume: u16) -> Result<u64> {
        let running = self.nodes.iter().find(|node| node.is_started());
        let running = running.ok_or_else(|| Failure::new("no node is running"))?;
        let bytes = Status::size_bytes(&running.status()?, volume);
        ensure(bytes > 0, || format!("volume {volume} has no size"))?;
        Ok(bytes)
    }

    /// Stops the daemons that run, in good order.
    ///
    /// # Errors
    /// One does not stop so.
    pub fn stop(&mut self) -> Result<()> {
        // Both are told before either is waited for.
        for node in self.nodes.iter_mut().filter(|node| node.is_started()) {
            node.tell_to_stop()?;
        }
        self.nodes.iter_mut().filter(|node| node.is_started()).try_for_each(Node::wait_stopped)
    }

    /// Ends the test: stops the daemons in good order, and removes everything.
    ///
    /// # Errors
    /// A daemon does not stop in good order, or has panicked in its time.
    pub fn finish(mut self) -> Result<()> {
        self.stop()?;
        for node in &self.nodes {
            let log = node.log().unwrap_or_default();
            ensure(!log.contains("panicked at"), || format!("a daemon panicked\n{}", node.tail()))?;
        }
        let folder = self.folder.take();
        folder.map_or(Ok(()), |folder| folder.close().about("the folder of the test"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // Before their disks go. It may be gone already.
            let _ = node.kill();
        }
        // Taken by `finish`; still there, something went wrong.
        if let Some(folder) = self.folder.take().filter(|_| !self.is_quiet) {
            for node in &self.nodes {
                eprintln!("{}", node.tail());
            }
            eprintln!("left behind: {}", folder.keep().display());
        }
    }
}

/// A folder for disks, on a real file system: `TANDEM_TEST_DIR`, or in cargo's target folder.
fn test_folder(test: &str) -> Result<tempfile::TempDir> {
    let parent = match std::env::var_os("TANDEM_TEST_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => target_dir()?.join("system-tests"),
    };
    std::fs::create_dir_all(&parent).about(parent.display())?;
    let is_in_memory = rustix::fs::statfs(&parent)?.f_type == TMPFS;
    ensure(!is_in_memory, || {
        let parent = parent.display();
        format!("{parent} is on tmpfs: set TANDEM_TEST_DIR to a folder on a disk")
    })?;
    Cluster::folder_in(&parent, test)
}

/// A folder for sockets: their paths must be short.
fn short_folder() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("tandem-").tempdir().about("a folder for sockets")
}

/// What `statfs` calls tmpfs.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
