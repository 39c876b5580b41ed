//! Clients that take what they can get stand in nobody's way.
//!
//! 1. A handshake has ten seconds in all, however busily a client trickles; a request has to keep
//!    a least rate, and a client that is idle between requests may be that for ever.
//! 2. A flood of half-open connections keeps nobody out of a listener: new clients get in while it
//!    lasts, those that are served go on, and so does replication.
//! 3. Where the system gives few descriptors, connections wait for one. Replication, administrators
//!    and disks have theirs.
//! 4. Who comes above a limit of connections is told so.
//! 5. Clients that each send half of a large write, and then the rest, come through, though all of
//!    them at once are more than the daemon has buffers for.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tandem_tests::nbd::{Command, NbdClient, Stream, greet, request_header};
use tandem_tests::{Cluster, Node, Result, Side, Spec, ensure};

/// Far beyond any deadline of the daemon's.
const LIMIT: Duration = Duration::from_secs(180);

/// Zeroes one by one, until the server has closed; says after how long.
fn trickle(stream: &mut Stream, interval_ms: u64) -> Result<Duration> {
    let begun = Instant::now();
    while stream.write_all(&[0]).is_ok() {
        ensure(begun.elapsed() < LIMIT, || "the connection stays open".to_owned())?;
        std::thread::sleep(Duration::from_millis(interval_ms));
    }
    Ok(begun.elapsed())
}

