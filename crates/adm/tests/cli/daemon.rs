//! With a daemon that says what the test tells it to.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;

use tandem_control::admin::{
    HEADER_LEN, Hello, Refusal, Request, Response, SOCKET_NAME, VERSION, decode_request,
    encode_response, payload_len,
};
use tandem_control::names::{ConnectionState, DiskState, ReplicationState, Role};
use tandem_control::status::{
    ConnectionStatus, PeerDeviceStatus, ResourceStatus, ResyncProgress, VolumeStatus, samples,
};
use tandem_control::{NodeId, VolumeNumber};

use crate::{Run, Setup};

/// Runs `line` against a daemon that answers with `answer`; returns the requests after the hello,
/// too.
fn run(line: &str, answer: fn(&Request) -> Vec<Response>) -> (Run, Vec<Request>) {
    run_in(&Setup::new(), line, answer)
}

fn run_in(setup: &Setup, line: &str, answer: fn(&Request) -> Vec<Response>) -> (Run, Vec<Request>) {
    let listener = UnixListener::bind(setup.path().join(SOCKET_NAME)).unwrap();
    let (sender, requests) = mpsc::channel();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while let Some(request) = receive(&mut stream) {
            let answers = match &request {
                Request::Hello { .. } => vec![hello()],
                other => answer(other),
            };
            for response in answers {
                stream.write_all(&encode_response(&response).unwrap()).unwrap();
            }
            if !matches!(request, Request::Hello { .. }) {
                sender.send(request).unwrap();
            }
        }
    });
    let run = setup.run(line);
    // A command that never came would leave the daemon waiting for it.
    drop(UnixStream::connect(setup.path().join(SOCKET_NAME)));
    daemon.join().unwrap();
    (run, requests.iter().collect())
}

fn receive(stream: &mut UnixStream) -> Option<Request> {
    let mut frame = vec![0; HEADER_LEN];
    stream.read_exact(&mut frame).ok()?;
    let length = payload_len(frame[..].try_into().unwrap()).unwrap();
    frame.resize(HEADER_LEN + length, 0);
    stream.read_exact(&mut frame[HEADER_LEN..]).unwrap();
    decode_request(&frame).unwrap().map(|(request, _)| request)
}

fn hello() -> Response {
    Response::Hello(Hello { version: VERSION, node: "a".into(), release: "0".into(), pid: 1 })
}

fn refused(exit_code: u8, message: &str) -> Vec<Response> {
    vec![Response::Refused(Refusal { exit_code, message: message.to_owned() })]
}

fn status() -> Response {
    let volume = |number| VolumeStatus {
        open: true,
        size_bytes: 1 << 30,
        ..samples::volume(number, DiskState::UpToDate)
    };
    let device = |number, disk| PeerDeviceStatus {
        out_of_sync_bytes: 1 << 20,
        resync: Some(ResyncProgress { total_bytes: 4 << 20, ..ResyncProgress::default() }),
        ..samples::peer_device(number, ReplicationState::SyncSource, disk)
    };
    let connection = ConnectionStatus {
        peer_devices: vec![device(0, DiskState::Inconsistent), device(1, DiskState::Outdated)],
        ..samples::connection("b", ConnectionState::Connected)
    };
    Response::Status(vec![ResourceStatus {
        volumes: vec![volume(0), volume(1)],
        connections: vec![connection],
        ..samples::resource("r0", Role::Primary)
    }])
}

