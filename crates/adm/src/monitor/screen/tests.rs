//! What is seen at 80 columns and 24 lines.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tandem_control::names::ReplicationState;
use tandem_control::status::{ResyncProgress, samples};

use super::*;

fn pair(
    name: &str,
    link: ConnectionState,
    disk: DiskState,
    peer_disk: DiskState,
) -> ResourceStatus {
    let replication_state = if link == ConnectionState::Connected {
        ReplicationState::Established
    } else {
        ReplicationState::Off
    };
    let device = samples::peer_device(0, replication_state, peer_disk);
    let connection =
        ConnectionStatus { peer_devices: vec![device], ..samples::connection("bravo", link) };
    ResourceStatus {
        volumes: vec![samples::volume(0, disk)],
        connections: vec![connection],
        ..samples::resource(name, Role::Primary)
    }
}

fn healthy(name: &str) -> ResourceStatus {
    pair(name, ConnectionState::Connected, DiskState::UpToDate, DiskState::UpToDate)
}

fn apart(name: &str) -> ResourceStatus {
    pair(name, ConnectionState::StandAlone, DiskState::UpToDate, DiskState::DUnknown)
}

/// The lines of the screen, without the spaces at their ends.
fn drawn(screen: &mut Screen) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a screen in memory");
    terminal.draw(|frame| screen.draw(frame)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |row: u16| (0..80).map(|column| buffer[(column, row)].symbol()).collect::<String>();
    (0..24).map(|row| line(row).trim_end().to_owned()).collect()
}

fn seeing(resources: Vec<ResourceStatus>) -> Screen {
    let mut screen = Screen::new("alpha");
    screen.saw(resources, Duration::from_secs(1));
    screen
}

#[test]
fn a_pair_is_a_line_and_what_is_wrong_stands_below() {
    let mut screen = seeing(vec![healthy("r0"), apart("database-with-long-name")]);
    let lines = drawn(&mut screen);
    let expected = [
        "alpha: 2 resources, 1 with problems",
        HEADER.trim_end(),
        "r0           Primary   0   UpToDate     bravo      Connected    UpToDate",
        "database-wi~ Primary   0   UpToDate     bravo      StandAlone   DUnknown",
        "  ! bravo: not connected: this node does not try, since nobody has said connect",
        "    -> tandemadm connect database-with-long-name:bravo",
        "",
    ];
    assert_eq!(lines[..expected.len()], expected);
    assert_eq!(lines[23], KEYS);
}

#[test]
fn rates_need_two_looks_and_lag_shows() {
    let mut screen = seeing(vec![healthy("r0")]);
    assert_eq!(drawn(&mut screen)[3], "");
    let mut later = healthy("r0");
    later.volumes[0].written_bytes = 6 << 20;
    later.volumes[0].read_bytes = 4 << 10;
    (later.volumes[0].requests, later.volumes[0].requests_us) = (100, 250_400);
    (later.connections[0].lag_bytes, later.connections[0].lag_ms) = (1536, 7);
    screen.saw(vec![later], Duration::from_secs(3));
    let line = "    written 3.0 MiB/s  read 2.0 KiB/s  latency 2.50 ms  lag 1.5 KiB 7 ms";
    assert_eq!(drawn(&mut screen)[3], line);
}

#[test]
fn a_resync_has_a_bar() {
    let mut resource = healthy("r0");
    resource.volumes[0].disk_state = DiskState::Inconsistent;
    let device = &mut resource.connections[0].peer_devices[0];
    device.replication_state = ReplicationState::SyncTarget;
    device.out_of_sync_bytes = 75 << 20;
    device.resync = Some(ResyncProgress {
        total_bytes: 100 << 20,
        window1_ms: 1000,
        window1_bytes: 5 << 20,
        ..ResyncProgress::default()
    });
    let line = "    SyncTarget  [======                  ]  25.0 %  5.0 MiB/s  0:00:15 left";
    assert_eq!(drawn(&mut seeing(vec![resource]))[3], line);
}

#[test]
fn problems_alone_can_be_seen() {
    let mut screen = seeing(vec![healthy("r0"), apart("r1")]);
    screen.press(Key::Problems);
    assert!(drawn(&mut screen)[2].starts_with("r1 "));
    let mut well = seeing(vec![healthy("r0")]);
    well.press(Key::Problems);
    assert_eq!(drawn(&mut well)[2], "No problems.");
    well.press(Key::Problems);
    assert!(drawn(&mut well)[2].starts_with("r0 "));
    assert_eq!(drawn(&mut seeing(Vec::new()))[2], "No resource is up.");
}

#[test]
fn more_than_a_screen_can_be_scrolled_to_its_end_and_no_further() {
    let all = (0..30).map(|number| healthy(&format!("r{number}"))).collect();
    let mut screen = seeing(all);
    assert!(drawn(&mut screen)[22].starts_with("r20 "));
    screen.press(Key::Down(u16::MAX));
    assert!(drawn(&mut screen)[22].starts_with("r29 "));
    screen.press(Key::Up(1));
    assert!(drawn(&mut screen)[22].starts_with("r28 "), "the end is where it stopped");
    screen.press(Key::Up(u16::MAX));
    assert!(drawn(&mut screen)[2].starts_with("r0 "));
}

#[test]
fn a_daemon_that_is_gone_leaves_the_last_picture() {
    let mut screen = seeing(vec![healthy("r0")]);
    screen.lost("no daemon listens");
    let lines = drawn(&mut screen);
    assert_eq!(lines[0], "alpha: no daemon listens");
    assert!(lines[2].starts_with("r0 "));
    screen.saw(vec![healthy("r0")], Duration::from_secs(2));
    assert_eq!(drawn(&mut screen)[0], "alpha: 1 resource, all well");
}

#[test]
fn long_sentences_go_on_in_the_next_line() {
    let mut ill = apart("r0");
    let reason = "closed by the peer, which says that it goes down";
    ill.connections[0].disconnect_reason = Some(reason.to_owned());
    let lines = drawn(&mut seeing(vec![ill]));
    let expected = [
        "  ! bravo: not connected: this node does not try any more (closed by the peer,",
        "    which says that it goes down)",
        "    -> tandemadm connect r0:bravo",
    ];
    assert_eq!(lines[3..6], expected);
}