#[test]
fn who_trickles_is_closed_and_who_is_idle_is_not() -> Result<()> {
    let cluster = Cluster::in_sync("trickle", Spec::default())?;
    let a = cluster.node(Side::A);
    let mut idle = a.client(0)?;
    idle.write(0, &[1; 4096])?;
    let (mut half_open, mut mid_header, mut mid_payload) =
        (Stream::connect(&a.nbd())?, a.client(0)?, a.client(0)?);
    greet(&mut half_open)?;
    // Half a header; and a header whose payload has begun.
    let header = request_header(Command::Write as u16, 0, 7, 0, 1 << 20);
    mid_header.stream().write_all(&header[..5])?;
    mid_payload.stream().write_all(&header)?;
    let mut slow = a.client(0)?;
    let took = std::thread::scope(|scope| -> Result<[Duration; 3]> {
        // An option of a million bytes, which is skipped as it comes.
        let option = b"IHAVEOPT\0\0\0\x63\0\x0f\0\0";
        half_open.write_all(option)?;
        let half_open = scope.spawn(|| trickle(&mut half_open, 200));
        // Slow enough not to be through with the header before.
        let mid_header = scope.spawn(|| trickle(mid_header.stream(), 5000));
        let mid_payload = scope.spawn(|| trickle(mid_payload.stream(), 200));
        let slow = scope.spawn(|| -> Result<()> {
            // 8 MiB at 100 KiB/s are slow, and longer under way than any patience.
            slow.stream().write_all(&request_header(Command::Write as u16, 0, 8, 0, 8 << 20))?;
            for _ in 0..800 {
                slow.stream().write_all(&[5; (8 << 20) / 800])?;
                std::thread::sleep(Duration::from_millis(100));
            }
            slow.stream().write_all(&[5; (8 << 20) % 800])?;
            let mut reply = [0; 16];
            slow.stream().read_exact(&mut reply)?;
            assert_eq!(reply[4..8], [0; 4]);
            Ok(())
        });
        let join =
            |it: std::thread::ScopedJoinHandle<'_, Result<Duration>>| it.join().expect("no panic");
        let took = [join(half_open)?, join(mid_header)?, join(mid_payload)?];
        slow.join().expect("no panic")?;
        Ok(took)
    })?;
    eprintln!("closed after {took:?}: a handshake, a header, a payload");
    let is_less = |it: &Duration| took[0] * 2 < *it;
    assert!(took[1..].iter().all(is_less), "a handshake has less time than a request");
    // It was idle all the while.
    assert_eq!(idle.read(4 << 20, 4096)?, [5; 4096]);
    assert_eq!(idle.read(0, 512)?, [5; 512], "nothing of the payload that trickled");
    idle.disconnect()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn writes_that_are_larger_than_all_buffers_together_are_carried_out() -> Result<()> {
    const BYTES: u32 = 16 << 20;
    let cluster = Cluster::in_sync("hoard", Spec::with_bytes(512 << 20))?;
    let a = cluster.node(Side::A);
    let mut clients = Vec::new();
    for place in 0..20 {
        let mut client = a.client(0)?;
        // At an odd place, so that it is cut once more.
        let offset = 1000 + u64::from(BYTES) * place;
        let header = request_header(Command::Write as u16, 0, place, offset, BYTES);
        client.stream().write_all(&header)?;
        clients.push((client, 1 + u8::try_from(place)?));
    }
    std::thread::scope(|scope| {
        let send = |stream: &mut Stream, byte: u8| -> Result<()> {
            let half = vec![byte; usize::try_from(BYTES / 2)?];
            stream.write_all(&half)?;
            std::thread::sleep(Duration::from_millis(200));
            stream.write_all(&half)?;
            let mut reply = [0; 16];
            stream.read_exact(&mut reply)?;
            ensure(reply[4..8] == [0; 4], || format!("{reply:?}"))
        };
        let threads = clients.iter_mut().map(|(client, byte)| {
            let (stream, byte) = (client.stream(), *byte);
            scope.spawn(move || send(stream, byte))
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let mut reader = a.client(0)?;
    for place in 0..20_u8 {
        let offset = 1000 + u64::from(BYTES) * u64::from(place);
        for at in [offset, offset + u64::from(BYTES) - 4096] {
            assert_eq!(reader.read(at, 4096)?, [1 + place; 4096]);
        }
    }
    drop((clients, reader));
    cluster.assert_same_data()?;
    cluster.finish()
}

fn still_works(client: &mut NbdClient, byte: u8) -> Result<()> {
    client.write(0, &[byte; 4096])?;
    assert_eq!(client.read(0, 4096)?, [byte; 4096]);
    Ok(())
}

/// Whether the server has not closed a connection on which it sends nothing.
fn is_open(stream: &mut Stream) -> Result<bool> {
    let patience = Some(Duration::from_millis(50));
    match stream {
        Stream::Tcp(socket) => socket.set_read_timeout(patience)?,
        Stream::Unix(socket) => socket.set_read_timeout(patience)?,
    }
    let read = stream.read(&mut [0]);
    Ok(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock))
}

/// New clients get in within `LIMIT`, which is far more than it takes.
fn gets_in(node: &Node) -> Result<NbdClient> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match node.client(0) {
            Ok(client) => return Ok(client),
            Err(failure) => ensure(Instant::now() < deadline, || failure.to_string())?,
        }
    }
}

#[test]
fn a_flood_of_half_open_connections_keeps_nobody_out() -> Result<()> {
    let spec = Spec { nbd_over_tcp: true, ..Spec::default() };
    let cluster = Cluster::in_sync("flood", spec)?;
    let a = cluster.node(Side::A);
    let tcp = tandem_tests::nbd::Address::Tcp(cluster.nbd_tcp(Side::A));
    let mut good = a.client(0)?;
    for (address, byte) in [(&tcp, 50), (&a.nbd(), 100)] {
        let flood: Result<Vec<Stream>> = (0..100).map(|_| Ok(Stream::connect(address)?)).collect();
        let mut flood = flood?;
        // By the same way as the flood, and by the other one.
        still_works(&mut NbdClient::open(&tcp, "r0/0")?, byte)?;
        still_works(&mut a.client(0)?, byte + 1)?;
        // One that was early, and not among the oldest, is still in its handshake: that was not a
        // matter of patience.
        flood[50].read_exact(&mut [0; 18])?;
        ensure(is_open(&mut flood[50])?, || "the flood was closed for being slow".to_owned())?;
        for turn in 0..50 {
            still_works(&mut good, byte + turn)?;
        }
        assert_eq!(a.status()?.connection(), "Connected");
    }
    let log = a.log()?;
    ensure(log.contains("64 NBD handshakes are under way at once"), || a.tail())?;
    drop(good);
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn a_lack_of_descriptors_is_lived_with() -> Result<()> {
    let mut cluster = Cluster::in_sync("descriptors", Spec::default())?;
    cluster.node_mut(Side::A).stop()?;
    cluster.node_mut(Side::A).limit_descriptors(128);
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    let a = cluster.node(Side::A);
    a.adm_ok(&["primary", "r0"])?;
    ensure(a.log()?.contains("the limit of open files is 128"), || a.tail())?;
    let mut good = a.client(0)?;
    // All that are served at once; one more is told.
    let mut served = Vec::new();
    let told = loop {
        match NbdClient::open(&a.nbd(), "r0/0") {
            Ok(client) => served.push(client),
            Err(error) => break error.to_string(),
        }
        ensure(served.len() < 128, || "more clients than descriptors".to_owned())?;
    };
    let limit = format!("{} connections are the limit of this daemon", served.len() + 1);
    ensure(told.contains(&limit), || format!("{told}, not {limit}"))?;
    // Half-open ones take the rest; more of them wait outside.
    let half_open: Result<Vec<Stream>> = (0..150).map(|_| Ok(Stream::connect(&a.nbd())?)).collect();
    still_works(&mut good, 1)?;
    for client in &mut served {
        still_works(client, 2)?;
    }
    // Replication and administrators have descriptors of their own: a link can be made anew.
    cluster.link().reset();
    cluster.wait_in_sync()?;
    still_works(&mut good, 3)?;
    drop(half_open?);
    drop(served);
    still_works(&mut gets_in(cluster.node(Side::A))?, 4)?;
    let log = cluster.node(Side::A).log()?;
    ensure(!log.contains("accepting a client:"), || "accept failed".to_owned())?;
    drop(good);
    cluster.assert_same_data()?;
    cluster.finish()
}
