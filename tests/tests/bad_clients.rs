//! Clients that break the rules get what the protocol says, and nobody else notices.
//!
//! 1. A good client is connected all the while, and works after each of the others.
//! 2. Garbage, half greetings, oversized options, wrong magic numbers and half requests end their
//!    own connection, or are answered with an error where the protocol has one.
//! 3. Requests behind the end, unknown commands and unknown flags are answered, and the connection
//!    stays usable.
//! 4. A half write stores nothing; writes before a disconnect are stored whole.
//! 5. A client that reads no replies is not served further, and the others are.

use std::io::{Read, Write};
use std::time::Duration;

use tandem_tests::nbd::{
    Command, NbdClient, OPTION_GO, REPLY_ACK, REPLY_INVALID, REPLY_UNKNOWN, REPLY_UNSUPPORTED,
    Stream, greet, receive_option, request_header, send_option,
};
use tandem_tests::{Cluster, Context, Node, Random, Result, Side, Spec, ensure};

const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

#[test]
fn a_broken_handshake_ends_only_itself() -> Result<()> {
    let cluster = Cluster::in_sync("bad-handshake", Spec::default())?;
    let a = cluster.node(Side::A);
    let mut good = a.client(0)?;
    let garbage = Random::new(3).bytes(100_000);
    let too_long = [&b"IHAVEOPT"[..], &3u32.to_be_bytes(), &u32::MAX.to_be_bytes()].concat();
    for (what, bytes) in [
        ("garbage", garbage),
        ("an unknown flag of the client", 0x8000_0003u32.to_be_bytes().to_vec()),
        ("an option of 4 GiB", [&3u32.to_be_bytes()[..], &too_long].concat()),
    ] {
        let mut stream = Stream::connect(&a.nbd())?;
        // The server may have closed before everything is sent.
        let _ = stream.write_all(&bytes);
        ensure(is_closed(&mut stream), || format!("{what}: the connection stays open"))?;
        still_serves(&mut good)?;
    }
    for bytes in [&b""[..], b"\0", b"\0\0\0\x03", b"\0\0\0\x03IHAV"] {
        let mut stream = Stream::connect(&a.nbd())?;
        stream.write_all(bytes)?;
        drop(stream);
        still_serves(&mut good)?;
    }
    let mut stream = Stream::connect(&a.nbd())?;
    greet(&mut stream)?;
    for (option, payload, expected) in [
        (99, &b"whatever"[..], REPLY_UNSUPPORTED),
        (OPTION_GO, b"\0", REPLY_INVALID),
        (OPTION_GO, b"\0\0\xff\xffr0\0\0", REPLY_INVALID),
        (OPTION_GO, b"\0\0\0\x05no/no\0\0", REPLY_UNKNOWN),
        (OPTION_GO, b"\0\0\0\x02\xff\xfe\0\0", REPLY_INVALID),
    ] {
        send_option(&mut stream, option, payload)?;
        let (kind, _) = receive_option(&mut stream)?;
        ensure(kind == expected, || format!("option {option} {payload:?}: {kind:#x}"))?;
    }
    send_option(&mut stream, OPTION_GO, b"\0\0\0\x04r0/0\0\0")?;
    while receive_option(&mut stream)?.0 != REPLY_ACK {}
    still_serves(&mut good)?;
    cluster.finish()
}

