//! The scenes.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nbd::client::{NbdClient, handshake};
use tandem_tests::{Cluster, Context, Node, Result, Side, Spec, Status, ensure, fail, image};

use crate::screen::{Screen, check, pause};
use crate::tree::{self, Tree};

/// Length of the backing files.
const DISK_BYTES: u64 = 256 << 20;

/// Length of the tree: what is left is for the metadata, and free.
const TREE_BYTES: usize = 160 << 20;

/// Files that are rewritten while the link is cut.
const EDITS: usize = 120;

/// The network's rate in the scene of the resync, so that it takes long enough to be watched.
const LINK_BYTES_PER_SECOND: u64 = 16 << 20;

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Story {
    cluster: Cluster,
    tree: Tree,
}

impl Story {
    /// Two nodes with empty disks; nothing runs.
    pub(crate) fn begin(screen: &Screen) -> Result<Self> {
        let parent = std::env::temp_dir();
        let folder = Cluster::folder_in(&parent, "tandem-demo")?;
        let disks = ["a", "b"].map(|name| vec![folder.path().join(format!("{name}0.img"))]);
        let mut cluster = Cluster::with_disks(Spec::with_bytes(DISK_BYTES), folder, &disks)?;
        cluster.be_quiet();
        let folder = cluster.folder().display();
        screen
            .line(&format!("Two nodes, a and b, on loopback. Their disks are files in {folder}."));
        screen.line("They reach each other only through a small proxy of this program.");
        Ok(Self { cluster, tree: Tree::generate(TREE_BYTES) })
    }

    /// All of it; what it started is ended when this returns, in any way.
    pub(crate) fn tell(mut self, screen: &Screen) -> Result<()> {
        self.come_up(screen)?;
        self.write_tree(screen)?;
        let dirty_bytes = self.cut(screen)?;
        self.heal(screen, dirty_bytes)?;
        self.fail_over(screen)?;
        let guide = guide(self.cluster.node(Side::A));
        self.cluster.finish()?;
        screen.scene("Done");
        screen.line(&guide);
        screen.line(&format!("The demo took {:.0} s.", screen.seconds()));
        Ok(())
    }

    fn come_up(&mut self, screen: &Screen) -> Result<()> {
        screen.scene("1. A pair comes up");
        for side in [Side::A, Side::B] {
            self.adm(screen, side, &["create-md", "r0"])?;
        }
        for side in [Side::A, Side::B] {
            let name = self.cluster.node(side).name();
            screen.line(&format!("  $ tandemd --node {name} -c {name}.res --run-dir run-{name} &"));
            self.cluster.node_mut(side).start()?;
        }
        self.adm(screen, Side::A, &["wait-connect", "--wfc-timeout", "10", "r0"])?;
        screen.line("  Both disks are new: a is told that its data are the good ones.");
        self.adm(screen, Side::A, &["primary", "--force", "r0"])?;
        self.watch_resync(screen, "first copy")?;
        self.adm(screen, Side::A, &["status", "r0"])
    }

    fn write_tree(&mut self, screen: &Screen) -> Result<()> {
        screen.scene("2. A client writes a tree of files");
        let node = self.cluster.node(Side::A);
        screen.line(&format!("  The client is the nbd crate, at {}", node.uri(0)));
        let bar = screen.bar("written", TREE_BYTES as u64);
        let begun = Instant::now();
        write(node, &self.tree.image, std::slice::from_ref(&(0..TREE_BYTES)), |bytes| {
            bar.set_position(bytes);
        })?;
        bar.finish();
        let (files, seconds) = (self.tree.files(), begun.elapsed().as_secs_f64());
        screen.line(&format!(
            "  {files} files with checksums, {} MiB in {seconds:.1} s.",
            TREE_BYTES >> 20
        ));
        screen.line("  Each reply meant: it is on both nodes.");
        self.cluster.assert_same_data()?;
        screen.line("  Both backing files were compared: they are the same.");
        pause(READING)
    }

