//! Configurations that are taken, and what becomes of them.

use std::path::Path;
use std::time::Duration;

use super::{backing_of, pair, parse, path_of, seen_from_a, warnings};
use crate::config::{Authentication, Config, MetaDisk, NetOptions, ResyncOptions};
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::names::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Fencing, HmacAlgorithm, OnCongestion,
    OnNoDataAccessible, Protocol, RrConflict,
};
use crate::secret::Secret;

#[test]
fn the_smallest_resource_has_the_defaults() {
    let config = seen_from_a(&pair(""));
    assert_eq!((config.name.as_str(), config.node_name.as_str()), ("r0", "a"));
    assert_eq!(config.node_id, NodeId(0));
    assert!(!config.options.auto_promote);
    assert_eq!(config.options.auto_promote_timeout, Duration::from_secs(2));
    let [volume] = config.volumes.as_slice() else { panic!("{:?}", config.volumes) };
    assert_eq!(volume.number, VolumeNumber(0));
    assert_eq!(volume.minor, Minor(1));
    assert_eq!(volume.device, "/dev/drbd1");
    assert_eq!(backing_of(volume).disk, Path::new("/dev/sda"));
    assert_eq!(backing_of(volume).meta_disk, MetaDisk::Internal);
    assert_eq!((volume.options.al_extents, volume.options.al_updates), (6433, true));
    assert_eq!((volume.options.rs_discard_granularity_bytes, volume.resync_after), (0, None));
    let [peer] = config.peers.as_slice() else { panic!("{:?}", config.peers) };
    assert_eq!((peer.node_id, peer.name.as_str()), (NodeId(1), "b"));
    assert_eq!(path_of(peer).own_address.to_string(), "10.0.0.1:7000");
    assert_eq!(path_of(peer).peer_address.to_string(), "10.0.0.2:7000");
    let expected = NetOptions {
        protocol: Protocol::C,
        timeout: Duration::from_secs(6),
        connect_int: Duration::from_secs(10),
        ping_int: Duration::from_secs(10),
        ping_timeout: Duration::from_millis(500),
        ko_count: 7,
        max_epoch_size: 20_000,
        checksum_resync: false,
        checksums_after_crash_only: false,
        sndbuf_bytes: 0,
        rcvbuf_bytes: 0,
        after_sb_0pri: AfterSb0Pri::Disconnect,
        after_sb_1pri: AfterSb1Pri::Disconnect,
        after_sb_2pri: AfterSb2Pri::Disconnect,
        always_asbp: false,
        rr_conflict: RrConflict::Disconnect,
        fencing: Fencing::DontCare,
        on_congestion: OnCongestion::Block,
        congestion_fill_bytes: 0,
        authentication: None,
    };
    assert_eq!(peer.net, expected);
    let expected = ResyncOptions {
        resync_rate: 250 << 10,
        c_plan_ahead: Duration::from_secs(2),
        c_delay_target: Duration::from_secs(1),
        c_fill_target_bytes: 4 << 20,
        c_max_rate: 0,
        c_min_rate: 10 << 20,
    };
    assert_eq!(peer.volumes[0].resync, expected);
    assert_eq!(warnings(&pair("")), [""; 0]);
}

#[test]
fn a_volume_may_be_synced_after_another() {
    let resource = |name: &str, minor: u32, port: u16, disk: &str| {
        format!(
            "resource {name} {{ disk {{ rs-discard-granularity 64K; {disk} }}
                volume 0 {{ device minor {minor}; disk /dev/{name}0; }}
                volume 7 {{ device minor {}; disk /dev/{name}7; }}
                on a {{ node-id 0; address 10.0.0.1:{port}; }}
                on b {{ node-id 1; address 10.0.0.2:{port}; }} }}",
            minor + 1
        )
    };
    let last = resource("last", 5, 7001, "resync-after first/7;");
    let text = last + &resource("first", 3, 7000, "");
    let seen = parse(&text).seen_from("b");
    let after = |index: usize| seen[index].volumes.iter().map(|it| it.resync_after);
    assert!(after(0).eq([Some(Minor(4)); 2]));
    assert!(after(1).eq([None; 2]));
    assert_eq!(seen[0].volumes[0].options.rs_discard_granularity_bytes, 65536);
    let own = "volume 1 { device minor 2; disk /dev/sdb; disk { resync-after r0/0; } }";
    assert_eq!(seen_from_a(&pair(own)).volumes[1].resync_after, Some(Minor(1)));
}

