//! Other people's clients, on the primary's unix socket and by TCP.
//!
//! 1. `nbdinfo` sees size, flags, block sizes, extents, and the list of exports.
//! 2. `nbdcopy` copies an image in and out again, over several connections.
//! 3. `qemu-img` copies a qcow2 image in and out, compares, maps, and measures.
//! 4. `qemu-io` writes and reads at odd offsets and lengths, zeroes and discards.
//! 5. `nbdsh` goes through every option that it knows, and every error.
//! 6. `fio` writes and verifies at random, 512 bytes to 1 MiB, 32 deep, overlapping.
//! 7. The `nbd` crate, which knows only the oldest way to choose an export, is served too.
//!
//! After each of them both backing disks are the same.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tandem_tests::tool::{nbdsh, run_tool};
use tandem_tests::{Cluster, Random, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(60);

fn on_both(test: &str, bytes: u64) -> Result<Cluster> {
    Cluster::in_sync(test, Spec { nbd_over_tcp: true, ..Spec::with_bytes(bytes) })
}

/// Volume 0 of the primary, on its unix socket and by TCP.
fn uris(cluster: &Cluster) -> [String; 2] {
    [cluster.node(Side::A).uri(0), format!("nbd://{}/r0/0", cluster.nbd_tcp(Side::A))]
}

fn json(tool: &str, arguments: &[&str]) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&run_tool(tool, arguments, LIMIT)?.ok()?)?)
}

#[test]
fn nbdinfo_sees_what_is_offered() -> Result<()> {
    let cluster = on_both("nbdinfo", 64 << 20)?;
    let a = cluster.node(Side::A);
    let bytes = cluster.data_bytes(0)?;
    a.client(0)?.write(1 << 20, &[1; 1 << 20])?;
    for uri in uris(&cluster) {
        let info = json("nbdinfo", &["--json", &uri])?;
        let export = &info["exports"][0];
        assert_eq!(export["export-size"], bytes);
        for can in ["can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"] {
            assert_eq!(export[can], true, "{can}: {export}");
        }
        assert_eq!(export["is_read_only"], false);
        let sizes = ["block_size_minimum", "block_size_preferred", "block_size_maximum"];
        assert_eq!(sizes.map(|it| export[it].as_u64()), [Some(1), Some(4096), Some(32 << 20)]);
        for can in ["read", "write", "df", "cache", "fast-zero"] {
            run_tool("nbdinfo", &["--can", can, &uri], LIMIT)?.ok()?;
        }
        let map = json("nbdinfo", &["--map", "--json", &uri])?;
        let extents = map.as_array().into_iter().flatten();
        assert_eq!(extents.filter_map(|it| it["length"].as_u64()).sum::<u64>(), bytes, "{map}");
    }
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
    let cluster = on_both("nbdcopy", 64 << 20)?;
    let bytes = usize::try_from(cluster.data_bytes(0)?)?;
    let (source, copy) = (cluster.folder().join("source"), cluster.folder().join("copy"));
    let [from, to] = [&source, &copy].map(|path| path.display().to_string());
    for (seed, uri) in (1..).zip(uris(&cluster)) {
        let mut image = Random::new(seed).bytes(bytes);
        // Holes are copied as zeroes, not as data.
        image[8 << 20..24 << 20].fill(0);
        std::fs::write(&source, &image)?;
        run_tool("nbdcopy", &["--connections=4", "--flush", &from, &uri], LIMIT)?.ok()?;
        cluster.assert_same_data()?;
        run_tool("nbdcopy", &["--connections=4", &uri, &to], LIMIT)?.ok()?;
        assert!(std::fs::read(&copy)? == image, "what comes out is not what went in");
        assert!(tandem_tests::image::read(cluster.node(Side::B).disk(0), bytes as u64)? == image);
    }
    cluster.finish()
}

