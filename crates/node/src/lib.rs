//! tandemd, the node daemon: the shell around the core, which waits and carries out.
//!
//! A few data threads (`shard`) own the resources: each has one io_uring, through which go disks,
//! peer links and NBD clients, and feeds what completes to `replica::Resource`; `drain` carries out
//! what that decides. One tokio thread (`control`) does everything slow and rare: it accepts,
//! dials, greets, serves the admin socket, and passes finished connections on. They talk by
//! `mail`, never on the data path. `start` is the life of the process.

mod budget;
mod clock;
mod control;
mod disk;
mod drain;
mod export;
mod hosted;
mod io;
pub mod limits;
mod link;
mod mail;
mod opener;
mod pace;
mod random;
mod shard;
mod slab;
mod start;
mod stream;
mod survey;
mod token;
mod transform;
mod watch;
mod worklist;

pub use start::{DaemonError, Settings, run};
