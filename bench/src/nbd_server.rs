//! nbd-server, the reference implementation: one copy, through the page cache.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tandem_tests::tool::tool;
use tandem_tests::{Context, Failure, Result, fail, free_address, loopback, run};

use crate::qemu::await_socket;

/// What the export is called.
const EXPORT: &str = "disk";

/// How long it may take to go into the background.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The daemon. It is no child of ours: without going into the background, it serves one client and
/// ends. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    pid: Pid,
    /// The export.
    pub uri: String,
}

impl Server {
    /// Serves `file` on a socket in `folder`.
    ///
    /// # Errors
    /// It is missing, or does not come up.
    pub fn start(folder: &Path, file: &Path) -> Result<Self> {
        let [socket, config, pid] = ["main.sock", "conf", "pid"].map(|name| folder.join(name));
        // It listens on TCP whatever it is told; on a port that nobody else uses.
        let address = free_address(loopback())?;
        let text = format!(
            "[generic]\nlistenaddr = {}\nport = {}\nunixsock = {}\n[{EXPORT}]\nexportname = {}\n\
             flush = true\nfua = true\n",
            address.ip(),
            address.port(),
            socket.display(),
            file.display()
        );
        std::fs::write(&config, text).about(config.display())?;
        let mut command = tool("nbd-server")?;
        command.arg("-C").arg(&config).arg("-p").arg(&pid);
        run(&mut command, START_LIMIT)?.ok()?;
        await_socket(&socket, &pid)?;
        let text = std::fs::read_to_string(&pid).about(pid.display())?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new(format!("nbd-server has the pid '{text}'")))?;
        Ok(Self { pid, uri: format!("nbd+unix:///{EXPORT}?socket={}", socket.display()) })
    }

    /// Its process id. Clients are served by children, whose time is its own when they have ended.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// It has not ended within `limit`.
    pub fn end(&self, limit: Duration) -> Result<()> {
        kill_process(self.pid, Signal::TERM).about("nbd-server")?;
        let begun = Instant::now();
        while self.is_running() {
            if begun.elapsed() > limit {
                return fail(format!("nbd-server has not ended within {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether it is there, and not one that is dead and that nobody has asked for.
    fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok();
        let state = stat.and_then(|it| it.rsplit_once(") ")?.1.chars().next());
        state.is_some_and(|state| state != 'Z')
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_running() {
            // The only error is that it has ended meanwhile.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a machine that has other things to do.
    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn it_serves_one_client_after_the_other_and_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.img");
        std::fs::write(&file, vec![7; 1 << 20]).expect("there is room");
        let server = Server::start(folder.path(), &file).expect("it starts");
        for _ in 0..2 {
            let size = tandem_tests::tool::run_tool("nbdinfo", &["--size", &server.uri], LIMIT);
            let size = size.and_then(tandem_tests::Output::ok).expect("it answers");
            assert_eq!(size.trim(), "1048576");
        }
        server.end(LIMIT).expect("it ends");
        assert!(!server.is_running());
    }
}