#[test]
fn qemu_img_copies_compares_and_measures() -> Result<()> {
    let cluster = on_both("qemu-img", 64 << 20)?;
    let bytes = cluster.data_bytes(0)?;
    let folder = cluster.folder();
    let [raw, packed, back] =
        ["raw", "packed.qcow2", "back.qcow2"].map(|it| folder.join(it).display().to_string());
    let qemu_img = |arguments: &[&str]| run_tool("qemu-img", arguments, LIMIT)?.ok();
    for (seed, uri) in (1..).zip(uris(&cluster)) {
        let mut image = Random::new(seed).bytes(usize::try_from(bytes)?);
        image[8 << 20..24 << 20].fill(0);
        std::fs::write(&raw, &image)?;
        qemu_img(&["convert", "-f", "raw", "-O", "qcow2", &raw, &packed])?;
        qemu_img(&["convert", "-n", "-W", "-f", "qcow2", "-O", "raw", &packed, &uri])?;
        qemu_img(&["compare", "-f", "qcow2", "-F", "raw", &packed, &uri])?;
        let info = json("qemu-img", &["info", "--output=json", &uri])?;
        assert_eq!((&info["virtual-size"], &info["format"]), (&bytes.into(), &"raw".into()));
        let map = json("qemu-img", &["map", "--output=json", "-f", "raw", &uri])?;
        let extents = map.as_array().into_iter().flatten();
        assert_eq!(extents.filter_map(|it| it["length"].as_u64()).sum::<u64>(), bytes, "{map}");
        qemu_img(&["convert", "-f", "raw", "-O", "qcow2", &uri, &back])?;
        qemu_img(&["compare", "-f", "qcow2", "-F", "qcow2", &packed, &back])?;
        qemu_img(&["bench", "-f", "raw", "-c", "2000", "-d", "64", &uri])?;
        let write = ["bench", "-w", "-f", "raw", "-c", "2000", "-d", "64", "--flush-interval=100"];
        qemu_img(&[&write[..], &[&uri]].concat())?;
        cluster.assert_same_data()?;
        let differs = ["compare", "-f", "qcow2", "-F", "raw", &packed, &uri];
        assert_eq!(run_tool("qemu-img", &differs, LIMIT)?.code, 1, "it has been written to");
    }
    cluster.finish()
}

#[test]
fn qemu_io_reads_back_odd_pieces() -> Result<()> {
    let cluster = on_both("qemu-io", 64 << 20)?;
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
    for uri in uris(&cluster) {
        let empty = format!("write -z 0 {}", 8 << 20);
        let commands = std::iter::once(&empty).chain(&script).flat_map(|it| ["-c", it]);
        let arguments: Vec<&str> =
            ["-f", "raw"].into_iter().chain(commands).chain([&*uri]).collect();
        let output = run_tool("qemu-io", &arguments, LIMIT)?;
        assert_eq!(output.code, 0, "{}", output.describe());
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(!text.contains("verification failed") && !text.contains("rror"), "{text}");
        cluster.assert_same_data()?;
        let beyond = format!("write {end} 512");
        let output = run_tool("qemu-io", &["-f", "raw", "-c", &beyond, &uri], LIMIT)?;
        assert_ne!(output.code, 0, "a write behind the end: {}", output.describe());
        cluster.assert_same_data()?;
    }
    cluster.finish()
}

/// What Debian's libnbd cannot send is sent byte by byte in `bad_clients`.
const OPTIONS_AND_ERRORS: &str = "
told = []
def tell(call):
    try:
        call()
        told.append('done')
    except nbd.Error as error:
        told.append(error.errno)
def line(*more):
    print(*told, *more)
    told.clear()
def handle():
    h = nbd.NBD()
    h.set_opt_mode(True)
    return h