    /// Returns the bytes that `a` knows to be out of sync.
    fn cut(&mut self, screen: &Screen) -> Result<u64> {
        screen.scene("3. The link is cut, and writing goes on");
        self.cluster.link().cut();
        screen.line("  The proxy has reset the connection, and refuses new ones.");
        let changed = self.tree.edit(EDITS);
        let node = self.cluster.node(Side::A);
        write(node, &self.tree.image, &changed, |_| {})?;
        screen.line(&format!("  {EDITS} times a file was rewritten, on a alone."));
        let status = node.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
        self.adm(screen, Side::A, &["status", "r0"])?;
        let dirty_bytes = status.out_of_sync_bytes(0);
        screen.line(&format!("  a has noted {} as out of sync.", mib(dirty_bytes)));
        ensure(dirty_bytes > 0, || "nothing is out of sync".to_owned())?;
        pause(READING)?;
        Ok(dirty_bytes)
    }

    fn heal(&mut self, screen: &Screen, dirty_bytes: u64) -> Result<()> {
        screen.scene("4. The link heals, and what changed is copied");
        let rate = LINK_BYTES_PER_SECOND >> 20;
        screen.line(&format!("  The proxy now passes {rate} MiB/s, for you to watch."));
        let link = self.cluster.link();
        let before = link.bytes_both();
        link.limit(LINK_BYTES_PER_SECOND);
        link.heal();
        self.watch_resync(screen, "resync")?;
        let link = self.cluster.link();
        link.limit(0);
        let crossed = link.bytes_both() - before;
        let size = self.cluster.data_bytes(0)?;
        screen.line(&format!(
            "  {} crossed the proxy for {} out of sync: {:.1} % of the device's {}.",
            mib(crossed),
            mib(dirty_bytes),
            percent(crossed, size),
            mib(size),
        ));
        ensure(crossed * 10 <= dirty_bytes * 13, || "that is too much".to_owned())?;
        self.cluster.assert_same_data()?;
        screen.line("  Both backing files were compared: they are the same.");
        pause(READING)
    }

    fn fail_over(&mut self, screen: &Screen) -> Result<()> {
        screen.scene("5. The primary is killed");
        let pid = self.cluster.node_mut(Side::A).daemon()?.pid();
        screen.line(&format!("  $ kill -9 {pid}"));
        self.cluster.node_mut(Side::A).kill()?;
        let begun = Instant::now();
        self.adm(screen, Side::B, &["primary", "r0"])?;
        let millis = begun.elapsed().as_millis();
        screen.line(&format!("  b is Primary, {millis} ms after the kill."));
        self.adm(screen, Side::B, &["status", "r0"])?;
        screen.scene("6. Every byte is compared");
        let mut client = self.cluster.node(Side::B).client(0)?;
        let image = client.read_all()?;
        drop(client);
        check()?;
        let (tree, rest) = image.split_at(TREE_BYTES);
        ensure(tree == self.tree.image, || "b does not serve what was written".to_owned())?;
        ensure(rest.iter().all(|byte| *byte == 0), || "there is more than was written".to_owned())?;
        let files = tree::check(tree)?;
        screen.line(&format!(
            "  {} read from b: what the client wrote to a.",
            mib(image.len() as u64)
        ));
        screen.line(&format!("  {files} of {files} checksums are right."));
        let backing = image::read(self.cluster.node(Side::B).disk(0), image.len() as u64)?;
        ensure(backing == image, || "the backing file holds something else".to_owned())?;
        screen.line(
            "  b's backing file holds the same bytes from offset 0 on, readable without tandem.",
        );
        Ok(())
    }

