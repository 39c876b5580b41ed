//! The VM testbed: machines with a kernel of their own, and what only they can show. How to use it
//! says docs/VM_TESTBED.md.
//!
//! A [`Machine`] boots Debian's kernel with the host's own file system as its root, read-only under
//! a layer in memory: what is installed on the host is there, what the machine writes is gone with
//! it. Its [`Agent`] runs scripts. [`cases`] are told as stories, and use nothing else.

mod acceleration;
mod agent;
mod archive;
pub mod bench;
pub mod cases;
mod disk;
mod files;
mod kernel;
mod looker;
mod machine;
mod network;
mod pair;
mod record;
mod replay;
pub mod sequence;
mod software;
mod testbed;
mod write_log;

pub use acceleration::Acceleration;
pub use agent::{Agent, Answer};
pub use disk::{Disk, VolatileDisk};
pub use files::{EXT4, FileSystem, Files, XFS};
pub use kernel::Kernel;
pub use machine::{Machine, Parts};
pub use network::Card;
pub use pair::Pair;
pub use software::Software;
pub use testbed::{Shared, Testbed};
