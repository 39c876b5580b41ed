//! Losing packets between the nodes in the kernel, in a network of the test's own.
//!
//! Where the proxies of [`Link`] stall, both ends of each connection are still acknowledged by the
//! kernel. Here nothing is: what a node sends is lost, retransmissions and all. It needs root and a
//! network namespace that nobody else is in; whoever starts the test in one says so by
//! `TANDEM_NETNS`.

use std::time::Duration;

use crate::proxy::Direction;
use crate::tool::run_tool;
use crate::{Link, Result};

/// How long the kernel may take to change its rules.
const LIMIT: Duration = Duration::from_secs(10);

const TABLE: &str = "tandem-tests";

/// The packets of a test that runs in a network of its own.
#[derive(Debug)]
pub struct Packets(());

impl Packets {
    /// Those of this process, if its network is its own.
    ///
    /// # Errors
    /// The kernel or `nft` cannot do it.
    pub fn of_own_network() -> Result<Option<Self>> {
        if std::env::var_os("TANDEM_NETNS").is_none() {
            return Ok(None);
        }
        nft(&["add", "table", "ip", TABLE])?;
        let hook = "{ type filter hook input priority 0; policy accept; }";
        nft(&["add", "chain", "ip", TABLE, "in", hook])?;
        Ok(Some(Self(())))
    }

    /// Loses everything that the node sends which `direction` begins at.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lose(&self, link: &Link, direction: Direction) -> Result<()> {
        let [to, from] = link.passed(direction).map(|address| address.port().to_string());
        nft(&["add", "rule", "ip", TABLE, "in", "tcp", "dport", &to, "drop"])?;
        nft(&["add", "rule", "ip", TABLE, "in", "tcp", "sport", &from, "drop"])
    }

    /// Loses nothing any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn heal(&self) -> Result<()> {
        nft(&["flush", "chain", "ip", TABLE, "in"])
    }
}

fn nft(arguments: &[&str]) -> Result<()> {
    run_tool("nft", arguments, LIMIT)?.ok().map(drop)
}
