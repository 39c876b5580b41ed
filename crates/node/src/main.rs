//! tandemd: the node daemon. Reads its command line and runs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tandem_node::{Settings, run};
use tracing_subscriber::EnvFilter;

/// The node daemon of tandem: replicates volumes to a peer and serves them over NBD.
///
/// Brings up every resource of the configuration file that names this node, and runs in the
/// foreground until SIGTERM or SIGINT. The file DIR/ready exists while it serves. Exports are at
/// DIR/nbd.sock, as nbd+unix:///RESOURCE/VOLUME?socket=DIR/nbd.sock; tandemadm talks to
/// DIR/admin.sock. What it logs goes to standard error; RUST_LOG=debug makes it say more.
#[derive(Debug, Parser)]
#[command(name = "tandemd", version)]
struct Arguments {
    /// Which `on NAME` sections are this node; the host name by default
    #[arg(long, value_name = "NAME", env = "TANDEM_NODE")]
    node: Option<String>,

    /// Resources, in DRBD's configuration language
    #[arg(short, long, value_name = "FILE.res", default_value = "/etc/tandem.conf")]
    config: PathBuf,

    /// Sockets, pid file and `ready`; several nodes on one host differ by it
    #[arg(long, value_name = "DIR", env = "TANDEM_RUN_DIR", default_value = "/run/tandem")]
    run_dir: PathBuf,

    /// Listeners, data threads and limits of this daemon; /etc/tandem/tandemd.toml if it exists
    #[arg(long, value_name = "FILE.toml")]
    tandemd_config: Option<PathBuf>,

    /// Serve one NBD client on standard input and output too, and stop when it is gone
    #[arg(long)]
    stdio: bool,
}

/// Where the daemon's own configuration is unless the command line says.
const DAEMON_CONFIG: &str = "/etc/tandem/tandemd.toml";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    abort_on_panic();
    let default = PathBuf::from(DAEMON_CONFIG);
    let settings = Settings {
        node: arguments.node.unwrap_or_else(host_name),
        config: arguments.config,
        daemon_config: arguments.tandemd_config.or_else(|| default.exists().then_some(default)),
        run_dir: arguments.run_dir,
        stdio: arguments.stdio,
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A broken invariant in one thread must not leave the others serving: peers and clients take the
/// end of the process for what it is.
fn abort_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_manual_page_has_every_option() {
        let page = include_str!("../../../docs/man/tandemd.8");
        let command = Arguments::command();
        let longs: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(longs.len() > 4);
        for long in longs {
            assert!(page.contains(&format!("Fl -{long}")), "--{long}");
        }
    }
}
