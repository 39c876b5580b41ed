//! Debian's `drbdadm` on a pair of daemons that run, with `tandemadm` for its `drbdsetup` too.
//!
//! The daemons are started without a configuration, as the kernel's driver is. `up` has every
//! resource put together from its parts; from then on drbdadm asks and tells as it does the driver.

use std::io::Write;
use std::os::unix::fs::symlink;

use tandem_tests::tool::tool;
use tandem_tests::{Binaries, Cluster, Context, Metadata, Result, Side, Spec, run};

use super::{Drbdadm, LIMIT};

/// A pair with metadata, daemons without a configuration, and drbdadm for each.
fn pair(test: &str, spec: Spec) -> Result<(Cluster, [Drbdadm; 2])> {
    let (mut cluster, adms) = stopped_pair(test, spec)?;
    for side in [Side::A, Side::B] {
        cluster.node_mut(side).start()?;
    }
    Ok((cluster, adms))
}

/// The same before the daemons are started.
pub(super) fn stopped_pair(test: &str, spec: Spec) -> Result<(Cluster, [Drbdadm; 2])> {
    let volumes = spec.volumes.len();
    let cluster = Cluster::new(test, spec)?;
    let adms = [Side::A, Side::B].map(|side| {
        let mut adm = Drbdadm::new(&cluster, cluster.node(side))?;
        adm.drbdsetup = adm.drbdmeta.with_file_name("drbdsetup");
        symlink(Binaries::find()?.tandemadm, &adm.drbdsetup).about(adm.drbdsetup.display())?;
        for volume in 0..volumes {
            adm.create_md_of("", &format!("r0/{volume}"))?;
        }
        Ok::<_, tandem_tests::Failure>(adm)
    });
    let [a, b] = adms;
    for side in [Side::A, Side::B] {
        let node = cluster.node(side);
        std::fs::write(node.config(), "").about(node.config().display())?;
    }
    Ok((cluster, [a?, b?]))
}

/// Brings it up and in sync, the first node Primary.
pub(super) fn bring_up(cluster: &Cluster, [a, b]: &[Drbdadm; 2]) -> Result<()> {
    for adm in [a, b] {
        adm.expect("up r0", 0, "")?;
        adm.expect_settled()?;
    }
    a.expect("wait-connect r0", 0, "")?;
    a.expect("primary --force r0", 0, "")?;
    cluster.node(Side::A).client(0)?.write(1 << 20, &[7; 4096])?;
    a.expect("wait-sync r0", 0, "")?;
    cluster.wait_in_sync()?;
    Ok(())
}

impl Drbdadm {
    /// `adjust` finds nothing that it would do.
    fn expect_settled(&self) -> Result<()> {
        let planned = self.expect("-d adjust r0", 0, "")?;
        assert_eq!(planned, "", "adjust would do something");
        Ok(())
    }

    /// `adjust` does something of that kind, and then nothing.
    fn adjust(&self, part: &str) -> Result<()> {
        self.expect("-d adjust r0", 0, part)?;
        self.expect("adjust r0", 0, "")?;
        self.expect_settled()
    }

    /// Changes the configuration.
    pub(super) fn edit(&self, old: &str, new: &str) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        assert!(text.contains(old), "there is no '{old}' in {text}");
        std::fs::write(&self.config, text.replace(old, new)).about(self.config.display())
    }
}

fn states(a: &Drbdadm) -> Result<()> {
    a.expect("role r0", 0, "Primary\n")?;
    a.expect("cstate r0", 0, "Connected\n")?;
    a.expect("dstate r0", 0, "UpToDate/UpToDate\n")?;
    a.expect("status r0", 0, "r0 role:Primary\n  disk:UpToDate open:no\n  b role:Secondary\n")?;
    Ok(())
}