#[test]
fn the_other_node_sees_the_mirror_image() {
    let config = parse(&pair("")).seen_from("b").remove(0);
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.peers[0].name, "a");
    assert_eq!(path_of(&config.peers[0]).own_address.to_string(), "10.0.0.2:7000");
    assert!(parse(&pair("")).seen_from("c").is_empty());
}

/// Each row: what is added to a pair, and a check of how `a` sees it.
#[test]
fn options_arrive_in_their_units() {
    type Check = fn(&NetOptions) -> bool;
    let rows: &[(&str, Check)] = &[
        ("protocol A;", |net| net.protocol == Protocol::A),
        ("net { protocol b; }", |net| net.protocol == Protocol::B),
        ("net { timeout 15; }", |net| net.timeout == Duration::from_millis(1500)),
        ("net { connect-int 20; }", |net| net.connect_int == Duration::from_secs(20)),
        ("net { ping-int 7; }", |net| net.ping_int == Duration::from_secs(7)),
        ("net { ping-timeout 30; }", |net| net.ping_timeout == Duration::from_secs(3)),
        ("net { ko-count 0; }", |net| net.ko_count == 0),
        ("net { max-epoch-size 20000; }", |net| net.max_epoch_size == 20_000),
        ("net { sndbuf-size 1M; rcvbuf-size 2048; }", |net| {
            (net.sndbuf_bytes, net.rcvbuf_bytes) == (1 << 20, 2048)
        }),
        ("net { on-congestion pull-ahead; congestion-fill 10M; protocol A; }", |net| {
            (net.on_congestion, net.congestion_fill_bytes) == (OnCongestion::PullAhead, 10 << 20)
        }),
        ("net { csums-alg sha1; csums-after-crash-only; }", |net| {
            net.checksum_resync && net.checksums_after_crash_only
        }),
        ("net { csums-alg \"\"; csums-after-crash-only no; }", |net| {
            !net.checksum_resync && !net.checksums_after_crash_only
        }),
        ("net { verify-alg crc32c; }", |net| *net == NetOptions::default()),
        ("net { sndbuf-size 8s; }", |net| net.sndbuf_bytes == 4096),
        ("net { allow-two-primaries no; no-tls; after-sb-0pri disconnect; }", |net| {
            *net == NetOptions::default()
        }),
        ("net { after-sb-0pri discard-least-changes; }", |net| {
            net.after_sb_0pri == AfterSb0Pri::DiscardLeastChanges
        }),
        ("net { after-sb-0pri discard-node-a; }", |net| {
            net.after_sb_0pri == AfterSb0Pri::DiscardLocal
        }),
        ("net { after-sb-0pri discard-node-b; }", |net| {
            net.after_sb_0pri == AfterSb0Pri::DiscardRemote
        }),
        ("net { after-sb-1pri consensus; after-sb-2pri violently-as0p; }", |net| {
            (net.after_sb_1pri, net.after_sb_2pri)
                == (AfterSb1Pri::Consensus, AfterSb2Pri::ViolentlyAs0p)
        }),
        ("net { always-asbp; rr-conflict retry-connect; }", |net| {
            net.always_asbp && net.rr_conflict == RrConflict::RetryConnect
        }),
        ("net { _unknown anything; }", |net| *net == NetOptions::default()),
    ];
    for (extra, check) in rows {
        let config = seen_from_a(&pair(extra));
        assert!(check(&config.peers[0].net), "{extra}: {:?}", config.peers[0].net);
    }
}

