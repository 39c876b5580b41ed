//! The handlers of the file that Debian's `drbdadm` has, where the daemons have an empty one.
//!
//! `usermode_helper` is a script that notes what it is called with and becomes drbdadm, as what the
//! kernel's driver calls.
//!
//! 1. The link is cut: `fence-peer` of drbdadm's file outdates the peer. The write that is under
//!    way waits for that, and is answered behind it.
//! 2. The link heals: both are in sync again, and `unfence-peer` is run.
//! 3. The handler is taken out of the file, and the link is cut: drbdadm has nothing to run and
//!    ends with 0, which says nothing of the peer. I/O stays frozen until `resume-io`.
//! 4. The helper is gone: it is the same.

use std::fmt::Write;
use std::path::Path;

use tandem_tests::{Cluster, Context, Node, Result, Side, Status};

use super::live::{bring_up, stopped_pair};
use super::{Drbdadm, LIMIT};
use crate::fencing::{Handler, begin_write, end_write, is_frozen, shown, write_program};

/// Has the daemon call drbdadm, by a script that notes what for.
fn help(node: &Node, adm: &Drbdadm, helper: &Path, calls: &str) -> Result<()> {
    let mut text = "#!/bin/sh\n".to_owned();
    let _ = writeln!(text, "{{ echo \"called $*\"; env; }} >> {calls}");
    let _ = writeln!(text, "exec {} \"$@\"", shown(&adm.command()?));
    write_program(helper, &text)?;
    let file = node.daemon_config();
    let section = format!("[handlers]\nusermode_helper = \"{}\"\n", helper.display());
    std::fs::write(file, section).about(file.display())
}

/// Cuts the link; a write waits, for `reason`, until an operator lets it go on.
fn expect_frozen(cluster: &Cluster, a: &Drbdadm, reason: &str) -> Result<()> {
    let node = cluster.node(Side::A);
    cluster.link().cut();
    let write = begin_write(node, 2)?;
    let failed = |it: &Status| {
        let text = it.json()["connections"][0]["disconnect-reason"].as_str().unwrap_or_default();
        is_frozen(it) && text.contains(reason)
    };
    node.wait(reason, LIMIT, failed)?;
    assert!(!write.is_finished(), "a write was answered while I/O is frozen");
    a.expect("resume-io r0", 0, "")?;
    end_write(write)?;
    cluster.link().heal();
    cluster.wait_in_sync()?;
    Ok(())
}

#[test]
fn debians_drbdadm_is_called_for_its_handlers() -> Result<()> {
    let handler = Handler::new()?;
    let (mut cluster, adms) = stopped_pair("drbdadm-handlers", handler.spec())?;
    let [outdate_a, outdate_b] = adms.each_ref().map(|adm| {
        let mut command = adm.command()?;
        command.args(["outdate", "r0"]);
        Ok::<_, tandem_tests::Failure>(command)
    });
    handler.write_with(&[outdate_a?, outdate_b?])?;
    let calls = handler.path("calls");
    let helpers = [Side::A, Side::B]
        .map(|side| cluster.folder().join(format!("{}.helper", cluster.node(side).name())));
    for ((side, adm), helper) in [Side::A, Side::B].into_iter().zip(&adms).zip(&helpers) {
        help(cluster.node(side), adm, helper, &calls)?;
        cluster.node_mut(side).start()?;
    }
    bring_up(&cluster, &adms)?;
    let [a, _] = &adms;
    let [node_a, node_b] = [cluster.node(Side::A), cluster.node(Side::B)];

    cluster.link().cut();
    let write = begin_write(node_a, 1)?;
    node_b.wait("outdated", LIMIT, |it| it.disk(0) == "Outdated")?;
    end_write(write)?;
    node_a.wait("going on", LIMIT, |it| !is_frozen(it))?;
    let called = std::fs::read_to_string(&calls).about(&calls)?;
    let run_dir = format!("TANDEM_RUN_DIR={}", node_a.run_dir().display());
    for line in ["called fence-peer r0", "DRBD_PEER_NODE_ID=1", "DRBD_MINOR_0=0", &run_dir] {
        assert!(called.lines().any(|it| it == line), "no {line} in\n{called}");
    }
    let path = handler.path("environment");
    let environment = std::fs::read_to_string(&path).about(&path)?;
    let file = format!("DRBD_CONF={}", a.config.display());
    for part in [&file, "DRBD_PEER_ADDRESS=", "UP_TO_DATE_NODES=0x", "DRBD_CSTATE="] {
        assert!(environment.contains(part), "no {part} in\n{environment}");
    }
    cluster.link().heal();
    cluster.wait_in_sync()?;
    assert!(handler.is_there("unfenced"), "unfence-peer was not run");

    a.edit("{ fence-peer", "{ split-brain")?;
    expect_frozen(&cluster, a, "exit code 0")?;
    std::fs::remove_file(&helpers[0]).about(helpers[0].display())?;
    expect_frozen(&cluster, a, "no answer of fence-peer")?;
    cluster.assert_same_data()?;
    cluster.stop()?;
    cluster.finish()
}