/// 1. `up` on both nodes leaves nothing for `adjust` to do; the pair comes in sync.
/// 2. It is asked for its states, disconnected, connected, compared, invalidated, paused, frozen.
/// 3. What is not there is refused with a sentence.
/// 4. A node that is disconnected is outdated, and comes back.
/// 5. `down` leaves what `up` takes up again.
#[test]
fn debians_drbdadm_drives_a_pair() -> Result<()> {
    let spec = Spec { net: "verify-alg crc32c;".to_owned(), ..Spec::default() };
    let (mut cluster, adms) = pair("drbdadm-live", spec)?;
    let [a, b] = &adms;
    a.expect("status", 0, "# No currently configured DRBD found.")?;
    a.expect("down r0", 0, "")?;
    bring_up(&cluster, &adms)?;
    states(a)?;
    generations(a)?;
    drbdmon(&cluster, a)?;
    b.expect("primary r0", 11, "")?;
    b.expect("disconnect r0", 0, "")?;
    b.expect("cstate r0", 0, "StandAlone\n")?;
    b.adjust("connect r0 0")?;
    cluster.wait_in_sync()?;
    a.expect("pause-sync r0", 0, "")?;
    a.expect("pause-sync r0", 10, "")?;
    b.expect("invalidate r0", 0, "")?;
    let paused = |it: &tandem_tests::Status| it.replication(0).starts_with("PausedSync");
    cluster.node(Side::B).wait("paused", LIMIT, paused)?;
    a.expect("resume-sync r0", 0, "")?;
    cluster.wait_in_sync()?;
    a.expect("verify r0", 0, "")?;
    cluster.wait_in_sync()?;
    a.expect("suspend-io r0", 0, "")?;
    a.expect("status r0", 0, "suspended:user")?;
    a.expect("resume-io r0", 0, "")?;
    a.expect("new-current-uuid r0/0", 11, "b is connected and has the same data")?;
    a.expect("secondary r0", 0, "")?;
    b.expect("disconnect r0", 0, "")?;
    let before = b.expect("get-gi r0", 0, "")?;
    b.expect("new-current-uuid r0/0", 0, "")?;
    assert_ne!(b.expect("get-gi r0", 0, "")?[..16], before[..16], "the generation is the same");
    b.expect("connect r0", 0, "")?;
    cluster.wait_in_sync()?;
    b.expect("disconnect r0", 0, "")?;
    b.expect("outdate r0", 0, "")?;
    b.expect("dstate r0", 0, "Outdated/DUnknown\n")?;
    b.expect("connect r0", 0, "")?;
    cluster.wait_in_sync()?;
    for adm in [a, b] {
        adm.expect("down r0", 0, "")?;
        adm.expect("status", 0, "# No currently configured DRBD found.")?;
        adm.expect("up r0", 0, "")?;
    }
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.stop()?;
    cluster.finish()
}

/// Those of a volume in use are those that are found when it is down.
fn generations(a: &Drbdadm) -> Result<()> {
    let gi = a.expect("get-gi r0", 0, ":1:1:1:0:0:0:0:")?;
    a.expect("show-gi r0", 0, &gi)?;
    let dead = Drbdadm { drbdsetup: "/bin/false".into(), ..a.clone() };
    dead.expect("get-gi r0", 20, "in use by another process")?;
    Ok(())
}

