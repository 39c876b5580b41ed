//! The language: what is read, what is refused with which words, and that a dump reads back.

mod bad;
mod documented;
mod good;
mod include;
mod parts;
mod round_trip;
mod understood;

use super::{Backing, Config, PeerConfig, PeerPath, ResourceConfig, VolumeConfig};

/// The common subset with one volume, on nodes `a` and `b`, with `extra` in the resource.
fn pair(extra: &str) -> String {
    format!(
        "resource r0 {{
            volume 0 {{ device minor 1; disk /dev/sda; }}
            on a {{ node-id 0; address 10.0.0.1:7000; }}
            on b {{ node-id 1; address 10.0.0.2:7000; }}
            {extra}
        }}"
    )
}

fn parse(text: &str) -> Config {
    Config::parse("t.res".as_ref(), text).unwrap_or_else(|errors| panic!("{errors}\nin: {text}"))
}

fn seen_from_a(text: &str) -> ResourceConfig {
    parse(text).seen_from("a").remove(0)
}

fn backing_of(volume: &VolumeConfig) -> &Backing {
    volume.backing.as_ref().unwrap()
}

fn path_of(peer: &PeerConfig) -> PeerPath {
    peer.path.unwrap()
}

fn warnings(text: &str) -> Vec<String> {
    parse(text).warnings.into_iter().map(|warning| warning.message).collect()
}
