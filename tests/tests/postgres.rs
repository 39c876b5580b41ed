//! A database with its data on one volume and its write-ahead log on another survives a fail-over.
//!
//! 1. Volumes 0 and 1 of a pair are mounted on `a` (`nbdfuse`, a loop device, ext4). PostgreSQL has
//!    its data on the first and its log on the second.
//! 2. Four clients insert rows one by one and note what was committed; `pgbench` loads beside them.
//! 3. The machine of `a` dies: daemon, mounts and server at once, nothing in good order.
//! 4. `b` is promoted, without force; the file systems need no more than their journals; the server
//!    recovers. Every committed row is there, and the books of `pgbench` balance.
//! 5. The same the other way round, once `a` is back in sync: what counts is that the volumes share
//!    one order, for a page that is newer than the log would be damage.

use std::collections::BTreeSet;
use std::time::Duration;

use tandem_tests::postgres::{BOOKS_BALANCE, Postgres};
use tandem_tests::{
    Cluster, Context, Failure, FileSystem, Mount, Mounted, Process, Random, Result, Side, Spec,
    ensure,
};

/// How long the clients work before the machine dies.
const LOAD: Duration = Duration::from_secs(4);

const CLIENTS: u32 = 4;

#[test]
fn a_database_over_two_volumes_survives_fail_overs() -> Result<()> {
    let spec = Spec { volumes: vec![384 << 20, 256 << 20], ..Spec::default() };
    let cluster = Cluster::in_sync("postgres", spec)?;
    let sockets = tempfile::Builder::new().prefix("tandem-pg-").tempdir()?;
    let mut story = Story { cluster, sockets, committed: BTreeSet::new(), round: 0 };
    let mut host = story.set_up()?;
    for side in [Side::A, Side::B] {
        let bench = story.work(&host)?;
        story.machine_dies(host, bench, side)?;
        host = story.take_over(side.peer())?;
        story.audit(&host)?;
        story.bring_back(side)?;
    }
    let Host { server, volumes } = host;
    server.stop()?;
    volumes.into_iter().try_for_each(Mounted::unmount)?;
    let Story { cluster, committed, .. } = story;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    eprintln!("postgres: {} rows committed, none lost", committed.len());
    cluster.finish()
}

struct Story {
    cluster: Cluster,
    sockets: tempfile::TempDir,
    committed: BTreeSet<u64>,
    round: u64,
}

/// What runs on the machine of the Primary.
struct Host {
    server: Postgres,
    volumes: Vec<Mounted>,
}

impl Story {
    fn set_up(&self) -> Result<Host> {
        let volumes = self.mount(Side::A, Mounted::make)?;
        Postgres::create(volumes[0].point(), volumes[1].point())?;
        let host = self.serve(volumes)?;
        host.server.query("create table noted (id bigint primary key)")?;
        let mut command = host.server.client("pgbench")?;
        command.args(["--initialize", "--quiet", "--scale=2", "postgres"]);
        tandem_tests::run(&mut command, Duration::from_secs(120))?.ok()?;
        Ok(host)
    }

    /// Both volumes, by [`Mounted::make`] or [`Mounted::mount`].
    fn mount(&self, side: Side, how: Mount) -> Result<Vec<Mounted>> {
        let (node, folder) = (self.cluster.node(side), self.cluster.folder());
        (0..2).map(|volume| how(node, volume, folder, FileSystem::Ext4)).collect()
    }

    fn serve(&self, volumes: Vec<Mounted>) -> Result<Host> {
        let log = self.cluster.folder().join("postgres.log");
        let (data, wal) = (volumes[0].point(), volumes[1].point());
        let link = data.join("pg/pg_wal");
        // Where the log is mounted differs from node to node.
        std::fs::remove_file(&link).about(link.display())?;
        std::os::unix::fs::symlink(wal.join("pg"), &link).about(link.display())?;
        let server = Postgres::start(data, self.sockets.path(), &log)?;
        Ok(Host { server, volumes })
    }

    /// Starts the load beside the clients, and lets these work for a while.
    fn work(&mut self, host: &Host) -> Result<Process> {
        self.round += 1;
        let mut command = host.server.client("pgbench")?;
        command.args(["--client=4", "--time=600", "--no-vacuum", "postgres"]);
        let log = self.cluster.folder().join("pgbench.log");
        let bench = Process::start("pgbench", &mut command, &log)?;
        let until = std::time::Instant::now() + LOAD;
        let writers: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let first = (self.round << 40) + (u64::from(client) << 32);
                let mut session = host.server.session()?;
                Ok(std::thread::spawn(move || {
                    let mut done = Vec::new();
                    for id in first.. {
                        let said = session.insert(&format!("insert into noted values ({id});"));
                        if said.is_err() || std::time::Instant::now() > until {
                            return (said.map(|()| done.push(id)), done);
                        }
                        done.push(id);
                    }
                    unreachable!("there are enough numbers")
                }))
            })
            .collect::<Result<_>>()?;
        for writer in writers {
            let (said, done) = writer.join().map_err(|_| Failure::new("a writer panicked"))?;
            said?;
            self.committed.extend(done);
        }
        Ok(bench)
    }

    /// Daemon, mounts and server end at once, while `pgbench` is still at it.
    fn machine_dies(&mut self, host: Host, bench: Process, side: Side) -> Result<()> {
        let wait = Random::new(self.round).below(300);
        std::thread::sleep(Duration::from_millis(wait));
        self.cluster.node_mut(side).kill()?;
        let Host { server, volumes } = host;
        server.kill()?;
        drop(bench);
        drop(volumes);
        Ok(())
    }

    fn take_over(&self, side: Side) -> Result<Host> {
        self.cluster.node(side).adm_ok(&["primary", "r0"])?;
        self.serve(self.mount(side, Mounted::mount)?)
    }

    fn audit(&self, host: &Host) -> Result<()> {
        let rows = host.server.query("select id from noted")?;
        let found: BTreeSet<u64> = rows.lines().filter_map(|row| row.parse().ok()).collect();
        let lost: Vec<_> = self.committed.difference(&found).collect();
        ensure(lost.is_empty(), || format!("committed and lost: {lost:?}"))?;
        ensure(found.len() > 100, || format!("only {} rows: nothing was shown", found.len()))?;
        let sums = host.server.query(BOOKS_BALANCE)?;
        ensure(sums == "t", || format!("the books of pgbench do not balance: '{sums}'"))
    }

    fn bring_back(&mut self, side: Side) -> Result<()> {
        self.cluster.node_mut(side).start()?;
        self.cluster.wait_in_sync()
    }
}
