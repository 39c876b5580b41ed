//! The pair that a story is about, and the directions that set it.
//!
//! | direction | does |
//! |---|---|
//! | `in-sync` | metadata, daemons, `a` Primary, both UpToDate |
//! | `start a`, `stop a`, `kill a` | the daemon of `a` |
//! | `wait a KEY:VALUE ...` | until `status` says all of it; `KEYS` are known |
//! | `wait in-sync` | until both nodes say that they have the same |
//! | `open a`, `close a` | a client of `a`'s volume 0 comes, and goes |
//! | `write a N` | a client writes the first N blocks of 4 KiB, and goes |
//! | `damage a N` | the first N blocks on the disk of `a` become others, behind its back |
//! | `enlarge a N` | the disk of `a` has N MiB from here on |
//! | `edit a OLD => NEW` | in the configuration of `a` |
//! | `cut`, `heal` | the network |

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use tandem_tests::{
    Binaries, Cluster, Context, Failure, NbdClient, Node, Output, Result, Side, Status, ensure,
    fail, free_address, loopback, run,
};

use super::constant::Constant;

/// How long a state may take, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(60);

/// A pair and its clients.
#[derive(Debug)]
pub(super) struct Stage {
    clients: [Option<NbdClient>; 2],
    cluster: Cluster,
    binaries: Binaries,
    constant: Constant,
    /// What stands for what in the words of a story.
    names: Vec<(&'static str, String)>,
}

impl Stage {
    pub(super) fn new(cluster: Cluster) -> Result<Self> {
        let run_dir = |side| cluster.node(side).run_dir().display().to_string();
        let paths = vec![
            (cluster.folder().display().to_string(), "DIR"),
            (run_dir(Side::A), "RUN-a"),
            (run_dir(Side::B), "RUN-b"),
        ];
        let ip = loopback();
        let names = vec![
            ("DIR", cluster.folder().display().to_string()),
            ("THERE", free_address(ip)?.to_string()),
            ("HERE", free_address(ip)?.to_string()),
        ];
        let (binaries, constant) = (Binaries::find()?, Constant::new(paths));
        Ok(Self { clients: [None, None], cluster, binaries, constant, names })
    }

    /// The text without what differs from run to run.
    pub(super) fn constant(&mut self, text: &str) -> String {
        self.constant.of(text)
    }

    /// Ends the daemons in good order.
    pub(super) fn finish(self) -> Result<()> {
        drop(self.clients);
        self.cluster.finish()
    }

