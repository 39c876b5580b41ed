//! The options of one section of a running resource, set to what the configuration says.

use clap::Subcommand;
use tandem_control::admin::Request;
use tandem_control::config::{OptionTexts, Part, PartOptions, PeerConfig};

use super::Step;
use crate::cli::Objects;
use crate::object::{Allowed, PEER, PEER_DEVICE, RESOURCE, Target, VOLUME};

/// Which section.
#[derive(Debug, Subcommand)]
pub(crate) enum SectionOptions {
    /// Change the options of running resources to what the configuration says (section options)
    #[command(name = "resource-options")]
    Resource(Objects),
    /// Change the options of disks (section disk)
    #[command(name = "disk-options")]
    Disk(Objects),
    /// Change the options of connections (section net)
    #[command(name = "net-options")]
    Net(Objects),
    /// Change the options of resyncs with peers (section disk)
    #[command(name = "peer-device-options")]
    PeerDevice(Objects),
}

impl SectionOptions {
    pub(super) fn objects(&self) -> (&Objects, Allowed) {
        match self {
            Self::Resource(objects) => (objects, RESOURCE),
            Self::Disk(objects) => (objects, VOLUME),
            Self::Net(objects) => (objects, PEER),
            Self::PeerDevice(objects) => (objects, PEER_DEVICE),
        }
    }

    pub(super) fn steps(&self, target: &Target<'_>) -> Vec<Step> {
        let step = |part| {
            let resource = target.config.name.clone();
            Step::Ask(Request::Part { resource, part })
        };
        match self {
            Self::Resource(_) => {
                vec![step(Part::ResourceOptions(as_written(&target.config.written)))]
            }
            Self::Disk(_) => {
                let parts = target.volumes().map(|it| {
                    let options = as_written(&it.written);
                    Part::DiskOptions { volume: it.number, options }
                });
                parts.map(step).collect()
            }
            Self::Net(_) => {
                let parts = target.peers().map(|it| {
                    let options = as_written(&it.written);
                    Part::NetOptions { peer: it.node_id, options }
                });
                parts.map(step).collect()
            }
            Self::PeerDevice(_) => {
                target.peers().flat_map(|peer| of_peer(target, peer)).map(step).collect()
            }
        }
    }
}

fn of_peer(target: &Target<'_>, peer: &PeerConfig) -> Vec<Part> {
    let meant: Vec<_> = target.volumes().map(|volume| volume.number).collect();
    let volumes = peer.volumes.iter().filter(|it| meant.contains(&it.number));
    let parts = volumes.map(|it| {
        let options = as_written(&it.written);
        Part::PeerVolumeOptions { peer: peer.node_id, volume: it.number, options }
    });
    parts.collect()
}

/// What is not in the configuration goes back to its default.
fn as_written(texts: &OptionTexts) -> PartOptions {
    PartOptions { texts: texts.clone(), set_defaults: true }
}
