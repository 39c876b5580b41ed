//! Other people's clients, against the primary's socket.
//!
//! 1. `nbdinfo` sees size, flags and block sizes, and the list of exports.
//! 2. `nbdcopy` copies an image in and out again, over several connections.
//! 3. `qemu-io` writes and reads at odd offsets and lengths, zeroes and discards.
//! 4. `fio` writes and verifies at random, 512 bytes to 1 MiB, 32 deep, overlapping; also on TCP.
//! 5. The `nbd` crate, which knows only the oldest way to choose an export, is served too.
//!
//! After each of them both backing disks are the same.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tandem_tests::tool::run_tool;
use tandem_tests::{Cluster, Random, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn nbdinfo_sees_what_is_offered() -> Result<()> {
    let cluster = Cluster::in_sync("nbdinfo", Spec::default())?;
    let a = cluster.node(Side::A);
    let text = run_tool("nbdinfo", &["--json", &a.uri(0)], LIMIT)?.ok()?;
    let info: serde_json::Value = serde_json::from_str(&text)?;
    let export = &info["exports"][0];
    assert_eq!(export["export-size"], cluster.data_bytes(0)?);
    for can in ["can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"] {
        assert_eq!(export[can], true, "{can}: {export}");
    }
    assert_eq!(export["is_read_only"], false);
    let sizes = ["block_size_minimum", "block_size_preferred", "block_size_maximum"];
    assert_eq!(sizes.map(|it| export[it].as_u64()), [Some(1), Some(4096), Some(32 << 20)]);
    let socket = a.run_dir().join("nbd.sock");
    for (alias, works) in [("r0", true), ("", true), ("r0/1", false), ("r1", false)] {
        let uri = format!("nbd+unix:///{alias}?socket={}", socket.display());
        let size = run_tool("nbdinfo", &["--size", &uri], LIMIT)?;
        assert_eq!(size.code == 0, works, "{}", size.describe());
    }
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    let list = run_tool("nbdinfo", &["--list", &uri], LIMIT)?.ok()?;
    assert!(list.contains("export=\"r0/0\""), "{list}");
    assert!(list.contains("description: r0, Primary, UpToDate"), "{list}");
    // A Secondary's is listed with its state, and then refused: nbdinfo asks it for more.
    let b = cluster.node(Side::B).run_dir().join("nbd.sock");
    let uri = format!("nbd+unix:///?socket={}", b.display());
    let list = run_tool("nbdinfo", &["--list", &uri], LIMIT)?;
    assert!(list.stderr.contains("for export: r0/0"), "{}", list.describe());
    cluster.finish()
}

#[test]
fn nbdcopy_copies_in_and_out() -> Result<()> {
    let cluster = Cluster::in_sync("nbdcopy", Spec::default())?;
    let bytes = usize::try_from(cluster.data_bytes(0)?)?;
    let uri = cluster.node(Side::A).uri(0);
    let (source, copy) = (cluster.folder().join("source"), cluster.folder().join("copy"));
    let mut image = Random::new(1).bytes(bytes);
    // Holes are copied as zeroes, not as data.
    image[8 << 20..24 << 20].fill(0);
    std::fs::write(&source, &image)?;
    let [from, to] = [&source, &copy].map(|path| path.display().to_string());
    run_tool("nbdcopy", &["--connections=4", "--flush", &from, &uri], LIMIT)?.ok()?;
    cluster.assert_same_data()?;
    run_tool("nbdcopy", &["--connections=4", &uri, &to], LIMIT)?.ok()?;
    assert!(std::fs::read(&copy)? == image, "what comes out is not what went in");
    assert!(tandem_tests::image::read(cluster.node(Side::B).disk(0), bytes as u64)? == image);
    cluster.finish()
}

#[test]
fn qemu_io_reads_back_odd_pieces() -> Result<()> {
    let cluster = Cluster::in_sync("qemu-io", Spec::default())?;
    let uri = cluster.node(Side::A).uri(0);
    let end = cluster.data_bytes(0)?;
    let script = [
        "write -P 1 0 65536".to_owned(),
        "write -P 2 1 1".to_owned(),
        "write -P 3 511 2".to_owned(),
        "write -P 4 4095 4098".to_owned(),
        "write -P 5 1000003 777777".to_owned(),
        format!("write -P 6 {} 1", end - 1),
        "read -P 1 0 1".to_owned(),
        "read -P 2 1 1".to_owned(),
        "read -P 1 2 509".to_owned(),
        "read -P 3 511 2".to_owned(),
        "read -P 1 513 3582".to_owned(),
        "read -P 4 4095 4098".to_owned(),
        "read -P 1 8193 57343".to_owned(),
        "read -P 0 1000000 3".to_owned(),
        "read -P 5 1000003 777777".to_owned(),
        "read -P 0 1777780 100".to_owned(),
        format!("read -P 6 {} 1", end - 1),
        "write -z 1000100 5000".to_owned(),
        "read -P 5 1000003 97".to_owned(),
        "read -P 0 1000100 5000".to_owned(),
        "read -P 5 1005100 1000".to_owned(),
        "write -z -u 4194304 4194304".to_owned(),
        "read -P 0 4194304 4194304".to_owned(),
        "write -P 7 -f 12345 67890".to_owned(),
        "flush".to_owned(),
        "discard 8388608 1048576".to_owned(),
        "read -P 7 12345 67890".to_owned(),
    ];
    let mut arguments = vec!["-f", "raw"];
    for command in &script {
        arguments.extend(["-c", command]);
    }
    arguments.push(&uri);
    let output = run_tool("qemu-io", &arguments, LIMIT)?;
    assert_eq!(output.code, 0, "{}", output.describe());
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(!text.contains("verification failed") && !text.contains("rror"), "{text}");
    cluster.assert_same_data()?;
    let beyond = format!("write {end} 512");
    let output = run_tool("qemu-io", &["-f", "raw", "-c", &beyond, &uri], LIMIT)?;
    assert_ne!(output.code, 0, "a write behind the end: {}", output.describe());
    cluster.assert_same_data()?;
    cluster.finish()
}

/// Overlapping writes in flight have no order that fio could expect, so it does not send a write
/// before one that it overlaps has its reply (`serialize_overlap`); a second job, which verifies
/// nothing, overlaps itself as it likes.
#[test]
fn fio_verifies_over_the_socket() -> Result<()> {
    let cluster = Cluster::in_sync("fio", Spec::with_bytes(256 << 20))?;
    let uri = format!("--uri={}", cluster.node(Side::A).uri(0));
    fio(&cluster, &uri)?;
    cluster.finish()
}

#[test]
fn fio_verifies_over_tcp() -> Result<()> {
    let spec = Spec { nbd_over_tcp: true, ..Spec::with_bytes(256 << 20) };
    let cluster = Cluster::in_sync("fio-tcp", spec)?;
    let uri = format!("--uri=nbd://{}/r0/0", cluster.nbd_tcp(Side::A));
    fio(&cluster, &uri)?;
    cluster.finish()
}

fn fio(cluster: &Cluster, uri: &str) -> Result<()> {
    let common = ["--name=random", "--ioengine=nbd", uri, "--iodepth=32", "--bsrange=512-1m"];
    let size = format!("--size={}", cluster.data_bytes(0)?);
    let verify =
        ["--verify=crc32c", "--verify_fatal=1", "--verify_backlog=256", "--verify_state_save=0"];
    let mut arguments: Vec<&str> = common.to_vec();
    arguments.extend(["--rw=randrw", "--blockalign=512", "--serialize_overlap=1", &size]);
    arguments.extend(["--randrepeat=0", "--norandommap", "--io_size=256m"]);
    arguments.extend(verify);
    run_tool("fio", &arguments, LIMIT)?.ok()?;
    cluster.assert_same_data()?;
    let mut arguments: Vec<&str> = common.to_vec();
    arguments.extend(["--rw=randwrite", "--blockalign=512", "--norandommap", "--size=4m"]);
    arguments.extend(["--io_size=128m", "--numjobs=2", "--fsync=64"]);
    run_tool("fio", &arguments, LIMIT)?.ok()?;
    cluster.assert_same_data()
}

#[test]
fn the_nbd_crate_is_served() -> Result<()> {
    let cluster = Cluster::in_sync("nbd-crate", Spec::with_bytes(16 << 20))?;
    let mut socket = UnixStream::connect(cluster.node(Side::A).run_dir().join("nbd.sock"))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let export = nbd::client::handshake(&mut socket, b"r0/0")?;
    assert_eq!(export.size, cluster.data_bytes(0)?);
    assert!(export.send_flush && !export.readonly);
    let mut client = nbd::client::NbdClient::new(&mut socket, &export);
    let text = Random::new(9).bytes(100_001);
    client.seek(SeekFrom::Start(77_777))?;
    client.write_all(&text)?;
    client.flush()?;
    client.seek(SeekFrom::Start(77_777))?;
    let mut back = vec![0; text.len()];
    client.read_exact(&mut back)?;
    assert!(back == text);
    cluster.assert_same_data()?;
    cluster.finish()
}

/// A flush on one connection makes durable, and reads on one see, what was acknowledged on others.
#[test]
fn connections_of_an_export_see_each_other() -> Result<()> {
    let cluster = Cluster::in_sync("connections", Spec::default())?;
    let a = cluster.node(Side::A);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(a.client(0)?);
    }
    for round in 0..40u8 {
        let writer = usize::from(round) % clients.len();
        let offset = u64::from(round) * 1000;
        clients[writer].write(offset, &[round + 1; 1500])?;
        for reader in &mut clients {
            assert_eq!(reader.read(offset, 1500)?, [round + 1; 1500]);
        }
        clients[(writer + 1) % 8].flush()?;
    }
    drop(clients);
    cluster.assert_same_data()?;
    cluster.finish()
}
