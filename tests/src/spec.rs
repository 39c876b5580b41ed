//! What a cluster is to be, and its configuration files.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the metadata of the volumes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// At the end of each backing disk.
    #[default]
    Internal,
    /// In a file of its own for each backing disk.
    External,
}

/// A resource `r0` on two nodes, `a` and `b`.
#[derive(Clone, Debug)]
pub struct Spec {
    /// `A`, `B` or `C`.
    pub protocol: char,
    /// Lengths of the backing disks in bytes, one for each volume.
    pub volumes: Vec<u64>,
    /// Where the metadata are.
    pub metadata: Metadata,
    /// Whether each node listens on TCP for NBD clients.
    pub nbd_over_tcp: bool,
    /// More options of the net section.
    pub net: String,
    /// Options of the disk section.
    pub disk: String,
    /// Handlers, as they stand in their section.
    pub handlers: String,
    /// Options of the resource, as they stand in their section.
    pub options: String,
    /// The nodes talk to each other without a proxy between them.
    pub is_direct: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            protocol: 'C',
            volumes: vec![64 << 20],
            metadata: Metadata::Internal,
            nbd_over_tcp: false,
            net: String::new(),
            disk: String::new(),
            handlers: String::new(),
            options: String::new(),
            is_direct: false,
        }
    }
}

impl Spec {
    /// One volume of `bytes`.
    pub fn with_bytes(bytes: u64) -> Self {
        Self { volumes: vec![bytes], ..Self::default() }
    }

    /// One small volume, replicated by `protocol`.
    pub fn with_protocol(protocol: char) -> Self {
        Self { protocol, ..Self::default() }
    }
}

/// The name of the resource.
pub const RESOURCE: &str = "r0";

/// Bytes of a file of external metadata.
pub(crate) const META_BYTES: u64 = 4 << 20;

/// A node as its configuration file names it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// `a` or `b`.
    pub(crate) name: &'static str,
    /// Backing disks by volume number.
    pub(crate) disks: Vec<PathBuf>,
    /// Where the node listens for its peer.
    pub(crate) address: SocketAddr,
}

/// The `.res` file of one node: `hosts` are as this node is to see them.
pub(crate) fn resource_file(spec: &Spec, hosts: &[Host]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "resource r0 {{");
    let _ = writeln!(text, "    net {{\n        protocol {};", spec.protocol);
    // A test does not wait as long for a dead peer as a person would.
    let _ = writeln!(text, "        timeout 9;\n        connect-int 1;\n        ping-int 1;");
    if !spec.net.is_empty() {
        let _ = writeln!(text, "        {}", spec.net);
    }
    let _ = writeln!(text, "    }}");
    let _ = writeln!(text, "    disk {{ {} }}", spec.disk);
    if !spec.options.is_empty() {
        let _ = writeln!(text, "    options {{ {} }}", spec.options);
    }
    if !spec.handlers.is_empty() {
        let _ = writeln!(text, "    handlers {{ {} }}", spec.handlers);
    }
    for (number, host) in hosts.iter().enumerate() {
        let _ = writeln!(text, "    on {} {{\n        node-id {number};", host.name);
        let _ = writeln!(text, "        address {};", host.address);
        for (volume, disk) in host.disks.iter().enumerate() {
            let meta = match spec.metadata {
                Metadata::Internal => "internal".to_owned(),
                Metadata::External => meta_file(disk).display().to_string(),
            };
            let _ = writeln!(text, "        volume {volume} {{");
            let _ = writeln!(text, "            device minor {volume};");
            let _ = writeln!(text, "            disk {};", disk.display());
            let _ = writeln!(text, "            meta-disk {meta};\n        }}");
        }
        let _ = writeln!(text, "    }}");
    }
    let _ = writeln!(text, "}}");
    text
}

/// The file of external metadata that belongs to a disk.
pub(crate) fn meta_file(disk: &Path) -> PathBuf {
    disk.with_extension("meta")
}
