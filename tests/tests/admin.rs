//! What scripts rely on: exit codes as drbdadm's, and that data are not written over by mistake.
//!
//! 1. Without a daemon, commands that need one end with 20, and say how to start it.
//! 2. `create-md` refuses metadata and file systems that are there, with 40, unless forced.
//! 3. Unknown resources, broken configurations and wrong usage have codes of their own.
//! 4. `down` and `up`, `detach` and `attach`, `disconnect` and `connect` lead back to where they
//!    began.
//! 5. `wait-connect` and `wait-sync` end with 5 when their time is over.

use std::time::Duration;

use tandem_tests::tool::run_tool;
use tandem_tests::{Cluster, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn exit_codes_are_drbdadms() -> Result<()> {
    let mut cluster = Cluster::new("codes", Spec::default())?;
    let a = cluster.node(Side::A);
    for (arguments, code, part) in [
        (&["status"][..], 20, "start tandemd"),
        (&["primary", "r0"], 20, "start tandemd"),
        (&["up", "r0"], 20, "start tandemd"),
        (&["nonsense"], 1, ""),
        (&["primary"], 1, ""),
        (&["up", "nosuch"], 1, "not defined in your config"),
    ] {
        let output = a.adm(arguments)?;
        assert_eq!(output.code, code, "{}", output.describe());
        assert!(output.stderr.contains(part), "{}", output.describe());
    }
    let dumped = a.adm_ok(&["dump", "r0"])?;
    assert!(dumped.contains("resource r0 {"), "{dumped}");
    cluster.node(Side::A).adm_ok(&["create-md", "r0"])?;
    cluster.node_mut(Side::A).start()?;
    let a = cluster.node(Side::A);
    for (arguments, code) in [
        (&["status", "nosuch"][..], 10),
        (&["primary", "r0"], 17),
        (&["wait-connect", "--wfc-timeout", "1", "r0"], 5),
    ] {
        let output = a.adm(arguments)?;
        assert_eq!(output.code, code, "{}", output.describe());
    }
    // A disk that is in use is not written to.
    let refused = a.adm(&["create-md", "--force", "r0"])?;
    assert_eq!(refused.code, 20, "{}", refused.describe());
    cluster.finish()
}

#[test]
fn a_broken_configuration_is_named_by_line() -> Result<()> {
    let cluster = Cluster::new("broken", Spec::default())?;
    let config = cluster.node(Side::A).config().to_owned();
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replacen("timeout 9;", "timeoutt 9;", 1))?;
    for command in ["dump", "up", "create-md"] {
        let output = cluster.node(Side::A).adm(&[command, "r0"])?;
        assert!(matches!(output.code, 2 | 10), "{}", output.describe());
        let place = format!("{}:4", config.display());
        assert!(output.stderr.contains(&place), "{}", output.describe());
    }
    cluster.finish()
}

#[test]
fn create_md_does_not_write_over_data() -> Result<()> {
    let cluster = Cluster::new("create-md", Spec::default())?;
    let a = cluster.node(Side::A);
    let disk = a.disk(0).display().to_string();
    run_tool("mkfs.ext4", &["-q", "-F", &disk], LIMIT)?.ok()?;
    let before = tandem_tests::image::digest(a.disk(0), 64 << 20)?;
    let refused = a.adm(&["create-md", "r0"])?;
    assert_eq!(refused.code, 40, "{}", refused.describe());
    assert!(refused.stderr.contains("ext4"), "{}", refused.describe());
    assert_eq!(tandem_tests::image::digest(a.disk(0), 64 << 20)?, before);
    a.adm_ok(&["create-md", "--force", "r0"])?;
    let refused = a.adm(&["create-md", "r0"])?;
    assert_eq!(refused.code, 40, "{}", refused.describe());
    assert!(refused.stderr.contains("tandem metadata"), "{}", refused.describe());
    cluster.finish()
}

#[test]
fn down_and_up_detach_and_attach_lead_back() -> Result<()> {
    let cluster = Cluster::in_sync("up-down", Spec::default())?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    a.client(0)?.write(0, &[1; 4096])?;
    b.adm_ok(&["down", "r0"])?;
    b.adm_ok(&["down", "r0"])?;
    assert_eq!(b.adm_ok(&["status"])?, "# No currently configured DRBD found.\n");
    a.client(0)?.write(8192, &[2; 4096])?;
    b.adm_ok(&["up", "r0"])?;
    b.adm_ok(&["wait-connect", "--wfc-timeout", "10", "r0"])?;
    b.adm_ok(&["wait-sync", "--wfc-timeout", "10", "r0"])?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    b.adm_ok(&["detach", "r0"])?;
    assert_eq!(b.status()?.disk(0), "Diskless");
    a.wait("without the peer's disk", LIMIT, |it| it.peer_disk(0) == "Diskless")?;
    a.client(0)?.write(16384, &[3; 4096])?;
    b.adm_ok(&["attach", "r0"])?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    b.adm_ok(&["disconnect", "r0"])?;
    assert_eq!(b.status()?.connection(), "StandAlone");
    a.client(0)?.write(32768, &[4; 4096])?;
    b.adm_ok(&["connect", "r0"])?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn invalidate_copies_everything() -> Result<()> {
    let cluster = Cluster::in_sync("invalidate", Spec::with_bytes(32 << 20))?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    a.client(0)?.write(0, &[1; 1 << 20])?;
    for (node, command) in [(b, "invalidate"), (a, "invalidate-remote")] {
        let before = cluster.link().bytes_both();
        node.adm_ok(&[command, "r0"])?;
        b.adm_ok(&["wait-sync", "--wfc-timeout", "30", "r0"])?;
        cluster.wait_in_sync()?;
        let crossed = cluster.link().bytes_both() - before;
        assert!(crossed > 30 << 20, "{command} copied {crossed} bytes");
        cluster.assert_same_data()?;
    }
    cluster.finish()
}
