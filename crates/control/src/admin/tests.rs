//! The codec: what is sent arrives, what is no message is refused, without large allocations.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::exit;
use crate::limits::ADMIN_FRAME_BYTES_MAX;

fn config() -> ResourceConfig {
    let text = "resource r0 { device minor 1; disk /dev/sda;
        on a { node-id 0; address 10.0.0.1:7000; } on b { node-id 1; address 10.0.0.2:7000; } }";
    let config = Config::parse("t.res".as_ref(), text).unwrap();
    config.seen_from("a").remove(0)
}

fn requests() -> Vec<Request> {
    let resource = || "r0".to_owned();
    let (volume, peer) = (VolumeNumber(3), NodeId(1));
    let timeout = Some(Duration::from_millis(1500));
    vec![
        Request::Hello { version: VERSION },
        Request::Ping,
        Request::Up(config()),
        Request::Down { resource: resource() },
        Request::Attach { resource: resource(), volume },
        Request::Detach { resource: resource(), volume, force: true },
        Request::Connect { resource: resource(), peer, discard_my_data: true, tentative: false },
        Request::Disconnect { resource: resource(), peer, force: false },
        Request::Primary { resource: resource(), force: true },
        Request::Secondary { resource: resource(), force: false },
        Request::Invalidate { resource: resource(), volume, reset_bitmap: true },
        Request::InvalidateRemote { resource: resource(), volume, peer, reset_bitmap: false },
        Request::KernelAttach { resource: resource(), volume },
        Request::KernelDetach { resource: resource(), volume, force: true },
        Request::SuspendIo { resource: resource() },
        Request::ResumeIo { resource: resource() },
        Request::PauseSync { resource: resource(), volume, peer },
        Request::ResumeSync { resource: resource(), volume, peer },
        Request::Adjust {
            config: config(),
            adjustment: Adjustment { skip_net: true, ..Adjustment::default() },
        },
        Request::Status { resource: Some(resource()) },
        Request::WaitConnect { resource: resource(), peer: Some(peer), timeout },
        Request::WaitSync { resource: resource(), volume: None, peer: None, timeout: None },
        Request::Verify {
            resource: resource(),
            volume,
            peer,
            start_bytes: Some(4096),
            stop_bytes: None,
            repair: true,
        },
        Request::StopVerify { resource: resource(), volume, peer },
        Request::Outdate { resource: resource(), volume },
        Request::NewCurrentUuid { resource: resource(), volume, initial: None },
        Request::NewCurrentUuid { resource: resource(), volume, initial: Some(InitialData::Equal) },
        Request::Resize {
            resource: resource(),
            volume,
            size_bytes: Some(1 << 30),
            assume_clean: true,
            assume_peer_has_space: false,
        },
    ]
}

#[test]
fn requests_arrive_as_sent_and_not_before_they_are_whole() {
    for request in requests() {
        let mut frame = encode_request(&request).unwrap();
        for cut in 0..frame.len() {
            let decoded = decode_request(&frame[..cut]).unwrap();
            assert_eq!(decoded, None, "{request:?} cut at {cut}");
        }
        let length = frame.len();
        frame.extend_from_slice(b"the next frame");
        assert_eq!(decode_request(&frame).unwrap(), Some((request, length)));
    }
}

#[test]
fn responses_arrive_as_sent() {
    let refusal = Refusal { exit_code: exit::STATE, message: "r0: no".to_owned() };
    let hello = Hello { version: 1, node: "a".into(), release: "0".into(), pid: 7 };
    for response in [
        Response::Hello(hello),
        Response::Done,
        Response::Status(Vec::new()),
        Response::Refused(refusal),
        Response::Progress("waiting".to_owned()),
    ] {
        let frame = encode_response(&response).unwrap();
        assert_eq!(decode_response(&frame).unwrap(), Some((response, frame.len())));
    }
}

/// The bytes of version 1: a change here is a new version.
#[test]
fn bytes_of_the_first_version_are_fixed() {
    let frame = encode_request(&Request::Secondary { resource: "r0".into(), force: true }).unwrap();
    assert_eq!(frame, [6, 0, 0, 0, 0, 9, 2, b'r', b'0', 1]);
    let frame = encode_response(&Response::Done).unwrap();
    assert_eq!(frame, [2, 0, 0, 0, 0, 1]);
}

