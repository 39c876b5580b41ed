//! A PostgreSQL server with its data on one volume and its write-ahead log on another.
//!
//! It runs as the user `postgres`, listens on a unix socket only, and keeps every promise of
//! durability that it has by default.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{GLANCE, Process, run};
use crate::tool::tool;
use crate::{Context, Failure, Result, ensure};

/// How long starting it may take: it recovers then.
const LIMIT: Duration = Duration::from_secs(60);

/// Says `t` where the books of `pgbench` balance: every transaction is there whole or not at all.
pub const BOOKS_BALANCE: &str = "select (select sum(abalance) from pgbench_accounts) = \
     (select sum(tbalance) from pgbench_tellers) and \
     (select sum(bbalance) from pgbench_branches) = \
     (select coalesce(sum(delta), 0) from pgbench_history) and \
     (select sum(abalance) from pgbench_accounts) = \
     (select sum(bbalance) from pgbench_branches)";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    sockets: PathBuf,
    server: Process,
}

impl Postgres {
    /// Makes a database: data below `data`, the write-ahead log below `wal`.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or `initdb` says no.
    pub fn create(data: &Path, wal: &Path) -> Result<()> {
        for folder in [data, wal] {
            let folder = folder.join("pg");
            std::fs::create_dir(&folder).about(folder.display())?;
            let path = folder.display().to_string();
            run(tool("chown")?.args(["postgres:", &path]), LIMIT)?.ok()?;
        }
        let mut command = as_postgres(&programs()?.join("initdb"))?;
        command.arg("--pgdata").arg(data.join("pg")).arg("--waldir").arg(wal.join("pg"));
        command.args(["--auth=trust", "--encoding=UTF8", "--no-locale"]);
        run(&mut command, LIMIT)?.ok().map(drop)
    }

    /// Starts the server; `sockets` is a folder with a short path.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(data: &Path, sockets: &Path, log: &Path) -> Result<Self> {
        let path = sockets.display().to_string();
        run(tool("chown")?.args(["postgres:", &path]), LIMIT)?.ok()?;
        let programs = programs()?;
        let mut command = as_postgres(&programs.join("postgres"))?;
        command.arg("-D").arg(data.join("pg")).arg("-k").arg(sockets);
        command.args(["-c", "listen_addresses=", "-c", "checkpoint_timeout=30s"]);
        let server = Process::start("postgres", &mut command, log)?;
        let mut postgres = Self { programs, sockets: sockets.to_owned(), server };
        postgres.wait_ready(log)?;
        Ok(postgres)
    }

    fn wait_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.query("select 1").is_err() {
            let ended = !self.server.is_running()?;
            ensure(!ended && Instant::now() < deadline, || {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                format!("PostgreSQL does not come up:\n{log}")
            })?;
            std::thread::sleep(10 * GLANCE);
        }
        Ok(())
    }

    /// What a statement returns.
    ///
    /// # Errors
    /// The server says no.
    pub fn query(&self, statement: &str) -> Result<String> {
        let mut command = self.client("psql")?;
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "-c", statement, "postgres"]);
        Ok(run(&mut command, LIMIT)?.ok()?.trim().to_owned())
    }

    /// A client program, told where the server is.
    ///
    /// # Errors
    /// It is not installed.
    pub fn client(&self, program: &str) -> Result<Command> {
        let mut command = as_postgres(&self.programs.join(program))?;
        command.arg("-h").arg(&self.sockets);
        Ok(command)
    }

    /// A client that inserts one row after the other.
    ///
    /// # Errors
    /// It does not start.
    pub fn session(&self) -> Result<Session> {
        let mut command = self.client("psql")?;
        command.args(["--no-psqlrc", "postgres"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().about("psql")?;
        let missing = || Failure::new("psql has no pipes");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Session { child, input, output })
    }

    /// Kills the server and all that it started, as if its machine had died.
    ///
    /// # Errors
    /// The system does not end it.
    pub fn kill(mut self) -> Result<()> {
        // Who waits for a lock would not notice that the others are gone.
        self.server.kill_with_children()?;
        self.server.wait(LIMIT).map(drop)
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(mut self) -> Result<()> {
        self.server.signal(rustix::process::Signal::INT)?;
        self.server.wait(LIMIT).map(drop)
    }
}

/// A connection that sends statements one by one.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// Sends a statement and waits for the line that says it is done: `INSERT 0 1`.
    ///
    /// # Errors
    /// The server is gone, or said something else.
    pub fn insert(&mut self, statement: &str) -> Result<()> {
        writeln!(self.input, "{statement}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure(line.trim() == "INSERT 0 1", || format!("'{statement}' was answered '{line}'"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The newest version's folder of programs.
///
/// # Errors
/// PostgreSQL is not installed.
pub fn programs() -> Result<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(root).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let newest = folders.filter(|folder| folder.join("postgres").is_file()).max();
    newest.ok_or_else(|| Failure::new("PostgreSQL is not installed: apt-get install postgresql"))
}

/// A command that runs as the user that PostgreSQL insists on.
fn as_postgres(program: &Path) -> Result<Command> {
    let mut command = tool("setpriv")?;
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    Ok(command)
}