#[test]
fn bad_requests_are_answered_and_the_connection_stays_usable() -> Result<()> {
    let cluster = Cluster::in_sync("bad-requests", Spec::default())?;
    let end = cluster.data_bytes(0)?;
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(end - 512, &[9; 512])?;
    let data = [1; 1024];
    for (command, flags, offset, length, data, error) in [
        (Command::Read, 0, end, 512, &[][..], EINVAL),
        (Command::Read, 0, end - 512, 1024, &[], EINVAL),
        (Command::Read, 0, u64::MAX - 100, 512, &[], EINVAL),
        (Command::Write, 0, end - 512, 1024, &data, ENOSPC),
        (Command::Write, 0, u64::MAX - 100, 1024, &data, ENOSPC),
        (Command::WriteZeroes, 0, end - 512, 1024, &[], ENOSPC),
        (Command::Trim, 0, end - 512, 1024, &[], EINVAL),
        (Command::Write, 0x8000, 0, 1024, &data, EINVAL),
        (Command::Flush, 0, 512, 512, &[], EINVAL),
        (Command::Read, 0, 0, 0, &[], 0),
        (Command::Write, 0, 0, 0, &[], 0),
        (Command::Trim, 0, 0, 0, &[], 0),
        (Command::WriteZeroes, 0, 0, 0, &[], 0),
    ] {
        client.send(command, flags, offset, length, data)?;
        let what = format!("{command:?} {flags:#x} {offset}+{length}");
        assert_eq!(client.receive().about(&what)?.error, error, "{what}");
    }
    client.stream().write_all(&request_header(99, 0, 4711, 0, 0))?;
    let mut reply = [0; 16];
    client.stream().read_exact(&mut reply)?;
    assert_eq!(reply[4..8], EINVAL.to_be_bytes());
    assert_eq!(client.read(end - 512, 512)?, [9; 512]);
    client.write(1, &vec![5; (32 << 20) + 512])?;
    assert_eq!(client.read(1 << 20, 512)?, [5; 512]);
    client.disconnect()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn broken_requests_end_the_connection_and_store_nothing() -> Result<()> {
    let cluster = Cluster::in_sync("broken-requests", Spec::default())?;
    let a = cluster.node(Side::A);
    let mut good = a.client(0)?;
    let write = |length| request_header(Command::Write as u16, 0, 1, 1 << 20, length);
    for (what, bytes) in [
        ("a wrong magic number", [0xff; 28].to_vec()),
        ("a write of 4 GiB", write(u32::MAX).to_vec()),
    ] {
        let mut client = a.client(0)?;
        let _ = client.stream().write_all(&bytes);
        ensure(is_closed(client.stream()), || format!("{what}: the connection stays open"))?;
        still_serves(&mut good)?;
    }
    for (header, payload) in [(10, 0), (28, 0), (28, 1000), (28, 65_535)] {
        let mut client = a.client(0)?;
        client.stream().write_all(&write(65_536)[..header])?;
        client.stream().write_all(&vec![0xee; payload])?;
        drop(client);
        still_serves(&mut good)?;
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(good.read(1 << 20, 65_536)?, [0; 65_536], "a half write was stored");
    stored_before_a_disconnect(a)?;
    let image = a.client(0)?.read(2 << 20, 64 * 4096)?;
    assert!(image.chunks(4096).zip(1..).all(|(block, byte): (_, u8)| block == [byte; 4096]));
    cluster.assert_same_data()?;
    cluster.finish()
}

/// Sends 64 writes and a disconnect at once, and reads the replies afterwards.
fn stored_before_a_disconnect(node: &Node) -> Result<()> {
    let mut client = node.client(0)?;
    for byte in 1..=64u8 {
        let offset = (2 << 20) + u64::from(byte - 1) * 4096;
        client.send(Command::Write, 0, offset, 4096, &[byte; 4096])?;
    }
    client.stream().write_all(&request_header(Command::Disconnect as u16, 0, 0, 0, 0))?;
    for _ in 0..64 {
        assert_eq!(client.receive()?.error, 0);
    }
    assert!(is_closed(client.stream()));
    Ok(())
}

#[test]
fn a_client_that_reads_no_replies_stands_in_nobodys_way() -> Result<()> {
    let cluster = Cluster::in_sync("deaf", Spec::default())?;
    let a = cluster.node(Side::A);
    let mut good = a.client(0)?;
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut client = a.client(0)?;
        for _ in 0..100 {
            client.send(Command::Read, 0, 0, 1 << 20, &[])?;
        }
        deaf.push(client);
    }
    for _ in 0..50 {
        still_serves(&mut good)?;
    }
    drop(deaf);
    still_serves(&mut good)?;
    a.client(0)?.disconnect()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

fn still_serves(good: &mut NbdClient) -> Result<()> {
    good.write(4096, &[7; 4096])?;
    assert_eq!(good.read(4096, 4096)?, [7; 4096]);
    Ok(())
}

/// Whether the server closes, whatever it sends before.
fn is_closed(stream: &mut Stream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