#[test]
fn a_length_beyond_the_limit_is_refused_from_the_header_alone() {
    let length = u32::try_from(ADMIN_FRAME_BYTES_MAX + 1).unwrap();
    let result = decode_request(&length.to_le_bytes());
    assert!(matches!(result, Err(CodecError::TooLong(_))), "{result:?}");
    let allowed = u32::try_from(ADMIN_FRAME_BYTES_MAX).unwrap();
    assert_eq!(decode_request(&allowed.to_le_bytes()).unwrap(), None);
    let request = Request::Down { resource: "r".repeat(ADMIN_FRAME_BYTES_MAX) };
    assert!(matches!(encode_request(&request), Err(CodecError::TooLong(_))));
}

#[test]
fn other_versions_counts_beyond_the_frame_and_trailing_bytes_are_refused() {
    for payload in [
        &[1, 1][..],                                    // version 2
        &[0, 200][..],                                  // no such request
        &[0, 3, 253, 255, 255, 255, 255, 255, 0, 0, 0], // a name of 2^40 bytes
        &[0, 3, 2, 0xff, 0xff],                         // a name that is not UTF-8
        &[0, 1, 0],                                     // a byte too many
        &[],
    ] {
        let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(payload);
        let result = decode_request(&frame);
        assert!(matches!(result, Err(CodecError::Malformed(_))), "{payload:?}: {result:?}");
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_a_message_that_encodes_again(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        requests_too in any::<bool>(),
    ) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(&payload);
        if requests_too {
            if let Ok(Some((request, taken))) = decode_request(&frame) {
                prop_assert_eq!(taken, frame.len());
                prop_assert!(encode_request(&request).is_ok());
            }
        } else if let Ok(Some((response, _))) = decode_response(&frame) {
            prop_assert!(encode_response(&response).is_ok());
        }
    }
}

/// A daemon that reads one request for each of `answers`.
fn serve(answers: Vec<Vec<u8>>) -> (tempfile::TempDir, std::thread::JoinHandle<()>) {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let mut header = [0; HEADER_LEN];
            stream.read_exact(&mut header).unwrap();
            let mut payload = vec![0; payload_len(header).unwrap()];
            stream.read_exact(&mut payload).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    (directory, thread)
}

fn hello(version: u32) -> Vec<u8> {
    let hello = Hello { version, node: "a".into(), release: "0.1".into(), pid: 7 };
    encode_response(&Response::Hello(hello)).unwrap()
}

#[test]
fn a_client_reads_progress_until_the_last_response() {
    let mut waiting = encode_response(&Response::Progress("one".into())).unwrap();
    waiting.extend(encode_response(&Response::Progress("two".into())).unwrap());
    waiting.extend(encode_response(&Response::Done).unwrap());
    let (directory, daemon) = serve(vec![hello(VERSION), waiting]);
    let mut client = Client::connect(directory.path()).unwrap();
    assert_eq!(client.hello().node, "a");
    let mut words = Vec::new();
    let last = client.call_with_progress(&Request::Ping, |word| words.push(word.to_owned()));
    assert_eq!(last.unwrap(), Response::Done);
    assert_eq!(words, ["one", "two"]);
    daemon.join().unwrap();
}

#[test]
fn a_client_refuses_other_versions_and_garbage_and_notices_the_end() {
    let (directory, daemon) = serve(vec![hello(VERSION + 1)]);
    let error = Client::connect(directory.path()).unwrap_err();
    assert!(matches!(error, ClientError::Version { .. }), "{error}");
    daemon.join().unwrap();

    let (directory, daemon) = serve(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]);
    let error = Client::connect(directory.path()).unwrap_err();
    assert!(matches!(error, ClientError::Codec { .. }), "{error}");
    daemon.join().unwrap();

    let (directory, daemon) = serve(vec![hello(VERSION)]);
    let mut client = Client::connect(directory.path()).unwrap();
    daemon.join().unwrap();
    let error = client.call(&Request::Ping).unwrap_err();
    assert!(matches!(error, ClientError::Io { .. }), "{error}");
}

#[test]
fn no_daemon_is_told_with_the_name_of_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let error = Client::connect(directory.path()).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert!(error.to_string().contains("admin.sock"), "{error}");
}