#[test]
fn the_daemon_gets_what_the_configuration_says() {
    let (run, requests) = run("up r0", |_| vec![Response::Done]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    assert_eq!(run.err.lines().count(), 1, "the warning of r1's option: {run:?}");
    let [Request::Up(config)] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((config.name.as_str(), config.node_id), ("r0", NodeId(0)));
    assert_eq!((config.volumes.len(), config.peers.len()), (2, 1));
}

/// A daemon that knows the volume is the one to say; what it does not know is marked here.
#[test]
fn outdate_asks_the_daemon_first() {
    for (answer, code, tried) in [
        ((|_| vec![Response::Done]) as fn(&Request) -> Vec<Response>, 0, false),
        (|_| refused(17, "r0: this node is Primary"), 17, false),
        (|_| refused(5, "r0: volume 0 is Inconsistent"), 5, false),
        (|_| refused(10, "r0: not up on this node; run 'tandemadm up r0'"), 20, true),
    ] {
        let (run, requests) = run("outdate r0/0", answer);
        assert!(matches!(requests.as_slice(), [Request::Outdate { .. }]), "{requests:?}");
        assert_eq!(run.code, code, "{run:?}");
        assert_eq!(run.err.contains("DIR/disk0: there is no such device"), tried, "{run:?}");
    }
}

/// The same of data that are wrong.
#[test]
fn invalidate_asks_the_daemon_first() {
    for (answer, code, tried) in [
        ((|_| vec![Response::Done]) as fn(&Request) -> Vec<Response>, 0, false),
        (|_| refused(11, "r0: volume 0: no connected peer has UpToDate data"), 11, false),
        (|_| refused(16, "r0: volume 0 has no disk: attach it first"), 16, false),
        (|_| refused(10, "r0: not up on this node; run 'tandemadm up r0'"), 20, true),
    ] {
        let (run, requests) = run("invalidate --reset-bitmap=no r0/0", answer);
        let [Request::Invalidate { reset_bitmap: false, .. }] = requests.as_slice() else {
            panic!("{requests:?}")
        };
        assert_eq!(run.code, code, "{run:?}");
        assert_eq!(run.err.contains("DIR/disk0: there is no such device"), tried, "{run:?}");
    }
}

#[test]
fn refusals_exit_with_the_daemons_code() {
    for (line, code) in [("primary r0", 17), ("secondary r0", 11), ("adjust r0", 10)] {
        let answer: fn(&Request) -> Vec<Response> = match code {
            17 => |_| refused(17, "r0: State change failed: Need access to UpToDate data"),
            11 => |_| refused(11, "r0: State change failed: Device is held open by someone"),
            _ => |_| refused(10, "r0: Failure: disk too small"),
        };
        let (run, _) = run(line, answer);
        assert_eq!(run.code, code, "{line}");
        assert!(run.err.lines().last().unwrap().starts_with("r0: "), "{run:?}");
    }
    let (run, _) = run("up r0", |_| refused(0, "a refusal without a code"));
    assert_eq!(run.code, 11, "never success");
}

#[test]
fn a_failure_leaves_out_the_resource_and_not_the_next() {
    let (run, requests) = run("attach r0 r1", |request| match request {
        Request::Attach { resource, .. } if resource == "r0" => refused(10, "r0/0: no"),
        _ => vec![Response::Done],
    });
    assert_eq!((run.code, run.err.as_str()), (10, "r0/0: no\n"));
    let expected = [
        Request::Attach { resource: "r0".into(), volume: VolumeNumber(0) },
        Request::Attach { resource: "r1".into(), volume: VolumeNumber(0) },
    ];
    assert_eq!(requests, expected);
}

#[test]
fn waiting_shows_progress_and_times_out_with_5() {
    let (run, _) = run("wait-connect --wfc-timeout 1 r0", |_| {
        let mut answers = vec![Response::Progress("r0: waiting for b".into())];
        answers.extend(refused(5, "r0: b did not connect within 1 s"));
        answers
    });
    assert_eq!(run.code, 5);
    assert_eq!(run.err, "r0: waiting for b\nr0: b did not connect within 1 s\n");
}

#[test]
fn states_print_as_drbdadm_prints_them() {
    for (line, expected) in [
        ("role r0", "Primary\n"),
        ("cstate r0", "Connected\n"),
        ("cstate r0:b", "Connected\n"),
        ("dstate r0", "UpToDate/Inconsistent\nUpToDate/Outdated\n"),
        ("dstate r0/1", "UpToDate/Outdated\n"),
    ] {
        let (run, _) = run(line, |_| vec![status()]);
        assert_eq!((run.code, run.out.as_str()), (0, expected), "{line}: {run:?}");
    }
    for line in ["cstate r0:c", "dstate r0/9"] {
        let (run, _) = run(line, |_| vec![status()]);
        assert_eq!(run.code, 10, "{line}: {run:?}");
    }
}

#[test]
fn status_needs_no_configuration() {
    let setup = Setup::new();
    std::fs::write(setup.path().join("t.res"), "nonsense").unwrap();
    let (run, requests) = run_in(&setup, "status", |_| vec![status()]);
    assert_eq!(run.code, 0, "{run:?}");
    let text = [
        "r0 role:Primary",
        "  volume:0 disk:UpToDate open:yes",
        "  volume:1 disk:UpToDate open:yes",
        "  b role:Secondary",
        "    volume:0 replication:SyncSource peer-disk:Inconsistent done:75.00",
        "    volume:1 replication:SyncSource peer-disk:Outdated done:75.00",
        "\n",
    ]
    .join("\n");
    assert_eq!(run.out, text);
    assert!(requests.iter().all(|request| *request == Request::Status { resource: None }));
    let (run, _) = self::run("status --json r0", |_| vec![status()]);
    let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value[0]["connections"][0]["peer_devices"][0]["percent-resync-done"], 75.0);
    let (run, _) = self::run("status", |_| vec![Response::Status(Vec::new())]);
    let nothing = "# No currently configured DRBD found.\n";
    assert_eq!((run.code, run.out.as_str()), (0, nothing));
    let (run, _) = self::run("status r9", |_| vec![Response::Status(Vec::new())]);
    assert_eq!(run.code, 10);
    assert!(run.err.starts_with("r9: No such resource"), "{run:?}");
}

#[test]
fn watching_ends_when_the_daemon_does() {
    let (run, requests) = run("status --watch", |_| refused(20, "shutting down"));
    assert_eq!((run.code, run.err.as_str()), (20, "shutting down\n"));
    assert_eq!(requests.len(), 1);
}

#[test]
fn an_answer_to_another_question_is_a_failure() {
    let (run, _) = run("up r0", |_| vec![Response::Status(Vec::new())]);
    assert_eq!(run.code, 20, "{run:?}");
}