/// Debian's `drbdmon` in a pseudo-terminal shows the resource, its role and its peer, and quits.
fn drbdmon(cluster: &Cluster, a: &Drbdadm) -> Result<()> {
    let screen = cluster.folder().join("a.screen");
    let bin = a.drbdsetup.parent().expect("it is in a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let program = tool("drbdmon")?.get_program().to_owned();
    let mut command = tool("sh")?;
    command.args(["-c", DRBDMON, "sh"]).arg(&screen).arg(program);
    command.env("PATH", format!("{bin}:{path}")).env("TERM", "xterm");
    command.env("TANDEM_RUN_DIR", &a.run_dir).env("TANDEM_NODE", a.node);
    run(&mut command, LIMIT)?.ok()?;
    let shown = std::fs::read_to_string(&screen).about(screen.display())?;
    for part in ["r0", "*Primary", "Resources:"] {
        assert!(shown.contains(part), "drbdmon does not show '{part}': {shown}");
    }
    Ok(())
}

/// Waits for the picture, then says `q`.
const DRBDMON: &str = "i=0
    { until grep -qs '[*]Primary' \"$1\" || [ $i -ge 100 ]; do sleep 0.1; i=$((i+1)); done
      printf q; sleep 0.3; } | script -qfec \"$2 --ascii\" \"$1\" >/dev/null";

/// 1. Two pairs of new disks are connected: nobody has data.
/// 2. Of those of the first volume it is said that they are the same, of those of the second that
///    the first node's counts: both are in sync, and the second was copied.
#[test]
fn debians_drbdadm_skips_the_first_resync() -> Result<()> {
    let spec = Spec { volumes: vec![32 << 20, 32 << 20], ..Spec::default() };
    let (mut cluster, adms) = pair("drbdadm-new", spec)?;
    let [a, b] = &adms;
    let marked = cluster.node(Side::A).disk(1);
    std::fs::File::options().write(true).open(marked).about(marked.display())?.write_all(b"new")?;
    for adm in [a, b] {
        adm.expect("up r0", 0, "")?;
    }
    a.expect("wait-connect r0", 0, "")?;
    a.expect("new-current-uuid r0/0", 17, "UpToDate data is needed")?;
    a.expect("new-current-uuid --clear-bitmap r0/0", 0, "")?;
    a.expect("wait-connect r0", 0, "")?; // what the first one says is told in a handshake
    a.expect("new-current-uuid --force-resync r0/1", 0, "")?;
    cluster.wait_in_sync()?;
    let status = cluster.node(Side::B).status()?;
    assert_eq!(status.received_kib(0), 0, "the first volume was copied");
    assert!(status.received_kib(1) > 0, "the second volume was not copied");
    b.expect("new-current-uuid --clear-bitmap r0/0", 11, "is UpToDate and has a history")?;
    b.expect("primary r0", 0, "")?;
    cluster.assert_same_data()?;
    cluster.stop()?;
    cluster.finish()
}

/// 1. Options and a disk of a running pair are changed in the configuration; `adjust` changes them.
/// 2. What a running resource cannot take over is refused, and nothing has changed.
/// 3. A volume is detached, and attached again.
/// 4. The files are enlarged, and the volumes grow.
///
/// With two volumes that have external metadata and an activity log of another size: what the core
/// must be made with comes with the second `attach`.
#[test]
fn debians_drbdadm_adjusts_a_pair() -> Result<()> {
    let spec = Spec {
        volumes: vec![32 << 20, 32 << 20],
        metadata: Metadata::External,
        disk: "al-extents 257; c-max-rate 100M;".to_owned(),
        ..Spec::default()
    };
    let (mut cluster, adms) = pair("drbdadm-adjust", spec)?;
    let [a, b] = &adms;
    bring_up(&cluster, &adms)?;
    for adm in [a, b] {
        adm.edit("connect-int 1;", "connect-int 2; max-epoch-size 64;")?;
        adm.adjust("net-options r0")?;
        adm.edit("c-max-rate 100M;", "on-io-error pass_on;")?;
        adm.adjust("disk-options 1")?;
    }
    a.edit("net {", "options { on-no-data-accessible suspend-io; }\n    net {")?;
    a.expect("adjust r0", 1, "an option of the resource changed")?;
    a.edit("options { on-no-data-accessible suspend-io; }", "")?;
    a.expect_settled()?;
    b.expect("detach r0/1", 0, "")?;
    let detached = |it: &tandem_tests::Status| it.peer_disk(1) == "UpToDate";
    cluster.node(Side::B).wait("detached", LIMIT, detached)?;
    b.expect("dstate r0/1", 0, "Diskless/UpToDate\n")?;
    b.adjust("attach 1")?;
    cluster.wait_in_sync()?;
    for side in [Side::A, Side::B] {
        for volume in [0, 1] {
            let disk = cluster.node(side).disk(volume);
            let file = std::fs::File::options().write(true).open(disk).about(disk.display())?;
            file.set_len(48 << 20)?;
        }
    }
    a.expect("resize r0", 0, "")?;
    let grown = |it: &tandem_tests::Status| [0, 1].iter().all(|v| it.size_bytes(*v) == 48 << 20);
    cluster.node(Side::B).wait("grown", LIMIT, grown)?;
    cluster.wait_in_sync()?;
    cluster.stop()?;
    cluster.finish()
}
