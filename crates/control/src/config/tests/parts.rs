//! Resources that are put together from parts, and shown.

use std::path::PathBuf;

use super::parse;
use crate::config::{
    Backing, MetaDisk, OptionTexts, Part, PartOptions, PeerPath, ResourceConfig, Shown, show,
    show_json,
};
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::names::{ConnectionState, DiskState, Protocol, Role};
use crate::secret::Secret;
use crate::status::{ResourceStatus, VolumeStatus, samples};

const FILE: &str = "
    resource r0 {
        options { on-no-data-accessible suspend-io; auto-promote no; }
        net { protocol A; timeout 9; connect-int 2; verify-alg crc32c; max-buffers 8000; }
        disk { al-extents 1237; c-max-rate 100M; }
        on a {
            node-id 0; address 10.0.0.1:7000;
            volume 0 { device minor 7; disk /dev/x; meta-disk internal; }
            volume 3 { device minor 8; disk /dev/y; meta-disk /dev/z; }
        }
        on b {
            node-id 1; address 10.0.0.2:7000;
            volume 0 { device minor 7; disk /dev/x; meta-disk internal; }
            volume 3 { device minor 8; disk /dev/y; meta-disk /dev/z; }
        }
    }";

fn set(texts: &[(&str, &str)]) -> PartOptions {
    let own = |(name, text): &(&str, &str)| ((*name).to_owned(), Secret::new(*text));
    let texts: OptionTexts = texts.iter().map(own).collect();
    PartOptions { texts, set_defaults: false }
}

fn path() -> PeerPath {
    PeerPath {
        own_address: "10.0.0.1:7000".parse().unwrap(),
        peer_address: "10.0.0.2:7000".parse().unwrap(),
    }
}

fn volume(volume: u16, minor: u32) -> Part {
    let (volume, minor) = (VolumeNumber(volume), Minor(minor));
    Part::Volume { volume, minor, options: PartOptions::default() }
}

fn disk(volume: u16, disk: &str, meta_disk: MetaDisk) -> Part {
    let backing = Backing { disk: PathBuf::from(disk), meta_disk };
    let options = set(&[("al-extents", "1237")]);
    Part::Disk { volume: VolumeNumber(volume), backing, options }
}

fn begun() -> ResourceConfig {
    let options = set(&[("on-no-data-accessible", "suspend-io"), ("auto-promote", "no")]);
    ResourceConfig::begun("r0", "a", NodeId(0), &options).unwrap()
}

/// As drbdadm says it.
fn parts() -> Vec<Part> {
    let (peer, name) = (NodeId(1), "b".to_owned());
    let net = [
        ("protocol", "A"),
        ("timeout", "9"),
        ("connect-int", "2"),
        ("verify-alg", "crc32c"),
        ("max-buffers", "8000"),
    ];
    let rate = |volume| {
        let options = PartOptions { set_defaults: true, ..set(&[("c-max-rate", "100M")]) };
        Part::PeerVolumeOptions { peer, volume: VolumeNumber(volume), options }
    };
    let external = MetaDisk::External { path: PathBuf::from("/dev/z"), index: None };
    vec![
        volume(0, 7),
        volume(3, 8),
        Part::Peer { peer, name, options: set(&net) },
        Part::Path { peer, path: path() },
        rate(0),
        rate(3),
        disk(0, "/dev/x", MetaDisk::Internal),
        disk(3, "/dev/y", external),
    ]
}

fn whole() -> ResourceConfig {
    parts().iter().fold(begun(), |config, part| config.with(part).unwrap())
}

#[test]
fn parts_make_what_the_file_says() {
    let file = parse(FILE);
    assert_eq!(vec![whole()], file.seen_from("a"));
}

#[test]
fn parts_come_in_any_order_and_twice() {
    let mut parts = parts();
    parts.swap(1, 2);
    let config = parts.iter().fold(begun(), |config, part| config.with(part).unwrap());
    assert_eq!(config, whole());
    for part in parts.iter().filter(|part| !matches!(part, Part::Peer { .. })) {
        assert_eq!(config.with(part).unwrap(), config, "{part:?}");
    }
}

#[test]
fn options_change_and_go_back() {
    let peer = NodeId(1);
    let change = |texts: &[(&str, &str)], set_defaults| Part::NetOptions {
        peer,
        options: PartOptions { set_defaults, ..set(texts) },
    };
    let config = whole().with(&change(&[("protocol", "C")], false)).unwrap();
    assert_eq!(config.peers[0].net.protocol, Protocol::C);
    assert_eq!(config.peers[0].written["timeout"].reveal(), "9", "what is not named stays");
    let config = config.with(&change(&[("ping-int", "12")], true)).unwrap();
    assert_eq!(config.peers[0].written, set(&[("ping-int", "12")]).texts);
}

