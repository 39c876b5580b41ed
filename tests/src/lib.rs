//! Harness of the system tests and of the demo: real daemons, real clients, real faults.
//!
//! It owns what it starts: a [`Cluster`] is two nodes with their disks, run directories and the
//! [`Link`] between them, and ends every process that it started, by its pid, when it is dropped.
//! Nothing here knows the inside of the daemon: it is driven by `tandemadm`, by NBD clients and by
//! faults, and judged by what it says (`status --json`), by what is read back ([`Audit`]) and by
//! the backing files ([`image`]).
//!
//! Everything is bounded in time. What goes wrong is a [`Failure`], a sentence for a person; a
//! missing tool is one too, never a skip. A cluster that was not [finished](Cluster::finish) prints
//! the tail of its daemons' logs and leaves its folder behind.

mod address;
pub mod audit;
mod binaries;
mod cluster;
mod extended;
mod failure;
mod faulty;
mod front;
pub mod image;
mod load;
mod loop_device;
mod median;
mod mounted;
pub mod nbd;
mod node;
mod packets;
pub mod postgres;
mod process;
pub mod proxy;
mod random;
mod relay;
mod served;
pub mod spec;
pub mod stamp;
mod status;
pub mod tool;
mod volatile;

pub use address::{free_address, loopback};
pub use audit::{Audit, Must};
pub use binaries::Binaries;
pub use cluster::{Cluster, Side};
pub use extended::{Allocation, Ask, ExtendedClient};
pub use failure::{Context, Failure, Result, ensure, fail};
pub use faulty::{Fault, FaultyDisk};
pub use front::Front;
pub use load::{Load, LoadSpec, Outcome};
pub use loop_device::LoopDevice;
pub use median::median;
pub use mounted::{FileSystem, Mount, Mounted};
pub use nbd::NbdClient;
pub use node::Node;
pub use packets::Packets;
pub use process::{Output, Process, run};
pub use proxy::Link;
pub use random::Random;
pub use relay::Relay;
pub use spec::{Metadata, Spec};
pub use status::Status;
pub use volatile::VolatileDisk;
