use super::*;
use crate::id::VolumeNumber;
use crate::status::tests::{peer_device, resource, volume};
use crate::status::{Divergence, IoErrors, ResyncProgress, ResyncSuspended};

use ConnectionState::{Connected, Connecting, StandAlone};
use DiskState::{Consistent, DUnknown, Diskless, Failed, Inconsistent, Outdated, UpToDate};
use ReplicationState::{Established, Off, PausedSyncT, SyncTarget};

/// One volume and one peer.
fn pair(
    state: ConnectionState,
    disk: DiskState,
    replication: ReplicationState,
    peer_disk: DiskState,
) -> ResourceStatus {
    let devices = vec![peer_device(0, replication, peer_disk)];
    let mut status = resource(state, vec![volume(0, disk, true)], devices);
    status.name = "r0".to_owned();
    status.role = Role::Secondary;
    status.connections[0].name = "bravo".to_owned();
    status
}

fn device(status: &mut ResourceStatus) -> &mut PeerDeviceStatus {
    &mut status.connections[0].peer_devices[0]
}

#[track_caller]
fn expect(status: &ResourceStatus, lines: &[&str]) {
    assert_eq!(why(status).lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_healthy_pair_has_nothing_to_be_told() {
    let mut status = pair(Connected, UpToDate, Established, UpToDate);
    let end = ": connected, UpToDate and in sync.";
    expect(&status, &[&format!("r0 is Secondary, and can be promoted{end}")]);
    status.connections[0].peer_role = Role::Primary;
    let line = format!("r0 is Secondary, and cannot be promoted while bravo is Primary{end}");
    expect(&status, &[&line]);
    status.connections[0].peer_role = Role::Secondary;
    status.role = Role::Primary;
    expect(&status, &[&format!("r0 is Primary{end}")]);
}

#[test]
fn a_link_that_is_away_is_told_with_its_reason() {
    let mut status = pair(Connecting, UpToDate, Off, DUnknown);
    status.connections[0].disconnect_reason = Some("ping timed out".to_owned());
    device(&mut status).out_of_sync_bytes = 3 << 20;
    let first = "r0 is Secondary, and can be promoted.";
    expect(
        &status,
        &[
            first,
            "  bravo: not connected: this node keeps trying to reach it at 5.6.7.8:7790 (ping \
             timed out).",
            "    -> there: is tandemd running, and the resource up (tandemadm up r0)? Between: \
             a firewall?",
            "  volume 0 with bravo: 3.0 MiB are to be copied once they meet.",
        ],
    );
    status.connections[0].connection_state = StandAlone;
    status.connections[0].disconnect_reason = None;
    device(&mut status).out_of_sync_bytes = 0;
    expect(
        &status,
        &[
            first,
            "  bravo: not connected: this node does not try, since nobody has said connect.",
            "    -> tandemadm connect r0:bravo",
        ],
    );
}

#[test]
fn secrets_that_differ_are_told_before_a_firewall_is_suspected() {
    let mut status = pair(Connecting, UpToDate, Off, DUnknown);
    let error = "alfa does not know the shared-secret of bravo".to_owned();
    status.connections[0].authentication_error = Some(error);
    let text = why(&status);
    assert!(text.contains("authentication fails") && text.contains("alfa does not know"), "{text}");
    assert!(text.contains("shared-secret (section net)"), "{text}");
    assert!(text.contains("tandemadm adjust r0") && !text.contains("firewall"), "{text}");
    status.connections[0].connection_state = StandAlone;
    assert!(why(&status).contains("nobody has said connect"), "it is not tried");
}

#[test]
fn data_that_went_two_ways_lead_to_what_ends_it() {
    let divergence = Divergence {
        volume: VolumeNumber(0),
        reason: String::new(),
        rule: String::new(),
        policy: None,
        own_was_primary: true,
        peer_was_primary: true,
        own_loss_blocks: 1,
        peer_loss_blocks: 2,
    };
    // Nothing connects what never was one but a disk that is new.
    let anew = "on the node whose data are to be given up: tandemadm down r0, then create-md \
                --force r0, then up r0";
    for (sync_state, help) in [
        (SyncState::SplitBrain(divergence.clone()), "tandemadm split-brain show r0"),
        (SyncState::Unrelated(divergence), anew),
    ] {
        let mut status = pair(StandAlone, UpToDate, Off, DUnknown);
        status.connections[0].sync_state = sync_state;
        let found = findings(&status);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].help.as_deref(), Some(help));
    }
}

/// Disk state, what is said, and what is to be done.
#[test]
fn every_disk_that_is_not_good_has_a_way_out() {
    for (disk, what, help) in [
        (Diskless, "no disk is attached", "tandemadm attach r0/0"),
        (Failed, "the disk has failed (2 write errors)", "create-md r0/0"),
        (Inconsistent, "is half a copy", "primary --force r0"),
        (Outdated, "is Outdated", "primary --force r0"),
        (Consistent, "is Consistent", "primary --force r0"),
    ] {
        let mut status = pair(Connecting, disk, Off, DUnknown);
        status.volumes[0].io_errors = IoErrors { writes: 2, ..IoErrors::default() };
        let text = why(&status);
        assert!(text.contains("cannot be promoted: no UpToDate data"), "{text}");
        assert!(text.contains(what) && text.contains(help), "{disk}: {text}");
    }
    let mut client = pair(Connected, Diskless, Established, UpToDate);
    client.volumes[0].client = true;
    assert_eq!(findings(&client), [], "diskless on purpose");
}

#[test]
fn a_resync_tells_how_far_it_is_or_why_not() {
    let mut status = pair(Connected, Inconsistent, SyncTarget, UpToDate);
    *device(&mut status) = PeerDeviceStatus {
        out_of_sync_bytes: 75 << 20,
        resync: Some(ResyncProgress {
            total_bytes: 100 << 20,
            window1_ms: 2000,
            window1_bytes: 2 << 20,
            ..ResyncProgress::default()
        }),
        ..device(&mut status).clone()
    };
    let told = "volume 0 with bravo: a resync from the peer is 25.0 % done, 75 s to go.";
    assert!(why(&status).contains(told), "{}", why(&status));
    device(&mut status).replication_state = PausedSyncT;
    for (reasons, what) in [
        (ResyncSuspended { user: true, ..ResyncSuspended::default() }, "resume-sync r0:bravo/0"),
        (ResyncSuspended { peer: true, ..ResyncSuspended::default() }, "the peer pauses it"),
        (ResyncSuspended { dependency: true, ..ResyncSuspended::default() }, "resync-after"),
    ] {
        device(&mut status).resync_suspended = reasons;
        assert!(why(&status).contains(what), "{}", why(&status));
    }
}

#[test]
fn frozen_io_comes_first() {
    let mut status = pair(Connecting, UpToDate, Off, DUnknown);
    status.suspended = Suspended { user: true, fencing: true, ..Suspended::default() };
    let found = findings(&status);
    assert_eq!(found[0].what, "frozen: suspend-io was said");
    assert!(found[1].what.contains("fenced"), "{found:?}");
    assert_eq!(found[2].subject, "bravo");
}

#[test]
fn a_peer_without_a_good_disk_is_told() {
    let status = pair(Connected, UpToDate, Established, Diskless);
    assert!(why(&status).contains("its disk is Diskless there"), "{}", why(&status));
    let mut found = pair(Connected, UpToDate, Established, UpToDate);
    device(&mut found).verify_found_blocks = 2;
    assert!(why(&found).contains("a verify has found 8.0 KiB that differ"), "{}", why(&found));
}
