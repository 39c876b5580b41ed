//! When the reply goes out: A after the local write, B when the peer has it, C when it is written.
//!
//! 1. The network gets a delay. In A a write does not wait for it, in B and C it does; a
//!    flush waits in C, where it makes durable on both nodes.
//! 2. Once idle, both disks are the same in every protocol.
//! 3. In A the primary dies with writes under way: the survivor lacks the end of the stream and
//!    nothing else. The test fails if nothing was lost: then it has shown nothing.
//! 4. Nodes that do not agree about the protocol do not connect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_tests::{Audit, Cluster, Load, LoadSpec, Must, Result, Side, Spec, ensure};

const LIMIT: Duration = Duration::from_secs(20);
const DELAY: Duration = Duration::from_millis(150);

#[test]
fn a_does_not_wait_for_the_network_and_b_and_c_do() -> Result<()> {
    for (protocol, waits) in [('A', false), ('B', true), ('C', true)] {
        let cluster = Cluster::in_sync("protocol", Spec::with_protocol(protocol))?;
        let mut client = cluster.node(Side::A).client(0)?;
        client.write(0, &[1; 4096])?;
        cluster.link().delay(DELAY);
        let begun = Instant::now();
        client.write(4096, &[2; 4096])?;
        let took = begun.elapsed();
        assert_eq!(took >= DELAY, waits, "protocol {protocol}: {took:?}");
        let begun = Instant::now();
        client.flush()?;
        let took = begun.elapsed();
        // In B everything that was acknowledged is at the peer already.
        assert_eq!(took >= DELAY, protocol == 'C', "flush in protocol {protocol}: {took:?}");
        cluster.link().delay(Duration::ZERO);
        drop(client);
        same_after_load(&cluster)?;
        cluster.finish()?;
    }
    Ok(())
}

fn same_after_load(cluster: &Cluster) -> Result<()> {
    let a = cluster.node(Side::A);
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    let load = Load::start(a, &audit, LoadSpec::default(), 3)?;
    std::thread::sleep(Duration::from_millis(300));
    load.stop()?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()
}

#[test]
fn in_a_what_is_lost_is_the_end_of_the_stream() -> Result<()> {
    let mut cluster = Cluster::in_sync("suffix", Spec::with_protocol('A'))?;
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    cluster.link().delay(DELAY);
    // One stream with one write at a time: its order is known to the last write.
    let spec = LoadSpec { connections: 1, depth: 4, ..LoadSpec::default() };
    let load = Load::start(cluster.node(Side::A), &audit, spec, 4)?;
    std::thread::sleep(Duration::from_millis(600));
    cluster.link().cut();
    cluster.node_mut(Side::A).kill()?;
    load.join()?;
    cluster.link().delay(Duration::ZERO);
    let b = cluster.node(Side::B);
    b.adm_ok(&["primary", "r0"])?;
    let verdict = audit.judge(&b.client(0)?.read_all()?, Must::Prefix)?;
    eprintln!("suffix: {verdict:?}");
    ensure(verdict.lost_sectors > 0, || "nothing was lost: the test has shown nothing".to_owned())?;
    cluster.finish()
}

#[test]
fn nodes_with_different_protocols_do_not_connect() -> Result<()> {
    let mut cluster = Cluster::new("mismatch", Spec::default())?;
    let config = cluster.node(Side::B).config().to_owned();
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replace("protocol C;", "protocol A;"))?;
    for side in [Side::A, Side::B] {
        cluster.node(side).adm_ok(&["create-md", "r0"])?;
        cluster.node_mut(side).start()?;
    }
    for side in [Side::A, Side::B] {
        let state = |it: &tandem_tests::Status| it.connection() == "StandAlone";
        cluster.node(side).wait("apart", LIMIT, state)?;
    }
    cluster.finish()
}