#[test]
fn the_most_specific_setting_wins() {
    let common = "common { net { protocol A; ko-count 1; ping-int 11; timeout 1; }
        disk { al-extents 100; } }";
    let resource = |connection: &str| {
        let extra = format!("net {{ ko-count 2; ping-int 12; timeout 2; }} {connection}");
        seen_from_a(&format!("{common} {}", pair(&extra)))
    };
    let mesh = "connection-mesh { hosts a b; net { ping-int 13; timeout 3; } }";
    let connection = "connection { host a; host b; net { timeout 4; } }";
    let config = resource(&format!("{mesh} {connection}"));
    let net = &config.peers[0].net;
    assert_eq!(net.protocol, Protocol::A, "of common");
    assert_eq!(net.ko_count, 2, "of the resource");
    assert_eq!(net.ping_int, Duration::from_secs(13), "of the mesh");
    assert_eq!(net.timeout, Duration::from_millis(400), "of the connection");
    assert_eq!(config.volumes[0].options.al_extents, 100);
    // The order in the file does not matter.
    assert_eq!(resource(&format!("{connection} {mesh}")), config);
}

#[test]
fn disk_options_are_inherited_down_to_the_connections_volume() {
    let text = "common { disk { c-max-rate 1; c-min-rate 1; resync-rate 1; c-plan-ahead 1;
            c-delay-target 1; } }
        resource r0 {
            disk { c-min-rate 2; resync-rate 2; c-plan-ahead 2; c-delay-target 2; al-extents 200; }
            volume 0 { device minor 1; disk { resync-rate 3; c-plan-ahead 3; c-delay-target 3; } }
            on a { node-id 0; address 10.0.0.1:7000;
                volume 0 { disk /dev/sda; disk { al-extents 300; } } }
            on b { node-id 1; address 10.0.0.2:7000; volume 0 { disk /dev/sdb; } }
            connection { host a; host b; disk { c-plan-ahead 4; c-delay-target 4; }
                volume 0 { disk { c-delay-target 5; } } }
        }";
    let config = parse(text);
    let seen = config.seen_from("a").remove(0);
    assert_eq!(seen.volumes[0].options.al_extents, 300);
    let resync = &seen.peers[0].volumes[0].resync;
    assert_eq!((resync.c_max_rate, resync.c_min_rate, resync.resync_rate), (1024, 2048, 3072));
    assert_eq!(resync.c_plan_ahead, Duration::from_millis(400));
    assert_eq!(resync.c_delay_target, Duration::from_millis(500));
    assert_eq!(config.seen_from("b")[0].volumes[0].options.al_extents, 200);
}

#[test]
fn volume_zero_may_be_implicit_at_either_level() {
    let in_resource =
        "resource r0 { protocol C; device /dev/drbd5; disk /dev/sda; meta-disk internal;
        on a { node-id 0; address 10.0.0.1:7000; } on b { node-id 1; address 10.0.0.2:7000; } }";
    let in_host = "resource r0 {
        on a { node-id 0; device /dev/drbd5; disk /dev/sda; address 10.0.0.1:7000; }
        on b { node-id 1; device /dev/drbd6; disk \"/srv/b disk\"; address 10.0.0.2:7000;
            meta-disk /dev/sdc[2]; } }";
    assert_eq!(seen_from_a(in_resource).volumes, seen_from_a(in_host).volumes);
    let volume = parse(in_host).seen_from("b").remove(0).volumes.remove(0);
    assert_eq!(backing_of(&volume).disk, Path::new("/srv/b disk"));
    let expected = MetaDisk::External { path: "/dev/sdc".into(), index: Some(2) };
    assert_eq!(backing_of(&volume).meta_disk, expected);
}

