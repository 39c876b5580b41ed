//! Block devices of the kernel's NBD client, as far as they need no such client: this machine may
//! have none. The real thing is the VM testbed's case `smoke`.
//!
//! 1. A node that is to make a device of its volume is promoted whether it can or not.
//! 2. By hand it can, or says in a sentence what is missing and what works without.
//! 3. Nothing has to be ended before `secondary`.

use std::path::Path;

use tandem_tests::{Cluster, Result, Side, Spec, ensure};

#[test]
fn a_promotion_does_not_depend_on_a_device() -> Result<()> {
    let mut cluster = Cluster::new("kernel", Spec::with_bytes(16 << 20))?;
    // A number that nobody uses, also where there is a client.
    let config = std::fs::read_to_string(cluster.node(Side::A).config())?;
    let config = config.replace("device minor 0;", "device minor 4711;");
    std::fs::write(cluster.node(Side::A).config(), config)?;
    std::fs::write(cluster.node(Side::A).daemon_config(), "[nbd]\nkernel-attach = true\n")?;
    cluster.bring_up_alone()?;
    let a = cluster.node(Side::A);
    a.client(0)?.write(0, &[1; 4096])?;
    let attached = a.adm(&["kernel-attach", "r0"])?;
    if Path::new("/dev/nbd4711").exists() {
        attached.ok()?;
    } else {
        let said = attached.describe();
        assert_eq!(attached.code, 11, "{said}");
        for part in ["r0/0: ", "NBD client", "modprobe nbd", "nbdfuse FILE", "losetup"] {
            ensure(said.contains(part), || format!("no '{part}': {said}"))?;
        }
        ensure(a.log()?.contains("NBD client"), || "the log tells of the promotion".to_owned())?;
    }
    a.adm_ok(&["kernel-detach", "r0"])?;
    a.adm_ok(&["secondary", "r0"])?;
    cluster.finish()
}
