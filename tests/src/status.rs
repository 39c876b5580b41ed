//! `status --json` of one resource, with words for what the tests look at.
//!
//! Volumes are looked up by their number, never by their place.

use serde_json::Value;

use crate::{Context, Failure, Result};

/// What a node says of a resource.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Status {
    /// Of a resource, from the text that `status --json` prints.
    ///
    /// # Errors
    /// The text is no JSON, or does not have the resource.
    pub fn parse(text: &str, resource: &str) -> Result<Self> {
        let all: Value = serde_json::from_str(text).about("status --json")?;
        let mut resources = all.as_array().into_iter().flatten();
        let found = resources.find(|it| it["name"] == resource).cloned();
        found.map(Self).ok_or_else(|| Failure::new(format!("status has no '{resource}': {text}")))
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// `Primary` or `Secondary`.
    pub fn role(&self) -> &str {
        text(&self.0["role"])
    }

    /// State of the disk of a volume.
    pub fn disk(&self, volume: u16) -> &str {
        text(&self.volume(volume)["disk-state"])
    }

    /// Length of a volume, in bytes.
    pub fn size_bytes(&self, volume: u16) -> u64 {
        self.volume(volume)["size"].as_u64().unwrap_or(0) * 1024
    }

    /// State of the connection to the peer.
    pub fn connection(&self) -> &str {
        text(&self.0["connections"][0]["connection-state"])
    }

    /// `Normal`, `SplitBrain` or `Unrelated`.
    pub fn sync_state(&self) -> &str {
        text(&self.0["connections"][0]["sync-state"])
    }

    /// What has come from the peer for a volume, in KiB.
    pub fn received_kib(&self, volume: u16) -> u64 {
        self.peer_device(volume)["received"].as_u64().unwrap_or(0)
    }

    /// State of the peer's disk of a volume.
    pub fn peer_disk(&self, volume: u16) -> &str {
        text(&self.peer_device(volume)["peer-disk-state"])
    }

    /// Replication state of a volume.
    pub fn replication(&self, volume: u16) -> &str {
        text(&self.peer_device(volume)["replication-state"])
    }

    /// Bytes out of sync with the peer.
    pub fn out_of_sync_bytes(&self, volume: u16) -> u64 {
        self.peer_device(volume)["out-of-sync"].as_u64().unwrap_or(0) * 1024
    }

    /// Whether every volume is the same on both nodes, and nothing is under way between them.
    pub fn is_in_sync(&self) -> bool {
        let devices = self.0["connections"][0]["peer_devices"].as_array();
        let volumes = self.0["devices"].as_array();
        self.connection() == "Connected"
            && self.0["connections"][0]["ap-in-flight"] == 0
            && volumes.is_some_and(|all| all.iter().all(|it| it["disk-state"] == "UpToDate"))
            && devices.is_some_and(|all| {
                all.iter().all(|it| {
                    it["replication-state"] == "Established"
                        && it["peer-disk-state"] == "UpToDate"
                        && it["out-of-sync"] == 0
                })
            })
    }

    fn volume(&self, volume: u16) -> &Value {
        numbered(&self.0["devices"], volume)
    }

    fn peer_device(&self, volume: u16) -> &Value {
        numbered(&self.0["connections"][0]["peer_devices"], volume)
    }
}

fn numbered(list: &Value, volume: u16) -> &Value {
    let mut entries = list.as_array().into_iter().flatten();
    entries.find(|it| it["volume"] == volume).unwrap_or(&Value::Null)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