#[test]
fn devices_and_metadata_have_several_forms() {
    for (device, name, minor) in [
        ("/dev/drbd7", "/dev/drbd7", 7),
        ("minor 7", "/dev/drbd7", 7),
        ("/dev/drbd7 minor 7", "/dev/drbd7", 7),
        ("drbd_x minor 7", "drbd_x", 7),
        ("/dev/drbd_x minor 7", "/dev/drbd_x", 7),
    ] {
        let text = pair("").replace("minor 1", device);
        let volume = seen_from_a(&text).volumes.remove(0);
        assert_eq!((volume.device.as_str(), volume.minor), (name, Minor(minor)), "{device}");
    }
    for (meta_disk, index) in [("/dev/m", None), ("/dev/m[0]", Some(0)), ("/dev/m [9]", Some(9))] {
        let text = pair("").replace("/dev/sda;", &format!("/dev/sda; meta-disk {meta_disk};"));
        let expected = MetaDisk::External { path: "/dev/m".into(), index };
        assert_eq!(backing_of(&seen_from_a(&text).volumes[0]).meta_disk, expected, "{meta_disk}");
    }
}

#[test]
fn addresses_may_be_of_either_family_and_of_the_connection() {
    let text = pair("").replace("10.0.0.1:7000", "ipv4 10.0.0.1:7000");
    assert_eq!(seen_from_a(&text).peers, seen_from_a(&pair("")).peers);
    let text = pair("").replace("10.0.0.2:7000", "ipv6 [fd00::2%3]:7000");
    assert_eq!(path_of(&seen_from_a(&text).peers[0]).peer_address.to_string(), "[fd00::2%3]:7000");
    let own = "connection { host b address 10.1.0.2:7001; host a port 7002; }";
    let peer = seen_from_a(&pair(own)).peers.remove(0);
    assert_eq!(path_of(&peer).own_address.to_string(), "10.0.0.1:7002");
    assert_eq!(path_of(&peer).peer_address.to_string(), "10.1.0.2:7001");
    let path = "connection { path { host a address 10.1.0.1:1; host b address 10.1.0.2:1; } }";
    let text = pair(path).replace("address 10.0.0.1:7000;", "");
    assert_eq!(path_of(&seen_from_a(&text).peers[0]).own_address.to_string(), "10.1.0.1:1");
}

#[test]
fn comments_quotes_and_layout_do_not_matter() {
    let text = "# first\nresource \"r0\"{volume 0{device minor 1;disk\"/dev/sda\"; # last
        }on a{node-id 0;address 10.0.0.1:7000;}\non \"b\" {\n\tnode-id 1;
        address\n10.0.0.2:7000; } }#";
    assert_eq!(seen_from_a(text), seen_from_a(&pair("")));
    assert_eq!(seen_from_a(&pair("skip { anything { at all; } }")), seen_from_a(&pair("")));
    assert!(parse("").definitions.is_empty());
    assert!(parse("# nothing\n").definitions.is_empty());
}

#[test]
fn several_volumes_and_resources_live_together() {
    let second = "resource r1 {
        volume 0 { device minor 2; disk /dev/sdb; meta-disk /dev/sdm[0]; }
        volume 7 { device minor 3; disk /dev/sdc; meta-disk /dev/sdm[1]; }
        on a { node-id 5; address 10.0.0.1:7001; } on b { node-id 6; address 10.0.0.2:7001; } }";
    let config = parse(&format!("{} {second}", pair("")));
    let seen = config.seen_from("a");
    assert_eq!(seen.len(), 2);
    let numbers: Vec<u16> = seen[1].volumes.iter().map(|volume| volume.number.0).collect();
    assert_eq!(numbers, [0, 7]);
    assert_eq!(seen[1].peers[0].volumes.len(), 2);
    assert_eq!(config.find("r1").unwrap().line, 6);
}

