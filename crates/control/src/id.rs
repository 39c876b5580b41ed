//! Numbers that name nodes, volumes and devices, as newtypes so that none passes for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Number of a node in its resource, 0 to 31.
    NodeId(u8)
}
number! {
    /// Number of a volume in its resource, 0 to 65534.
    VolumeNumber(u16)
}
number! {
    /// Number of a volume on its node, 0 to 1048575; unique among all resources of the node.
    Minor(u32)
}
