//! A pair from empty disks to its orderly end.
//!
//! 1. Both nodes get metadata and a daemon, meet, and have no data: Inconsistent on both.
//! 2. `primary --force` on `a` makes its disk the good one, and it is copied to `b`.
//! 3. A client writes to `a`; what it wrote is on both backing disks when the reply is there.
//! 4. `status` says so as text, as DRBD prints it, and as JSON, as its schema says.
//! 5. SIGTERM ends the daemons in good order, with clients connected too; what was acknowledged
//!    is there after a restart, without a resync.
//! 6. A second daemon is refused, and a restarted one waits for the lock of a killed one.

use std::io::ErrorKind;
use std::time::Duration;

use tandem_tests::{Cluster, LoadSpec, Must, Result, Side, Spec, ensure, image, run};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_pair_comes_up_and_replicates() -> Result<()> {
    let mut cluster = Cluster::new("basics", Spec::default())?;
    for side in [Side::A, Side::B] {
        cluster.node(side).adm_ok(&["create-md", "r0"])?;
        cluster.node_mut(side).start()?;
    }
    let a = cluster.node(Side::A);
    let status = a.wait("connected", LIMIT, |it| it.replication(0) == "Established")?;
    assert_eq!((status.role(), status.disk(0)), ("Secondary", "Inconsistent"));
    assert_eq!(status.peer_disk(0), "Inconsistent");
    let refused = a.adm(&["primary", "r0"])?;
    assert_eq!(refused.code, 17, "nobody has data: {}", refused.describe());
    a.adm_ok(&["primary", "--force", "r0"])?;
    cluster.wait_in_sync()?;
    let mut client = a.client(0)?;
    client.write(4096, &[7; 8192])?;
    assert_eq!(client.read(4096, 8192)?, [7; 8192]);
    // Protocol C: the reply means that it is on both.
    for side in [Side::A, Side::B] {
        let bytes = image::read(cluster.node(side).disk(0), 12288)?;
        assert!(bytes[..4096].iter().all(|byte| *byte == 0));
        assert!(bytes[4096..].iter().all(|byte| *byte == 7), "{side:?}");
    }
    client.disconnect()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn status_is_as_drbd_prints_it() -> Result<()> {
    let cluster = Cluster::in_sync("status", Spec::default())?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    let idle = "r0 role:Primary\n  disk:UpToDate open:no\n  b role:Secondary\n    \
                peer-disk:UpToDate\n\n";
    assert_eq!(a.adm_ok(&["status", "r0"])?, idle);
    assert_eq!(a.adm_ok(&["status"])?, idle);
    let other = "r0 role:Secondary\n  disk:UpToDate open:no\n  a role:Primary\n    \
                 peer-disk:UpToDate\n\n";
    assert_eq!(b.adm_ok(&["status"])?, other);
    let client = a.client(0)?;
    assert_eq!(a.adm_ok(&["status"])?, idle.replace("open:no", "open:yes"));
    drop(client);
    assert_eq!(a.adm_ok(&["role", "r0"])?, "Primary\n");
    assert_eq!(a.adm_ok(&["cstate", "r0"])?, "Connected\n");
    assert_eq!(a.adm_ok(&["dstate", "r0"])?, "UpToDate/UpToDate\n");
    let status = a.status()?;
    let keys = ["name", "node-id", "role", "suspended", "write-ordering", "devices", "connections"];
    for key in keys {
        assert!(!status.json()[key].is_null(), "{key} is missing in {}", status.json());
    }
    assert_eq!(status.json()["connections"][0]["protocol"], "C");
    cluster.link().cut();
    b.check_status_schema()?;
    let state = b.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
    b.check_status_schema()?;
    assert_eq!(state.peer_disk(0), "DUnknown");
    let text = b.adm_ok(&["status"])?;
    assert!(text.starts_with("r0 role:Secondary\n  disk:UpToDate"), "{text}");
    assert!(text.contains("\n  a connection:"), "{text}");
    cluster.link().heal();
    cluster.wait_in_sync()?;
    cluster.finish()
}

#[test]
fn it_stops_in_good_order_and_starts_again_as_it_was() -> Result<()> {
    let mut cluster = Cluster::in_sync("restart", Spec::default())?;
    let audit = std::sync::Arc::new(tandem_tests::Audit::new(cluster.data_bytes(0)?)?);
    let a = cluster.node(Side::A);
    let load = tandem_tests::Load::start(a, &audit, LoadSpec::default(), 1)?;
    std::thread::sleep(Duration::from_millis(300));
    // No client is told an error: it would take it for one of the disk.
    cluster.node_mut(Side::A).stop()?;
    load.join()?;
    cluster.node_mut(Side::B).stop()?;
    for side in [Side::A, Side::B] {
        let log = cluster.node(side).log()?;
        ensure(!log.contains("could be brought down"), || cluster.node(side).tail())?;
        for file in ["ready", "nbd.sock", "admin.sock"] {
            assert!(!cluster.node(side).run_dir().join(file).exists(), "{file} is left");
        }
        cluster.node_mut(side).start()?;
    }
    cluster.wait_in_sync()?;
    let b = cluster.node(Side::B);
    assert_eq!(b.status()?.role(), "Secondary");
    b.adm_ok(&["primary", "r0"])?;
    let verdict = audit.judge(&b.client(0)?.read_all()?, Must::Acked)?;
    assert!(verdict.acked > 0);
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn a_second_daemon_is_refused_and_a_restarted_one_waits() -> Result<()> {
    let mut cluster = Cluster::in_sync("second", Spec::default())?;
    let second = run(&mut cluster.node(Side::A).daemon_command()?, LIMIT)?;
    assert_eq!(second.code, 1, "{}", second.describe());
    assert!(second.stderr.contains("another daemon"), "{}", second.describe());
    // One with a run directory of its own comes up, but not the resource: its disk is locked.
    let other_dir = tempfile_dir()?;
    let mut command = cluster.node(Side::A).daemon_command()?;
    command.env("RUST_LOG", "info").arg("--run-dir").arg(other_dir.path());
    let mut command = without_first_run_dir(&command);
    let log = cluster.folder().join("other.log");
    let mut other = tandem_tests::Process::start("tandemd", &mut command, &log)?;
    std::thread::sleep(Duration::from_secs(7));
    other.terminate(LIMIT)?;
    let text = std::fs::read_to_string(&log)?;
    assert!(text.contains("not brought up"), "{text}");
    cluster.wait_in_sync()?;
    // Killed with writes in flight, it holds the lock until they have ended.
    for _ in 0..3 {
        let audit = std::sync::Arc::new(tandem_tests::Audit::new(cluster.data_bytes(0)?)?);
        let a = cluster.node(Side::A);
        let load = tandem_tests::Load::start(a, &audit, LoadSpec::default(), 2)?;
        std::thread::sleep(Duration::from_millis(100));
        cluster.node_mut(Side::A).kill()?;
        cluster.node_mut(Side::A).start()?;
        load.join()?;
        cluster.wait_in_sync()?;
        cluster.node(Side::A).adm_ok(&["primary", "r0"])?;
    }
    cluster.finish()
}

/// A secondary lists its export and refuses clients; `secondary` is refused while one is connected.
#[test]
fn only_a_primary_serves_clients() -> Result<()> {
    let cluster = Cluster::in_sync("roles", Spec::default())?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    let refused = b.client(0).map(drop).expect_err("a Secondary").to_string();
    assert!(refused.contains("0x80000002"), "POLICY, with the reason: {refused}");
    let refused = b.adm(&["primary", "r0"])?;
    assert_eq!(refused.code, 11, "a is Primary: {}", refused.describe());
    let mut client = a.client(0)?;
    let refused = a.adm(&["secondary", "r0"])?;
    assert_eq!(refused.code, 11, "it is in use: {}", refused.describe());
    client.write(0, &[1; 512])?;
    // By force the client is left without a reply, not with an error.
    a.adm_ok(&["secondary", "--force", "r0"])?;
    let end = client.write(0, &[2; 512]).expect_err("its connection is closed").kind();
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&end), "{end:?}");
    b.adm_ok(&["primary", "r0"])?;
    assert_eq!(b.client(0)?.read(0, 512)?, [1; 512]);
    cluster.finish()
}

fn tempfile_dir() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("tandem-").tempdir()?)
}

/// The command with the second of its two run directories.
fn without_first_run_dir(command: &std::process::Command) -> std::process::Command {
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let first = arguments.iter().position(|it| it == "--run-dir").expect("it is there");
    let mut changed = std::process::Command::new(command.get_program());
    changed.args(&arguments[..first]).args(&arguments[first + 2..]);
    changed
}