#[test]
fn what_has_no_effect_is_told_once_by_name() {
    let text = format!(
        "global {{ usage-count no; }} common {{ disk {{ c-max-rate 1M; }} }} {}",
        pair(
            "disk { disk-flushes yes; disk-barrier yes; }
            net { max-buffers 36k; tcp-cork no; }
            options { max-io-depth 9; quorum off; }
            handlers { split-brain \"/bin/true root\"; quorum-lost \"/bin/true\"; }"
        )
        .replace("36k", "36K"),
    );
    let expected = [
        "option 'disk-barrier' has no effect: epochs are kept apart by waiting and flushing",
        "option 'max-buffers' has no effect: it is not there yet",
        "option 'max-io-depth' has no effect: it is not there yet",
        "handler 'quorum-lost' has no effect: there is no such event yet",
    ];
    assert_eq!(warnings(&text), expected);
}

#[test]
fn handlers_of_a_resource_come_before_those_of_all() {
    let common = "common { handlers { split-brain \"all\"; out-of-sync \"found\"; } } ";
    let text = common.to_owned() + &pair("handlers { split-brain \"own\"; }");
    let handlers = seen_from_a(&text).handlers;
    let of = |name: &str| handlers.get(name).map(String::as_str);
    assert_eq!(
        [of("split-brain"), of("out-of-sync"), of("pri-lost")],
        [Some("own"), Some("found"), None]
    );
}

#[test]
fn the_activity_log_is_as_large_as_the_driver_allows_and_can_be_off() {
    for (given, taken) in [("66", 67), ("67", 67), ("65535", 65_534), ("1K", 1024)] {
        let text = pair(&format!("disk {{ al-extents {given}; }}"));
        assert_eq!(seen_from_a(&text).volumes[0].options.al_extents, taken, "{given}");
    }
    let off = pair("disk { al-updates no; }");
    assert!(!seen_from_a(&off).volumes[0].options.al_updates && warnings(&off).is_empty());
    let warned = warnings(&pair("disk { al-extents 7; }"));
    assert_eq!(warned, ["'al-extents' is 7, 67 is taken"]);
}

#[test]
fn startup_says_how_long_commands_wait() {
    let wait = |extra: &str| parse(&pair(extra)).find("r0").unwrap().resource.wait_timeout();
    assert_eq!(wait(""), None);
    assert_eq!(wait("startup { wfc-timeout 0; }"), None);
    assert_eq!(wait("startup { wfc-timeout 30; }"), Some(Duration::from_secs(30)));
}

#[test]
fn clients_promote_where_that_is_said() {
    for (text, expected) in [("auto-promote yes;", true), ("auto-promote no;", false)] {
        let text = pair(&format!("options {{ {text} }}"));
        assert_eq!(seen_from_a(&text).options.auto_promote, expected);
        assert!(warnings(&text).is_empty());
    }
}

#[test]
fn a_hosts_options_come_before_the_resources() {
    let text = pair("options { auto-promote-timeout 30; }")
        .replace("on a {", "on a { options { auto-promote-timeout 50; }");
    let config = parse(&text);
    let of = |node: &str| config.seen_from(node)[0].options.auto_promote_timeout;
    assert_eq!((of("a"), of("b")), (Duration::from_secs(5), Duration::from_secs(3)));
}

#[test]
fn requests_without_data_fail_unless_told_to_wait() {
    let of = |options: &str| {
        let text = pair(&format!("options {{ {options} }}"));
        seen_from_a(&text).options.on_no_data_accessible
    };
    assert_eq!(of(""), OnNoDataAccessible::IoError);
    assert_eq!(of("on-no-data-accessible suspend-io;"), OnNoDataAccessible::SuspendIo);
}

#[test]
fn fencing_is_an_option_of_the_connection_and_freezing_needs_an_answer_to_wait_for() {
    let of = |net: &str| seen_from_a(&pair(&format!("net {{ {net} }}"))).peers[0].net.fencing;
    assert_eq!(of(""), Fencing::DontCare);
    assert_eq!(of("protocol A; fencing resource-only;"), Fencing::ResourceOnly);
    assert_eq!(of("protocol B; fencing resource-and-stonith;"), Fencing::ResourceAndStonith);
    let refused = pair("net { protocol A; fencing resource-and-stonith; }");
    let errors = Config::parse("t.res".as_ref(), &refused).unwrap_err().to_string();
    assert!(errors.contains("needs protocol B or C"), "{errors}");
}

#[test]
fn the_handler_that_fences_is_also_known_by_its_old_name() {
    let handlers = seen_from_a(&pair("handlers { outdate-peer \"fence\"; }")).handlers;
    assert_eq!(handlers.get("fence-peer").map(String::as_str), Some("fence"));
}

#[test]
fn a_pair_without_numbers_gets_drbds() {
    // As drbdadm 9.22 gives them.
    for (addresses, ids) in [
        (["10.0.0.1", "10.0.0.2"], [0, 1]),
        (["10.0.0.2", "10.0.0.1"], [1, 0]),
        (["192.168.47.1", "192.168.47.2"], [0, 1]),
        (["192.168.22.11", "192.168.22.12"], [1, 0]),
    ] {
        let [a, b] = addresses;
        let text = pair("").replace("node-id 0; address 10.0.0.1", &format!("address {a}"));
        let text = text.replace("node-id 1; address 10.0.0.2", &format!("address {b}"));
        let config = parse(&text);
        let id = |node: &str| config.seen_from(node)[0].node_id.0;
        assert_eq!([id("a"), id("b")], ids, "{addresses:?}");
    }
}

#[test]
fn a_host_answers_to_each_of_its_names() {
    let config = parse(&pair("").replace("on a {", "on a a.example.org {"));
    assert_eq!(config.seen_from("a"), config.seen_from("a.example.org"));
    assert_eq!(config.seen_from("a")[0].node_name, "a_a.example.org");
    assert_eq!(config.seen_from("b")[0].peers[0].name, "a_a.example.org");
    assert!(config.seen_from("a_b").is_empty());
}

#[test]
fn a_floating_host_is_the_machine_with_its_address() {
    let text = "resource r0 { device minor 1; disk /dev/sda;
        floating 127.0.0.1:7000 { node-id 0; } floating 192.0.2.7:7000 { node-id 1; } }";
    let config = parse(text);
    let seen = |node: &str| config.seen_from(node).first().map(|seen| seen.node_id.0);
    assert_eq!(seen("whatever"), Some(0), "this machine has 127.0.0.1");
    assert_eq!(seen("192.0.2.7"), Some(1));
    assert_eq!(seen("192.0.2.7_7000"), Some(1));
    // Two of one machine are told apart by the node's name only.
    let config = parse(&text.replace("192.0.2.7", "127.0.0.2"));
    assert!(config.seen_from("whatever").is_empty());
    assert_eq!(config.seen_from("127.0.0.2")[0].node_id, NodeId(1));
}

#[test]
fn options_of_drbd_8_are_taken_to_where_they_belong() {
    let old =
        pair("syncer { rate 33M; al-extents 257; csums-alg md5; } disk { fencing resource-only; }");
    let new = pair(
        "disk { resync-rate 33M; al-extents 257; } net { csums-alg md5; fencing resource-only; }",
    );
    assert_eq!(parse(&old).seen_from("b"), parse(&new).seen_from("b"));
}

#[test]
fn peers_authenticate_each_other_where_hash_and_secret_are_given() {
    let net = |options: &str| {
        let text = pair(&format!("net {{ {options} }}"));
        (seen_from_a(&text).peers[0].net.authentication.clone(), warnings(&text).len())
    };
    let expected =
        Authentication { algorithm: HmacAlgorithm::Sha256, secret: Secret::new("tell nobody") };
    let both = "cram-hmac-alg SHA256; shared-secret \"tell nobody\";";
    assert_eq!(net(both), (Some(expected), 0));
    assert_eq!(net("cram-hmac-alg \"\";"), (None, 0));
    // A secret that is not used is worth a word.
    assert_eq!(net("shared-secret x;"), (None, 1));
}
