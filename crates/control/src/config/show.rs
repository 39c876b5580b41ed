//! The configuration of resources that run, as `drbdsetup show` tells it: text in DRBD's language,
//! which drbdadm reads to find what it has to change, and JSON.
//!
//! Only what is set is told, in the words it was set with. A disk is told while it is attached.

use super::writer::{Writer, address_text, is_plain, quoted};
use super::{Backing, MetaDisk, OptionTexts, PeerConfig, PeerPath, ResourceConfig, VolumeConfig};
use crate::names::{ConnectionState, DiskState};
use crate::secret::Secret;
use crate::status::ResourceStatus;

mod json;

pub use json::show_json;

/// A resource, how it is configured and how it is.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// How it is configured.
    pub config: &'a ResourceConfig,
    /// How it is.
    pub status: &'a ResourceStatus,
}

/// The text of all resources.
pub fn show(resources: &[Shown<'_>]) -> String {
    if resources.is_empty() {
        return "# No currently configured DRBD found.\n".to_owned();
    }
    let mut text = Text { out: Writer::default() };
    for resource in resources {
        text.resource(resource);
    }
    text.out.finish()
}

impl Shown<'_> {
    /// The disk of a volume, while it is attached.
    fn attached<'a>(&self, volume: &'a VolumeConfig) -> Option<&'a Backing> {
        let mut states = self.status.volumes.iter().filter(|it| it.volume == volume.number);
        let is_attached = states.any(|it| it.disk_state != DiskState::Diskless);
        volume.backing.as_ref().filter(|_| is_attached)
    }

    fn is_standalone(&self, peer: &PeerConfig) -> bool {
        let mut states = self.status.connections.iter();
        let connection = states.find(|it| it.peer_node_id == peer.node_id);
        connection.is_none_or(|it| it.connection_state == ConnectionState::StandAlone)
    }
}

/// Where metadata lies, as drbd.conf says it.
fn meta_disk(backing: &Backing) -> String {
    match &backing.meta_disk {
        MetaDisk::Internal => "internal".to_owned(),
        MetaDisk::External { path, index } => {
            let slot = index.map(|index| format!(" [ {index} ]")).unwrap_or_default();
            format!("{}{slot}", quoted(&path.display().to_string()))
        }
    }
}

/// Both addresses of a path.
fn addresses(path: PeerPath) -> [String; 2] {
    [path.own_address, path.peer_address].map(address_text)
}

struct Text {
    out: Writer,
}

impl Text {
    fn resource(&mut self, shown: &Shown<'_>) {
        let config = shown.config;
        self.out.open(&format!("resource {}", quoted(&config.name)));
        self.options("options", &config.written);
        self.out.open("_this_host");
        self.value("node-id", &config.node_id.to_string());
        for volume in &config.volumes {
            self.volume(volume, shown.attached(volume));
        }
        self.out.close();
        for peer in &config.peers {
            self.connection(peer, shown.is_standalone(peer));
        }
        self.out.close();
        self.out.blank();
    }

    fn volume(&mut self, volume: &VolumeConfig, attached: Option<&Backing>) {
        self.out.open(&format!("volume {}", volume.number));
        self.value("device", &format!("minor {}", volume.minor));
        if let Some(backing) = attached {
            self.value("disk", &quoted(&backing.disk.display().to_string()));
            self.value("meta-disk", &meta_disk(backing));
            self.options("disk", &volume.written);
        }
        self.out.close();
    }

    fn connection(&mut self, peer: &PeerConfig, is_standalone: bool) {
        self.out.open("connection");
        self.value("_peer_node_id", &peer.node_id.to_string());
        if let Some(path) = peer.path {
            let [own, peer] = addresses(path);
            self.out.open("path");
            self.value("_this_host", &own);
            self.value("_remote_host", &peer);
            self.out.close();
        }
        if is_standalone {
            self.out.line("_is_standalone;");
        }
        let mut net = peer.written.clone();
        net.insert("_name".to_owned(), Secret::new(peer.name.clone()));
        self.options("net", &net);
        for volume in peer.volumes.iter().filter(|volume| !volume.written.is_empty()) {
            self.out.open(&format!("volume {}", volume.number));
            self.options("disk", &volume.written);
            self.out.close();
        }
        self.out.close();
    }

    fn options(&mut self, section: &str, written: &OptionTexts) {
        if written.is_empty() {
            return;
        }
        self.out.open(section);
        for (name, text) in written {
            self.value(name, &quoted_where_needed(text.reveal()));
        }
        self.out.close();
    }

    fn value(&mut self, name: &str, value: &str) {
        self.out.line(&format!("{name:<16}\t{value};"));
    }
}

/// A word that is a name or a number stays bare, as drbdsetup shows it.
fn quoted_where_needed(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}
