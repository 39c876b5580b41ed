//! The lines against DRBD's own, `tests/golden/events2-*`: a resource that is made a part at a
//! time, then attached, connected and promoted, or syncing, or taken down. DRBD leaves `quorum` out
//! of one line of the differences.

use super::{Appearance, EventOptions, event_lines};
use crate::id::NodeId;
use crate::names::{ConnectionState, DiskState, ReplicationState, Role, WriteOrdering};
use crate::status::tests::{peer_device, volume};
use crate::status::{ConnectionStatus, PathStatus, ResourceStatus, ResyncProgress, samples};

/// The states of a resource, one after the other; `None` where it is not there.
struct Story(Vec<Option<ResourceStatus>>);

impl Story {
    /// Made from its parts.
    fn made() -> Self {
        let nothing = ResourceStatus {
            node_id: NodeId(4),
            write_ordering: WriteOrdering::None,
            ..samples::resource("some-resource", Role::Secondary)
        };
        let mut story = Self(vec![None, Some(nothing)]);
        story.then(|it| it.volumes.push(volume(0, DiskState::Diskless, true)));
        story.then(|it| it.connections.push(connection()));
        story.then(|it| {
            let device = peer_device(0, ReplicationState::Off, DiskState::DUnknown);
            it.connections[0].peer_devices.push(device);
        });
        story.then(|it| {
            it.connections[0].paths.push(PathStatus {
                own_address: "1.2.3.4:7789".parse().unwrap(),
                peer_address: "5.6.7.8:7790".parse().unwrap(),
                established: false,
            });
        });
        story
    }

    /// And attached and connected.
    fn connected() -> Self {
        let mut story = Self::made();
        story.then(|it| {
            it.volumes[0].backing_dev = Some("/dev/sda".to_owned());
            it.volumes[0].disk_state = DiskState::UpToDate;
        });
        story.then(|it| it.connections[0].paths[0].established = true);
        story.then(|it| {
            it.connections[0].connection_state = ConnectionState::Connected;
            it.connections[0].peer_role = Role::Secondary;
        });
        story
    }

    fn then(&mut self, change: impl FnOnce(&mut ResourceStatus)) {
        let mut next = self.0.last().cloned().flatten().expect("the resource is there");
        change(&mut next);
        self.0.push(Some(next));
    }

    fn lines(&self, options: EventOptions) -> String {
        let mut text = "exists -\n".to_owned();
        for pair in self.0.windows(2) {
            let [old, new] = pair else { unreachable!("windows of two") };
            let create = Appearance::Create;
            for line in event_lines(old.as_ref(), new.as_ref(), create, options) {
                text.push_str(&format!("{line}\n"));
            }
        }
        text
    }

    fn assert_golden(&self, name: &str) {
        let plain = EventOptions::default();
        for (suffix, options) in [
            ("", plain),
            ("-statistics", EventOptions { statistics: true, ..plain }),
            ("-full", EventOptions { full: true, ..plain }),
            ("-diff", EventOptions { diff: true, ..plain }),
        ] {
            let folder = env!("CARGO_MANIFEST_DIR");
            let path = format!("{folder}/tests/golden/events2-{name}{suffix}.txt");
            let golden = std::fs::read_to_string(&path).unwrap_or_else(|it| panic!("{path}: {it}"));
            assert_eq!(self.lines(options), golden, "{name}{suffix}");
        }
    }
}

fn connection() -> ConnectionStatus {
    ConnectionStatus {
        ap_in_flight_bytes: 10 * 512,
        rs_in_flight_bytes: 20 * 512,
        ..samples::connection("some-peer", ConnectionState::StandAlone)
    }
}

#[test]
fn a_resource_is_made_connected_and_promoted() {
    let mut story = Story::connected();
    story.then(|it| {
        it.connections[0].peer_devices[0].replication_state = ReplicationState::Established;
        it.connections[0].peer_devices[0].peer_disk_state = DiskState::UpToDate;
    });
    story.then(|it| it.role = Role::Primary);
    story.assert_golden("all-create-change");
}

#[test]
fn a_resync_says_how_far_it_is() {
    let mut story = Story::connected();
    story.then(|it| {
        let device = &mut it.connections[0].peer_devices[0];
        device.replication_state = ReplicationState::SyncSource;
        device.peer_disk_state = DiskState::Inconsistent;
        device.out_of_sync_bytes = 2500 << 10;
        device.resync = Some(ResyncProgress {
            total_bytes: 8000 * 512,
            window1_ms: 100,
            window1_bytes: 50 * 512,
            ..ResyncProgress::default()
        });
    });
    story.assert_golden("sync");
    let before = story.lines(EventOptions::default());
    story.then(|it| it.connections[0].peer_devices[0].out_of_sync_bytes = 2000 << 10);
    let after = story.lines(EventOptions::default());
    let key = "name:some-resource peer-node-id:1 conn-name:some-peer volume:0";
    let line = format!("change peer-device {key} done:50.00\n");
    assert_eq!(after, format!("{before}{line}"), "progress is news");
}

#[test]
fn what_is_gone_is_destroyed_from_the_inside() {
    let mut story = Story::made();
    story.0.push(None);
    story.assert_golden("all-create-destroy");
}

#[test]
fn a_part_that_is_gone_is_destroyed_alone() {
    let mut story = Story::made();
    let before = story.lines(EventOptions::default());
    story.then(|it| it.connections[0].paths.clear());
    story.then(|it| it.volumes.clear());
    let after = story.lines(EventOptions::default());
    let expected = "destroy path name:some-resource peer-node-id:1 conn-name:some-peer \
                    local:ipv4:1.2.3.4:7789 peer:ipv4:5.6.7.8:7790\n\
                    destroy device name:some-resource volume:0\n";
    assert_eq!(after.strip_prefix(&before), Some(expected));
}

#[test]
fn counters_are_news_only_where_they_are_wanted() {
    let mut story = Story::connected();
    let plain = EventOptions::default();
    let before = story.lines(plain);
    story.then(|it| {
        it.volumes[0].written_bytes += 4096;
        it.connections[0].peer_devices[0].sent_bytes += 4096;
    });
    assert_eq!(story.lines(plain), before);
    let statistics = EventOptions { statistics: true, ..plain };
    let told = story.lines(statistics);
    assert!(told.ends_with("out-of-sync:0 pending:30 unacked:40\n"), "{told}");
    assert!(told.contains(" minor:1000 size:5 read:10 written:19 "), "{told}");
}
