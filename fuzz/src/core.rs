//! Cores to be fuzzed: a node with a disk in memory, and the link between two of them.

mod disk;
mod frame;
mod node;
mod pair;
mod script;

pub(crate) use disk::MemoryDisk;
pub(crate) use frame::{any_frame, reseal};
pub(crate) use node::{DEVICE_BYTES, Node, Stand, layout};
pub(crate) use pair::{Edit, Pair};
pub(crate) use script::{any_command, any_request};