h = handle()
h.connect_uri(URI)
exports = []
h.opt_list(lambda *export: exports.append(export))
line(exports)
h.set_export_name('r1')
tell(h.opt_info)
tell(h.opt_go)
h.set_export_name('r0/0')
tell(h.opt_info)
tell(lambda: h.can_meta_context('base:allocation'))
contexts = []
h.opt_list_meta_context(contexts.append)
line(contexts)
h.add_meta_context('base:allocation')
h.add_meta_context('nobody:knows')
tell(h.opt_go)
line(h.get_structured_replies_negotiated(), h.can_meta_context('base:allocation'),
      h.can_meta_context('nobody:knows'))
h.set_strict_mode(0)
end = h.get_size()
block = bytes(512)
see = lambda *extents: 0
for call in [lambda at, flags: h.pread(512, at, flags),
             lambda at, flags: h.pwrite(block, at, flags),
             lambda at, flags: h.zero(512, at, flags), lambda at, flags: h.trim(512, at, flags),
             lambda at, flags: h.cache(512, at, flags),
             lambda at, flags: h.block_status(512, at, see, flags)]:
    for at, flags in [(0, 0), (end, 0), (2**64 - 512, 0), (0, nbd.CMD_FLAG_FUA),
                      (0, nbd.CMD_FLAG_REQ_ONE), (0, 0x8000)]:
        tell(lambda: call(at, flags))
    line()
tell(lambda: h.flush(nbd.CMD_FLAG_NO_HOLE))
tell(lambda: h.pwrite(bytes(64 << 20), 0))
tell(lambda: h.pread(64 << 20, 0))
tell(lambda: h.pread(512, 0))
h.shutdown()
h = handle()
h.connect_uri(URI)
tell(h.opt_abort)
line(h.aio_is_closed())
h = nbd.NBD()
h.set_request_structured_replies(False)
h.connect_uri(URI)
line(h.get_structured_replies_negotiated(), h.pread(512, 0) == block)
h.shutdown()
h = nbd.NBD()
h.set_handshake_flags(0)
h.connect_uri(URI)
line(h.get_protocol(), h.get_size() == end)
h.shutdown()
h = nbd.NBD()
h.set_tls(nbd.TLS_REQUIRE)
tell(lambda: h.connect_uri(URI))
h = nbd.NBD()
h.set_tls(nbd.TLS_ALLOW)
tell(lambda: h.connect_uri(URI))
line(h.get_tls_negotiated())
";

/// By row: READ, WRITE, WRITE_ZEROES, TRIM, CACHE, BLOCK_STATUS. By column: inside, behind the end,
/// far behind it, with FUA, with REQ_ONE, with a flag that nobody knows.
const EXPECTED: &str = "\
[('r0/0', 'r0, Primary, UpToDate')]
ENOENT ENOENT done done ['base:allocation', 'x-tandem:out-of-sync/b', 'qemu:dirty-bitmap:b']
done True True False
done EINVAL EINVAL done EINVAL EINVAL
done ENOSPC ENOSPC done EINVAL EINVAL
done ENOSPC ENOSPC done EINVAL EINVAL
done EINVAL EINVAL done EINVAL EINVAL
done EINVAL EINVAL done EINVAL EINVAL
done EINVAL EINVAL done done EINVAL
EINVAL done done done done True
False True
newstyle True
ENOTSUP done False
";

#[test]
fn nbdsh_knows_every_option_and_error() -> Result<()> {
    let cluster = on_both("nbdsh", 80 << 20)?;
    for uri in uris(&cluster) {
        let script = OPTIONS_AND_ERRORS.replace("URI", &format!("'{uri}'"));
        assert_eq!(nbdsh(&script, LIMIT)?, EXPECTED);
        cluster.assert_same_data()?;
    }
    cluster.finish()
}

/// Overlapping writes in flight have no order that fio could expect, so it does not send a write
/// before one that it overlaps has its reply (`serialize_overlap`); a second job, which verifies
/// nothing, overlaps itself as it likes.
#[test]
fn fio_verifies() -> Result<()> {
    let cluster = on_both("fio", 256 << 20)?;
    for uri in uris(&cluster) {
        fio(&cluster, &format!("--uri={uri}"))?;
    }
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
