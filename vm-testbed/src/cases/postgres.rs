//! A database on the device, whose machine loses its power under load.

use std::collections::BTreeSet;
use std::time::Duration;

use tandem_tests::postgres::{BOOKS_BALANCE, programs};
use tandem_tests::{Result, ensure};

use super::Case;
use crate::files::{EXT4, FileSystem};
use crate::machine::Machine;
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "postgres",
    story: "1. A pair; ext4 on the device of alice, and PostgreSQL on that.\n\
            2. Clients on bob: three insert numbers, one in each transaction, and note those\n   \
            that were committed; pgbench has two more at work.\n\
            3. alice loses her power under this load.\n\
            4. bob is promoted, and starts PostgreSQL on the same data: it recovers. Every\n   \
            number is there whose commit was acknowledged, the books of pgbench balance, and\n   \
            no page nor index is damaged.",
    run,
};

/// Room for a database, its log and what pgbench begins with.
const MEBIBYTES: u64 = 144;

/// Time for a step, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// How many numbers are to be committed before the power goes.
const COMMITTED: usize = 60;

/// What clients on the other machine need to know.
const CLIENT: &str = "--host=10.0.0.1 --username=postgres";

fn run(testbed: &Testbed) -> Result<()> {
    let file_system = FileSystem { mebibytes: MEBIBYTES, ..EXT4 };
    let disks = [testbed.disk("alice", MEBIBYTES)?, testbed.disk("bob", MEBIBYTES)?];
    let mut pair = Pair::in_sync(testbed, disks, "")?;
    let database = Database::new()?;
    let [alice, bob] = &mut pair.machines;
    alice.sh(&format!("{} /dev/nbd0; mount /dev/nbd0 /mnt", file_system.make))?;
    database.create(alice)?;
    database.start(alice)?;
    database.fill(alice)?;
    database.load_from(bob)?;
    let enough = format!("test $(cat /run/committed.* | grep -c '^[0-9]*$') -ge {COMMITTED}");
    bob.sh_until(&format!("{enough} || {{ tail /run/client.*; false; }}"), PATIENCE)?;
    alice.cut_power()?;
    let committed = bob.sh("xargs -I % kill -9 -- -% </run/clients.pids\n\
                            cat /run/committed.* | grep '^[0-9]*$'")?;
    testbed.note(&format!("{} commits were acknowledged", committed.lines().count()))?;
    bob.sh_until("tandemadm primary r0", PATIENCE)?;
    bob.sh("mount /dev/nbd0 /mnt")?;
    database.start(bob)?;
    bob.sh("grep -q 'was not properly shut down' /run/postgres.log")?;
    database.audit(bob, &committed)?;
    bob.sh_within(&format!("umount /mnt; {} /dev/nbd0", file_system.check), PATIENCE).map(drop)
}

/// PostgreSQL, as the host has it, with its data on `/mnt`.
struct Database {
    programs: String,
}

impl Database {
    fn new() -> Result<Self> {
        Ok(Self { programs: programs()?.display().to_string() })
    }

    /// How a script begins that runs programs of PostgreSQL: `$as` in front makes the user that
    /// its server insists on, `$here` behind tells clients where it is.
    fn script(&self, text: &str) -> String {
        let programs = &self.programs;
        format!(
            "PATH={programs}:$PATH; here='--host=/run/pg --username=postgres'\n\
             as='setpriv --reuid=postgres --regid=postgres --clear-groups --'\n{text}"
        )
    }

    fn create(&self, machine: &mut Machine) -> Result<()> {
        let script = self.script(
            "install -d -o postgres -m 700 /mnt/pg\n\
             $as initdb --pgdata=/mnt/pg --auth=trust --encoding=UTF8 --no-locale \
             --data-checksums --wal-segsize=1\n\
             echo 'host all all 10.0.0.0/24 trust' >>/mnt/pg/pg_hba.conf",
        );
        machine.sh_within(&script, PATIENCE).map(drop)
    }

    /// Starts the server, with every promise of durability that it has by default.
    fn start(&self, machine: &mut Machine) -> Result<()> {
        let script = self.script(
            "install -d -o postgres /run/pg\n\
             setsid $as postgres -D /mnt/pg -k /run/pg -c 'listen_addresses=*' \
             -c shared_buffers=32MB -c max_wal_size=24MB -c min_wal_size=4MB \
             >>/run/postgres.log 2>&1 </dev/null &\n\
             echo $! >/run/postgres.pid",
        );
        machine.sh(&script)?;
        let script =
            self.script("psql -X $here -c 'select 1' || { cat /run/postgres.log; false; }");
        machine.sh_until(&script, PATIENCE).map(drop)
    }

    fn fill(&self, machine: &mut Machine) -> Result<()> {
        let script = self.script(
            "psql -X $here -c 'create table noted (id bigint primary key)'\n\
             pgbench $here --initialize --quiet --scale=1 postgres",
        );
        machine.sh_within(&script, PATIENCE).map(drop)
    }

    /// Clients on another machine. psql prints a number when its transaction is committed.
    fn load_from(&self, machine: &mut Machine) -> Result<()> {
        let script = self.script(&format!(
            "begin() {{ setsid \"$@\" </dev/null & echo $! >>/run/clients.pids; }}\n\
             for client in 1 2 3; do\n\
             numbers=\"seq -f 'insert into noted values (%.0f) returning id;' \
             ${{client}}000001 ${{client}}999999\"\n\
             begin bash -c \"$numbers | psql -XAt {CLIENT} \
             >/run/committed.$client 2>/run/client.$client\"\n\
             done\n\
             begin pgbench {CLIENT} --client=2 --time=600 --no-vacuum postgres \
             >/run/client.pgbench 2>&1"
        ));
        machine.sh(&script).map(drop)
    }

    /// Whatever was committed is there, and nothing is damaged; the server is stopped.
    fn audit(&self, machine: &mut Machine, committed: &str) -> Result<()> {
        let numbers = |text: &str| {
            text.lines().filter_map(|line| line.parse().ok()).collect::<BTreeSet<u64>>()
        };
        let rows = machine.sh(&self.script("psql -XAt $here -c 'select id from noted'"))?;
        let (committed, found) = (numbers(committed), numbers(&rows));
        let lost: Vec<_> = committed.difference(&found).collect();
        ensure(lost.is_empty(), || format!("committed and lost: {lost:?}"))?;
        let balance = self.script(&format!("psql -XAt $here -c '{BOOKS_BALANCE}'"));
        let balance = machine.sh_within(&balance, PATIENCE)?;
        ensure(balance.trim() == "t", || "the books of pgbench do not balance".to_owned())?;
        let script = self.script(
            "pg_amcheck $here --install-missing --heapallindexed --database=postgres\n\
             kill -INT $(cat /run/postgres.pid)\n\
             while test -e /mnt/pg/postmaster.pid; do sleep 0.2; done\n\
             $as pg_checksums --check --pgdata=/mnt/pg",
        );
        machine.sh_within(&script, PATIENCE).map(drop)
    }
}
