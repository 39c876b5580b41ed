//! What libnbd and qemu see of the protocol, item by item, on a live pair.
//!
//! 1. Structured replies are agreed on: a read brings data and holes in chunks, or one chunk where
//!    the client wants that.
//! 2. `base:allocation` tells the holes of the backing file, and only what a reader would see.
//! 3. Blocks that the peer lacks are told as `x-tandem:out-of-sync/PEER`, and under the name
//!    `qemu:dirty-bitmap:PEER`.
//! 4. Fast zeroes, holes or none of them, CACHE, and a TRIM of nearly 4 GiB work.
//! 5. Exports are read-only, and limited in connections, as `tandemd.toml` says.
//! 6. One client on standard input and output, and sockets passed on by a service manager.

use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use tandem_tests::tool::{nbdsh, run_tool};
use tandem_tests::{Cluster, Node, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

#[test]
fn structured_reads_tell_data_from_holes() -> Result<()> {
    let cluster = Cluster::in_sync("structured", Spec::default())?;
    let a = cluster.node(Side::A);
    a.client(0)?.write(MIB, &[7; 1 << 20])?;
    run_tool("nbdinfo", &["--can", "df", &a.uri(0)], LIMIT)?.ok()?;
    let text = connected(
        a,
        "
assert h.get_structured_replies_negotiated()
def read(count, offset, flags):
    chunks = []
    def chunk(data, at, status, error):
        assert error.value == 0
        chunks.append(('hole' if status == nbd.READ_HOLE else 'data', at, len(data)))
    h.pread_structured(count, offset, chunk, flags)
    return chunks
M = 1 << 20
print(read(3 * M, 0, 0))
print(read(3 * M, 0, nbd.CMD_FLAG_DF))
print(read(511, 0, 0))
assert h.pread(3 * M, 0) == bytes(M) + bytes([7]) * M + bytes(M)
",
    )?;
    let expected = format!(
        "[('hole', 0, {MIB}), ('data', {MIB}, {MIB}), ('hole', {}, {MIB})]\n\
         [('data', 0, {})]\n[('data', 0, 511)]\n",
        2 * MIB,
        3 * MIB
    );
    assert_eq!(text, expected);
    // Who does not ask gets simple replies, as the kernel does.
    let text = nbdsh(
        &format!(
            "h.set_request_structured_replies(False)\nh.connect_uri('{}')\n\
             print(h.get_structured_replies_negotiated(), h.can_df(), len(h.pread(4096, 0)))",
            a.uri(0)
        ),
        LIMIT,
    )?;
    assert_eq!(text, "False False 4096\n");
    cluster.finish()
}

/// The extents that `nbdinfo` finds: offset, length, flags.
fn map(node: &Node, context: &str) -> Result<Vec<(u64, u64, u64)>> {
    let map = format!("--map={context}");
    let text = run_tool("nbdinfo", &[&map, "--json", &node.uri(0)], LIMIT)?.ok()?;
    let map: serde_json::Value = serde_json::from_str(&text)?;
    let number = |it: &serde_json::Value, key: &str| it[key].as_u64().unwrap_or(u64::MAX);
    let extents = map.as_array().into_iter().flatten();
    let extent = |it| (number(it, "offset"), number(it, "length"), number(it, "type"));
    Ok(extents.map(extent).collect())
}

#[test]
fn base_allocation_is_what_a_reader_would_see() -> Result<()> {
    let cluster = Cluster::in_sync("allocation", Spec::default())?;
    let a = cluster.node(Side::A);
    let end = cluster.data_bytes(0)?;
    let mut client = a.client(0)?;
    // A resync may have written zeroes.
    client.ask(tandem_tests::nbd::Command::Trim, 0, 0, u32::try_from(end)?, &[])?;
    client.write(MIB, &[7; 1 << 20])?;
    client.write(4 * MIB, &[8; 4096])?;
    let extents = map(a, "base:allocation")?;
    let expected = [
        (0, MIB, 3),
        (MIB, MIB, 0),
        (2 * MIB, 2 * MIB, 3),
        (4 * MIB, 4096, 0),
        (4 * MIB + 4096, end - 4 * MIB - 4096, 3),
    ];
    assert_eq!(extents, expected);
    // A hole is made by TRIM, and qemu sees it too.
    client.ask(tandem_tests::nbd::Command::Trim, 0, MIB, 1 << 20, &[])?;
    assert_eq!(map(a, "base:allocation")?[0], (0, 4 * MIB, 3));
    let text = run_tool("qemu-img", &["map", "--output=json", "-f", "raw", &a.uri(0)], LIMIT)?;
    let text = text.ok()?;
    let seen: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((&seen[0]["zero"], &seen[0]["data"]), (&true.into(), &false.into()), "{text}");
    assert_eq!((&seen[1]["start"], &seen[1]["data"]), (&(4 * MIB).into(), &true.into()), "{text}");
    // Without a disk here the peer's data are read, and nothing is said of their holes.
    a.adm_ok(&["detach", "r0/0"])?;
    assert_eq!(map(a, "base:allocation")?, [(0, end, 0)]);
    cluster.finish()
}

#[test]
fn what_a_peer_lacks_is_a_context() -> Result<()> {
    let mut cluster = Cluster::in_sync("out-of-sync", Spec::default())?;
    let end = cluster.data_bytes(0)?;
    let a = cluster.node(Side::A);
    for context in ["x-tandem:out-of-sync/b", "qemu:dirty-bitmap:b"] {
        assert_eq!(map(a, context)?, [(0, end, 0)], "{context}");
    }
    cluster.node_mut(Side::B).stop()?;
    let a = cluster.node(Side::A);
    a.client(0)?.write(3 * MIB, &[1; 8192])?;
    let dirty = [(0, 3 * MIB, 0), (3 * MIB, 8192, 1), (3 * MIB + 8192, end - 3 * MIB - 8192, 0)];
    for context in ["x-tandem:out-of-sync/b", "qemu:dirty-bitmap:b"] {
        assert_eq!(map(a, context)?, dirty, "{context}");
    }
    let uri = a.uri(0);
    let script = format!(
        "h.set_opt_mode(True)\nh.connect_uri('{uri}')\n\
         found = []\nh.opt_list_meta_context(lambda name: found.append(name))\nprint(*found)"
    );
    let listed = "base:allocation x-tandem:out-of-sync/b qemu:dirty-bitmap:b\n";
    assert_eq!(nbdsh(&script, LIMIT)?, listed);
    cluster.node_mut(Side::B).start()?;
    cluster.wait_in_sync()?;
    assert_eq!(map(cluster.node(Side::A), "qemu:dirty-bitmap:b")?, [(0, end, 0)]);
    cluster.finish()
}

#[test]
fn commands_without_data() -> Result<()> {
    let cluster = Cluster::in_sync("commands", Spec::with_bytes(5 << 30))?;
    let a = cluster.node(Side::A);
    for can in ["fast-zero", "cache", "zero", "trim", "df", "fua", "flush", "multi-conn"] {
        run_tool("nbdinfo", &["--can", can, &a.uri(0)], LIMIT)?.ok()?;
    }
    let text = connected(
        a,
        "
h.set_strict_mode(0)
M = 1 << 20
h.pwrite(bytes([5]) * M, 0)
h.zero(M, 0, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(M, 0) == bytes(M)
h.pwrite(bytes([5]) * M, 0)
h.zero(M, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(M, 0) == bytes(M)
h.cache(M, 0)
h.pwrite(bytes([6]) * 4096, (4 << 30) - 8192)
h.trim((1 << 32) - 4096, 0)
assert h.pread(4096, (4 << 30) - 8192) == bytes(4096)
h.zero((1 << 32) - 1, 0)
for call in [lambda: h.cache(4096, h.get_size()),
             lambda: h.cache(4096, 0, nbd.CMD_FLAG_NO_HOLE),
             lambda: h.block_status(4096, 0, lambda *rest: 0),
             lambda: h.zero(4096, h.get_size(), nbd.CMD_FLAG_FAST_ZERO)]:
    try:
        call()
        print('done')
    except nbd.Error as error:
        print(error.errno)
assert len(h.pread(32 * M, 0)) == 32 * M
",
    )?;
    assert_eq!(text, "EINVAL\nEINVAL\nEINVAL\nENOSPC\n");
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn exports_have_limits_of_their_own() -> Result<()> {
    let spec = Spec { volumes: vec![16 << 20, 16 << 20], ..Spec::default() };
    let mut cluster = Cluster::in_sync("exports", spec)?;
    let a = cluster.node_mut(Side::A);
    a.stop()?;
    let config = "[nbd]\nconnections = 3\n[nbd.exports.\"r0/0\"]\nread_only = true\n\
                  [nbd.exports.\"r0/1\"]\nconnections = 2\n";
    std::fs::write(a.daemon_config(), config)?;
    a.start()?;
    cluster.wait_in_sync()?;
    let a = cluster.node(Side::A);
    a.adm_ok(&["primary", "r0"])?;
    let uri = a.uri(0);
    run_tool("nbdinfo", &["--is", "read-only", &uri], LIMIT)?.ok()?;
    let script = "
h.set_strict_mode(0)
for call in [lambda: h.pwrite(bytes(512), 0), lambda: h.zero(512, 0), lambda: h.trim(4096, 0)]:
    try:
        call()
    except nbd.Error as error:
        print(error.errno)
";
    assert_eq!(connected(a, script)?, "EPERM\nEPERM\nEPERM\n");
    let (first, _second) = (a.client(1)?, a.client(1)?);
    let refused = a.client(1).map(drop).expect_err("a third").to_string();
    assert!(refused.contains("2 connections are the limit of r0/1"), "{refused}");
    let _third = a.client(0)?;
    let refused = a.client(0).map(drop).expect_err("a fourth").to_string();
    assert!(refused.contains("3 connections are the limit of this daemon"), "{refused}");
    first.disconnect()?;
    let mut tries = (0..100).map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        a.client(1)
    });
    assert!(tries.any(|client| client.is_ok()), "its place is given to the next");
    cluster.finish()
}

#[test]
fn a_client_on_standard_input_and_output_is_served_to_its_end() -> Result<()> {
    let mut cluster = Cluster::in_sync("stdio", Spec::default())?;
    cluster.node(Side::A).client(0)?.write(0, b"standard")?;
    cluster.node_mut(Side::A).stop()?;
    let a = cluster.node(Side::A);
    let mut command = a.daemon_command()?;
    command.arg("--stdio");
    let words: Vec<String> =
        command.get_args().map(|it| format!("{:?}", it.to_string_lossy())).collect();
    let program = command.get_program().to_string_lossy().into_owned();
    let primary = a.adm_command(&["primary", "--force", "r0"]);
    let promote: Vec<String> =
        primary.get_args().map(|it| format!("{:?}", it.to_string_lossy())).collect();
    let script = format!(
        "
import subprocess
h.set_opt_mode(True)
h.connect_command([{program:?}, {}])
subprocess.check_call([{:?}, {}], stdin=subprocess.DEVNULL)
h.set_export_name('r0')
h.opt_go()
print(h.pread(8, 0).decode())
h.pwrite(b'replaced', 0)
h.shutdown()
",
        words.join(", "),
        primary.get_program().to_string_lossy(),
        promote.join(", ")
    );
    assert_eq!(nbdsh(&script, LIMIT)?, "standard\n");
    // It has stopped in good order.
    assert!(!cluster.node(Side::A).run_dir().join("ready").exists());
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    cluster.node(Side::A).adm_ok(&["primary", "r0"])?;
    assert_eq!(cluster.node(Side::A).client(0)?.read(0, 8)?, b"replaced");
    cluster.finish()
}

/// `sh` knows its own pid before the daemon takes its place, as a service manager does.
#[test]
fn sockets_of_a_service_manager_are_served() -> Result<()> {
    let mut cluster = Cluster::in_sync("listen-fds", Spec::default())?;
    cluster.node_mut(Side::A).stop()?;
    let path = cluster.node(Side::A).run_dir().join("passed-on.sock");
    let listener = UnixListener::bind(&path)?;
    let daemon = cluster.node(Side::A).daemon_command()?;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null", "sh"]);
    command.arg(daemon.get_program()).args(daemon.get_args()).process_group(0);
    command.stdin(std::os::fd::OwnedFd::from(listener));
    let log = cluster.folder().join("listen-fds.log");
    command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&log)?);
    let mut child = command.spawn()?;
    let a = cluster.node(Side::A);
    let ready = a.run_dir().join("ready");
    let begun = std::time::Instant::now();
    while !ready.exists() && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    let promoted = a.adm(&["primary", "--force", "r0"])?;
    let uri = format!("nbd+unix:///r0?socket={}", path.display());
    let size = run_tool("nbdinfo", &["--size", &uri], LIMIT)?;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a child has one"), rustix::process::Signal::TERM)?;
    child.wait()?;
    assert_eq!(promoted.code, 0, "{}", promoted.describe());
    assert_eq!(size.code, 0, "{}\n{}", size.describe(), std::fs::read_to_string(&log)?);
    cluster.finish()
}

/// Runs a script that is connected to volume 0.
fn connected(node: &Node, script: &str) -> Result<String> {
    nbdsh(&format!("h.connect_uri('{}')\n{script}", node.uri(0)), LIMIT)
}