    /// Runs a command line at a node.
    pub(super) fn run(&self, side: Side, line: &str) -> Result<Output> {
        let node = self.cluster.node(side);
        let line = self.named(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = Command::new(&self.binaries.tandemadm);
        command.env("TANDEM_NODE", node.name()).env("TANDEM_RUN_DIR", node.run_dir());
        match words.split_first() {
            Some((program, rest)) if *program == "tandemadm" => {
                if !rest.contains(&"-c") {
                    command.arg("-c").arg(node.config());
                }
                command.args(rest);
            }
            Some((program, rest)) if *program == "drbdsetup" => {
                command.arg(program).args(rest);
            }
            Some(_) | None => return fail("it is for tandemadm or drbdsetup"),
        }
        run(&mut command, LIMIT)
    }

    /// Does what a direction says.
    pub(super) fn direct(&mut self, words: &str) -> Result<()> {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        match (verb, rest) {
            ("in-sync", "") => return self.cluster.bring_up(),
            ("wait", "in-sync") => return self.cluster.wait_in_sync(),
            ("cut", "") => {
                self.cluster.link().cut();
                return Ok(());
            }
            ("heal", "") => {
                self.cluster.link().heal();
                return Ok(());
            }
            _ => {}
        }
        let (side, rest) = side(rest)?;
        let node = self.cluster.node(side);
        match verb {
            "start" => self.cluster.node_mut(side).start(),
            "stop" => self.cluster.node_mut(side).stop(),
            "kill" => self.cluster.node_mut(side).kill(),
            "wait" => wait(node, rest),
            "open" => {
                self.clients[side as usize] = Some(node.client(0)?);
                Ok(())
            }
            "close" => {
                let client = self.clients[side as usize].take();
                Ok(client.ok_or_else(|| Failure::new("there is no client"))?.disconnect()?)
            }
            "write" => write(node, rest.parse().about("blocks")?),
            "damage" => damage(node, rest.parse().about("blocks")?),
            "enlarge" => {
                let mib: u64 = rest.parse().about("MiB")?;
                let disk = OpenOptions::new().write(true).open(node.disk(0))?;
                disk.set_len(mib << 20).about("enlarge")
            }
            "edit" => edit(node, &self.named(rest)),
            _ => fail("there is no such direction"),
        }
    }

    /// The words with what their names stand for.
    fn named(&self, words: &str) -> String {
        let replace = |words: String, (name, text): &(&str, String)| words.replace(name, text);
        self.names.iter().fold(words.to_owned(), replace)
    }
}

fn side(words: &str) -> Result<(Side, &str)> {
    let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
    match name {
        "a" => Ok((Side::A, rest)),
        "b" => Ok((Side::B, rest)),
        _ => fail("a node is a or b"),
    }
}

fn wait(node: &Node, pairs: &str) -> Result<()> {
    let mut wanted = Vec::new();
    for pair in pairs.split_whitespace() {
        let (key, value) = pair.split_once(':').ok_or_else(|| Failure::new("KEY:VALUE"))?;
        ensure(KEYS.contains(&key), || format!("there is no key '{key}'"))?;
        wanted.push((key, value));
    }
    let is_so = |status: &Status| wanted.iter().all(|(key, value)| state(status, key) == *value);
    node.wait(pairs, LIMIT, is_so).map(drop)
}

/// What can be waited for.
const KEYS: &[&str] = &[
    "role",
    "disk",
    "connection",
    "peer-role",
    "replication",
    "peer-disk",
    "sync-state",
    "resync-suspended",
    "suspended-fencing",
    "suspended-no-data",
    "verify-found-blocks",
    "authentication",
    "reason",
];

fn state(status: &Status, key: &str) -> String {
    let connection = &status.json()["connections"][0];
    let value = match key {
        "disk" => return status.disk(0).to_owned(),
        "connection" => return status.connection().to_owned(),
        "replication" => return status.replication(0).to_owned(),
        "peer-disk" => return status.peer_disk(0).to_owned(),
        "sync-state" => return status.sync_state().to_owned(),
        "peer-role" => &connection["peer-role"],
        // The word that it begins with.
        "reason" => {
            let reason = connection["disconnect-reason"].as_str().unwrap_or("null");
            return reason.split(' ').next().unwrap_or_default().to_owned();
        }
        "authentication" => return authentication(&connection["authentication-error"]).to_owned(),
        "resync-suspended" | "verify-found-blocks" => &connection["peer_devices"][0][key],
        _ => &status.json()[key],
    };
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What of it differs: `secret`, `algorithm` or `one`, which has none; `ok` where nothing does.
fn authentication(error: &serde_json::Value) -> &'static str {
    match error.as_str() {
        None => "ok",
        Some(text) if text.contains("does not know the shared-secret") => "secret",
        Some(text) if text.contains("cram-hmac-alg is") => "algorithm",
        Some(_) => "one",
    }
}

fn write(node: &Node, blocks: usize) -> Result<()> {
    let mut client = node.client(0)?;
    client.write(0, &vec![7; blocks * 4096])?;
    Ok(client.disconnect()?)
}

fn damage(node: &Node, blocks: u64) -> Result<()> {
    let disk = OpenOptions::new().write(true).open(node.disk(0))?;
    (0..blocks).try_for_each(|block| disk.write_all_at(b"rotten", block * 4096))?;
    Ok(disk.sync_all()?)
}

fn edit(node: &Node, change: &str) -> Result<()> {
    let (old, new) = change.split_once(" => ").ok_or_else(|| Failure::new("OLD => NEW"))?;
    let text = std::fs::read_to_string(node.config()).about(node.config().display())?;
    ensure(text.contains(old), || format!("there is no '{old}' in the configuration"))?;
    std::fs::write(node.config(), text.replacen(old, new, 1)).about(node.config().display())
}