    /// Shows a bar until the nodes are in sync.
    fn watch_resync(&self, screen: &Screen, title: &str) -> Result<()> {
        let node = self.cluster.node(Side::A);
        let deadline = Instant::now() + 2 * LIMIT;
        let mut bar = None;
        loop {
            check()?;
            let status = node.status()?;
            let left = status.out_of_sync_bytes(0);
            if status.is_in_sync() {
                if let Some(bar) = bar {
                    finish(&bar);
                }
                screen.line("  In sync.");
                return Ok(());
            }
            if status.replication(0) == "SyncSource" {
                let bar = bar.get_or_insert_with(|| screen.bar(title, left));
                bar.set_position(bar.length().unwrap_or(left).saturating_sub(left));
            }
            if Instant::now() > deadline {
                return fail(format!("no end of the resync: {}", describe(&status)));
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    /// Runs `tandemadm`, and shows the command and what it prints.
    fn adm(&self, screen: &Screen, side: Side, arguments: &[&str]) -> Result<()> {
        check()?;
        let node = self.cluster.node(side);
        let (name, line) = (node.name(), arguments.join(" "));
        screen.line(&format!(
            "  $ tandemadm --node {name} -c {name}.res --run-dir run-{name} {line}"
        ));
        screen.quote(&node.adm_ok(arguments)?);
        Ok(())
    }
}

/// How long the audience is given to read.
const READING: Duration = Duration::from_millis(1500);

fn finish(bar: &indicatif::ProgressBar) {
    bar.set_position(bar.length().unwrap_or(0));
    bar.finish();
}

/// Writes `ranges` of the image with the `nbd` crate, which sends one request at a time.
fn write(
    node: &Node,
    image: &[u8],
    ranges: &[std::ops::Range<usize>],
    progress: impl Fn(u64),
) -> Result<()> {
    let mut socket = UnixStream::connect(node.run_dir().join("nbd.sock")).about("the export")?;
    socket.set_read_timeout(Some(LIMIT))?;
    let export = handshake(&mut socket, b"r0/0").about("the export r0/0")?;
    let mut client = NbdClient::new(&mut socket, &export);
    let mut written = 0;
    for range in ranges {
        client.seek(SeekFrom::Start(range.start as u64))?;
        for chunk in image[range.clone()].chunks(REQUEST_BYTES) {
            check()?;
            client.write_all(chunk).about("a write")?;
            written += chunk.len() as u64;
            progress(written);
        }
    }
    client.flush().about("a flush")
}

/// Bytes of one write.
const REQUEST_BYTES: usize = 256 << 10;

fn describe(status: &Status) -> String {
    let (connection, replication) = (status.connection(), status.replication(0));
    format!("{connection}, {replication}, {} left", mib(status.out_of_sync_bytes(0)))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// How to do the same by hand.
fn guide(node: &Node) -> String {
    let programs = node.programs_folder().display();
    format!(
        r#"
To start such a pair for yourself, in an empty folder:

  export PATH="{programs}:$PATH"
  cat > r0.res <<END
  resource r0 {{
      on a {{
          node-id 0;
          address 127.0.0.1:7789;
          volume 0 {{ device minor 0; disk $PWD/a.img; meta-disk internal; }}
      }}
      on b {{
          node-id 1;
          address 127.0.0.1:7790;
          volume 0 {{ device minor 0; disk $PWD/b.img; meta-disk internal; }}
      }}
  }}
  END
  fallocate -l 1G a.img; fallocate -l 1G b.img
  for n in a b; do tandemadm --node $n -c r0.res --run-dir run-$n create-md r0; done
  tandemd --node a -c r0.res --run-dir run-a 2> a.log &
  tandemd --node b -c r0.res --run-dir run-b 2> b.log &
  until [ -e run-a/ready ] && [ -e run-b/ready ]; do sleep 0.1; done
  tandemadm --node a -c r0.res --run-dir run-a wait-connect r0
  tandemadm --node a -c r0.res --run-dir run-a primary --force r0
  tandemadm --node a -c r0.res --run-dir run-a status --watch

Any NBD client finds the volume at nbd+unix:///r0/0?socket=run-a/nbd.sock, for example:

  qemu-io -f raw -c 'write -P 7 0 1M' "nbd+unix:///r0/0?socket=run-a/nbd.sock"
"#
    )
}
