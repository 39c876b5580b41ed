//! The same as JSON, with drbdsetup's keys.

use serde_json::{Map, Value, json};

use super::{Shown, addresses};
use crate::config::options::of_texts;
use crate::config::table::{Kind, Section};
use crate::config::{MetaDisk, OptionTexts, PeerConfig, VolumeConfig};

/// The JSON array of all resources.
pub fn show_json(resources: &[Shown<'_>]) -> String {
    let all: Vec<Value> = resources.iter().map(resource).collect();
    format!("{:#}\n", Value::from(all))
}

fn resource(shown: &Shown<'_>) -> Value {
    let config = shown.config;
    let volumes: Vec<Value> = config.volumes.iter().map(|it| volume(shown, it)).collect();
    let mut object = Map::new();
    object.insert("resource".to_owned(), config.name.clone().into());
    object.insert("options".to_owned(), options(&config.written, Section::Options));
    let this_host = json!({ "node-id": config.node_id.0, "volumes": volumes });
    object.insert("_this_host".to_owned(), this_host);
    let connections: Vec<Value> = config.peers.iter().map(|it| connection(shown, it)).collect();
    if !connections.is_empty() {
        object.insert("connections".to_owned(), connections.into());
    }
    object.into()
}

fn volume(shown: &Shown<'_>, volume: &VolumeConfig) -> Value {
    let mut object = Map::new();
    object.insert("volume_nr".to_owned(), volume.number.0.into());
    object.insert("device_minor".to_owned(), volume.minor.0.into());
    if let Some(backing) = shown.attached(volume) {
        let meta_disk = match &backing.meta_disk {
            MetaDisk::Internal => "internal".to_owned(),
            MetaDisk::External { path, .. } => path.display().to_string(),
        };
        object.insert("backing-disk".to_owned(), backing.disk.display().to_string().into());
        object.insert("meta-disk".to_owned(), meta_disk.into());
        object.insert("disk".to_owned(), options(&volume.written, Section::OwnDisk));
    }
    object.into()
}

fn connection(shown: &Shown<'_>, peer: &PeerConfig) -> Value {
    let mut object = Map::new();
    if let Some(path) = peer.path {
        let [own, peer] = addresses(path);
        object.insert("path".to_owned(), json!({ "_this_host": own, "_remote_host": peer }));
    }
    if shown.is_standalone(peer) {
        object.insert("_is_standalone".to_owned(), true.into());
    }
    let mut net = options(&peer.written, Section::Net);
    net["_name"] = peer.name.clone().into();
    object.insert("net".to_owned(), net);
    let volumes = peer.volumes.iter().filter(|volume| !volume.written.is_empty()).map(|volume| {
        let disk = options(&volume.written, Section::PeerDisk);
        json!({ "volume_nr": volume.number.0, "disk": disk })
    });
    let volumes: Vec<Value> = volumes.collect();
    if !volumes.is_empty() {
        object.insert("volumes".to_owned(), volumes.into());
    }
    object.insert("_peer_node_id".to_owned(), peer.node_id.0.into());
    object.into()
}

/// Numbers in the unit of the option, flags as such.
fn options(written: &OptionTexts, section: Section) -> Value {
    let set = of_texts(written, section).map(|(set, _)| set).unwrap_or_default();
    let values = set.into_iter().map(|(name, value)| {
        let is_flag = section.find(name).is_some_and(|spec| matches!(spec.kind, Kind::Flag));
        let shown = match value.number {
            Some(number) => number.into(),
            None if is_flag => (value.text == "yes").into(),
            None => value.text.into(),
        };
        (name.to_owned(), shown)
    });
    Value::Object(values.collect())
}