#[test]
fn parts_are_taken_away() {
    let config = whole().with(&Part::NoVolume(VolumeNumber(0))).unwrap();
    let numbers = |config: &ResourceConfig| -> Vec<u16> {
        config.peers[0].volumes.iter().map(|volume| volume.number.0).collect()
    };
    assert_eq!((config.volumes.len(), numbers(&config)), (1, vec![3]));
    let config = config.with(&Part::NoPath { peer: NodeId(1), path: path() }).unwrap();
    assert_eq!(config.peers[0].path, None);
    assert_eq!(config.with(&Part::NoPeer(NodeId(1))).unwrap().peers, []);
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let peer = NodeId(1);
    let net = |texts: &[(&str, &str)]| Part::NetOptions { peer, options: set(texts) };
    let other = PeerPath { peer_address: "10.0.0.3:7000".parse().unwrap(), ..path() };
    let mixed = PeerPath { peer_address: "[::1]:7000".parse().unwrap(), ..path() };
    let (third, own) = (NodeId(2), NodeId(0));
    let options = PartOptions::default;
    let peer_part = |peer| Part::Peer { peer, name: "c".to_owned(), options: options() };
    for (part, expected) in [
        (Part::Resource { node_id: third, options: options() }, "with the node id 0"),
        (volume(0, 9), "with the minor 7"),
        (volume(1, 7), "minor 7 is that of its volume 0"),
        (volume(65_535, 9), "volumes go up to 65534"),
        (Part::NoVolume(VolumeNumber(5)), "no volume 5"),
        (Part::NoPeer(third), "no peer with the node id 2"),
        (peer_part(peer), "is there already"),
        (peer_part(own), "is the node id of this node"),
        (peer_part(third), "more than 2 nodes are not there yet"),
        (Part::Path { peer, path: other }, "a second path is not there yet"),
        (Part::NoPath { peer, path: other }, "there is no such path"),
        (net(&[("tiemout", "9")]), "is 'timeout' meant?"),
        (net(&[("timeout", "9999")]), "a number, 1 to 600 tenths of a second expected"),
        (net(&[("timeout", "90")]), "must be below connect-int"),
        (net(&[("tls", "yes")]), "links are not encrypted yet"),
        (net(&[("cram-hmac-alg", "sha256")]), "needs a shared-secret"),
        (net(&[("shared-secret", &"swordfish".repeat(20))]), "'...' for option 'shared-secret'"),
    ] {
        let error = whole().with(&part).unwrap_err();
        assert!(error.contains(expected), "{part:?}: {error}");
        assert!(!error.contains("swordfish"), "{error}");
    }
    let bare = whole().with(&Part::NoPath { peer, path: path() }).unwrap();
    let error = bare.with(&Part::Path { peer, path: mixed }).unwrap_err();
    assert!(error.contains("one family"), "{error}");
    for name in ["", "a/b", &"x".repeat(200)] {
        assert!(ResourceConfig::begun(name, "a", own, &options()).is_err(), "{name}");
    }
    assert!(ResourceConfig::begun("r", "a", NodeId(32), &options()).is_err());
}

fn status(state: ConnectionState, disk_state: DiskState) -> ResourceStatus {
    let volume =
        |number, minor| VolumeStatus { minor: Minor(minor), ..samples::volume(number, disk_state) };
    ResourceStatus {
        volumes: vec![volume(0, 7), volume(3, 8)],
        connections: vec![samples::connection("b", state)],
        ..samples::resource("r0", Role::Secondary)
    }
}

#[test]
fn what_is_set_is_shown() {
    let config = whole();
    let running = status(ConnectionState::Connecting, DiskState::UpToDate);
    let shown = Shown { config: &config, status: &running };
    let text = show(std::slice::from_ref(&shown));
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    for part in [
        "resource \"r0\" { options { auto-promote no; on-no-data-accessible suspend-io; }",
        "_this_host { node-id 0; volume 0 { device minor 7; disk \"/dev/x\"; meta-disk internal;",
        "meta-disk \"/dev/z\"; disk { al-extents 1237; }",
        "connection { _peer_node_id 1; path { _this_host ipv4 10.0.0.1:7000;",
        "net { _name b; connect-int 2; max-buffers 8000; protocol A; timeout 9;",
        "volume 3 { disk { c-max-rate 100M; } }",
    ] {
        assert!(words.contains(part), "{part} is not in {words}");
    }
    assert!(!words.contains("_is_standalone"), "{words}");
    let json: serde_json::Value = serde_json::from_str(&show_json(&[shown])).unwrap();
    assert_eq!(json[0]["connections"][0]["net"]["timeout"], 9);
    assert_eq!(json[0]["connections"][0]["volumes"][1]["disk"]["c-max-rate"], 102_400);
    assert_eq!(json[0]["_this_host"]["volumes"][1]["meta-disk"], "/dev/z");
    assert_eq!(json[0]["options"]["auto-promote"], false);
}

#[test]
fn a_disk_is_shown_while_it_is_attached() {
    let config = whole();
    let status = status(ConnectionState::StandAlone, DiskState::Diskless);
    let text = show(&[Shown { config: &config, status: &status }]);
    assert!(!text.contains("/dev/x") && !text.contains("al-extents"), "{text}");
    assert!(text.contains("_is_standalone;"), "{text}");
    assert_eq!(show(&[]), "# No currently configured DRBD found.\n");
}
