//! Cables between machines: each is two cards that send each other datagrams over a pair of sockets
//! in a folder, so that nothing leaves the host, nor comes near its network.

use std::path::{Path, PathBuf};

/// One end of a cable.
#[derive(Clone, Debug)]
pub struct Card {
    /// Number of the cable, in this testbed.
    cable: usize,
    /// Which end.
    end: usize,
    here: PathBuf,
    there: PathBuf,
}

/// Both ends of cable number `cable`, whose sockets lie in `folder`.
pub(crate) fn cable(cable: usize, folder: &Path) -> [Card; 2] {
    let socket = |end: usize| folder.join(format!("cable{cable}.{end}"));
    [0, 1].map(|end| Card { cable, end, here: socket(end), there: socket(1 - end) })
}

impl Card {
    /// Options of QEMU.
    pub(crate) fn options(&self) -> [String; 4] {
        let Self { cable, end, here, there } = self;
        let (here, there) = (here.display(), there.display());
        let id = format!("cable{cable}");
        [
            "-netdev".to_owned(),
            format!(
                "dgram,id={id},local.type=unix,local.path={here},remote.type=unix,\
                 remote.path={there}"
            ),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev={id},mac=52:54:00:74:{cable:02x}:{end:02x},romfile="),
        ]
    }
}
