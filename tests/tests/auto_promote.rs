//! `auto-promote yes`: the role follows the clients.
//!
//! 1. Both nodes are Secondary. A client that chooses an export promotes the node; others join it.
//!    When the last one is gone the node is Secondary again, and the peer can have clients.
//! 2. Who cannot be served is told why, by name, and may go on asking: the peer is Primary, or the
//!    data here may be old, or the export is read-only and nobody has promoted it.
//! 3. Who only asks (INFO, LIST) learns the size and changes nothing.
//! 4. What an operator chose stays; what was taken for clients can be taken over by `primary`.
//! 5. A resource that is being taken down is not promoted, however often a client comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tandem_tests::nbd::{
    NbdClient, OPTION_GO, OPTION_INFO, REPLY_ACK, REPLY_INFO, REPLY_POLICY, Stream, greet,
    receive_option, send_option,
};
use tandem_tests::tool::run_tool;
use tandem_tests::{Cluster, Node, Result, Side, Spec, Status, ensure};

const LIMIT: Duration = Duration::from_secs(20);

/// A pair in sync of which no node is Primary.
fn two_secondaries(test: &str) -> Result<Cluster> {
    let spec = Spec { options: "auto-promote yes;".to_owned(), ..Spec::default() };
    let cluster = Cluster::in_sync(test, spec)?;
    cluster.node(Side::A).adm_ok(&["secondary", "r0"])?;
    Ok(cluster)
}

fn wait_for_role(node: &Node, role: &str) -> Result<Status> {
    node.wait(role, LIMIT, |it| it.role() == role)
}

/// Why a client is refused.
fn refusal(client: io::Result<NbdClient>) -> Result<String> {
    match client {
        Ok(_) => tandem_tests::fail("the client is served"),
        Err(error) => Ok(error.to_string()),
    }
}

fn open(node: &Node) -> io::Result<NbdClient> {
    NbdClient::open(&node.nbd(), "r0/0")
}

#[test]
fn the_first_client_promotes_and_the_last_one_demotes() -> Result<()> {
    let cluster = two_secondaries("auto-promote")?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    let mut first = b.client(0)?;
    assert_eq!((b.status()?.role(), a.status()?.role()), ("Primary", "Secondary"));
    first.write(0, &[7; 4096])?;
    let mut second = b.client(0)?;
    first.disconnect()?;
    second.write(4096, &[8; 4096])?;
    assert_eq!(b.status()?.role(), "Primary");
    // Not in use is not enough: it is in use.
    let refused = b.adm(&["secondary", "r0"])?;
    assert_eq!(refused.code, 11, "{}", refused.describe());
    drop(second);
    wait_for_role(b, "Secondary")?;
    // Many at once are one promotion.
    let clients: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| open(a))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for client in clients {
        assert_eq!(client?.read(0, 8192)?, [[7; 4096], [8; 4096]].concat());
    }
    wait_for_role(a, "Secondary")?;
    cluster.assert_same_data()?;
    // Other people's clients come and go the same way.
    run_tool("qemu-io", &["-f", "raw", "-c", "write -P 9 0 4096", &b.uri(0)], LIMIT)?.ok()?;
    wait_for_role(b, "Secondary")?;
    run_tool("qemu-io", &["-f", "raw", "-c", "read -P 9 0 4096", &a.uri(0)], LIMIT)?.ok()?;
    wait_for_role(a, "Secondary")?;
    cluster.finish()
}

#[test]
fn who_cannot_be_served_is_told_why() -> Result<()> {
    let mut cluster = two_secondaries("auto-refused")?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    let client = a.client(0)?;
    let mut stream = Stream::connect(&b.nbd())?;
    greet(&mut stream)?;
    for _ in 0..2 {
        send_option(&mut stream, OPTION_GO, b"\0\0\0\x04r0/0\0\0")?;
        let (kind, text) = receive_option(&mut stream)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(kind, REPLY_POLICY, "{text}");
        let why = "r0: not promoted for this client: peer a is Primary; make it Secondary first";
        assert_eq!(text, why);
    }
    drop(client);
    wait_for_role(a, "Secondary")?;
    // The same connection is served as soon as it can be.
    send_option(&mut stream, OPTION_GO, b"\0\0\0\x04r0/0\0\0")?;
    while receive_option(&mut stream)?.0 != REPLY_ACK {}
    assert_eq!(b.status()?.role(), "Primary");
    drop(stream);
    wait_for_role(b, "Secondary")?;
    let text = run_tool("nbdinfo", &["--size", &a.uri(0)], LIMIT)?.ok()?;
    assert_eq!(text.trim(), cluster.data_bytes(0)?.to_string());
    wait_for_role(a, "Secondary")?;
    // A node that comes back alone may have old data.
    cluster.node_mut(Side::A).stop()?;
    cluster.node_mut(Side::B).stop()?;
    cluster.node_mut(Side::B).start()?;
    let b = cluster.node(Side::B);
    let output = run_tool("qemu-img", &["info", "-f", "raw", &b.uri(0)], LIMIT)?;
    assert_ne!(output.code, 0);
    let why = "this node restarted and has not met its peer since";
    ensure(output.stderr.contains(why), || output.describe())?;
    assert_eq!(b.status()?.role(), "Secondary");
    cluster.finish()
}

#[test]
fn who_only_asks_or_only_reads_promotes_nothing() -> Result<()> {
    let mut cluster = two_secondaries("auto-info")?;
    let bytes = cluster.data_bytes(0)?;
    let b = cluster.node(Side::B);
    let mut stream = Stream::connect(&b.nbd())?;
    greet(&mut stream)?;
    send_option(&mut stream, OPTION_INFO, b"\0\0\0\x04r0/0\0\0")?;
    let (kind, info) = receive_option(&mut stream)?;
    assert_eq!(
        (kind, &info[..10]),
        (REPLY_INFO, &[&[0, 0][..], &bytes.to_be_bytes()].concat()[..])
    );
    drop(stream);
    let uri = format!("nbd+unix:///?socket={}", b.run_dir().join("nbd.sock").display());
    let list = run_tool("nbdinfo", &["--list", &uri], LIMIT)?.ok()?;
    ensure(list.contains(&format!("export-size: {bytes}")), || list.clone())?;
    assert_eq!(b.status()?.role(), "Secondary");
    cluster.node_mut(Side::B).stop()?;
    let b = cluster.node(Side::B);
    std::fs::write(b.daemon_config(), "[nbd.exports.\"r0/0\"]\nread_only = true\n")?;
    cluster.node_mut(Side::B).start()?;
    cluster.wait_in_sync()?;
    let b = cluster.node(Side::B);
    let text = refusal(open(b))?;
    ensure(text.contains("this node is Secondary; promote it with `primary` first"), || text)?;
    assert_eq!(b.status()?.role(), "Secondary");
    b.adm_ok(&["primary", "r0"])?;
    assert_eq!(b.client(0)?.read(0, 512)?, [0; 512]);
    cluster.finish()
}

#[test]
fn what_an_operator_chose_stays() -> Result<()> {
    let cluster = two_secondaries("auto-operator")?;
    let a = cluster.node(Side::A);
    let stays = |role: &str| -> Result<()> {
        // Long enough for a demotion that were under way.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(a.status()?.role(), role);
        Ok(())
    };
    a.adm_ok(&["primary", "r0"])?;
    a.client(0)?.disconnect()?;
    stays("Primary")?;
    a.adm_ok(&["secondary", "r0"])?;
    let client = a.client(0)?;
    a.adm_ok(&["primary", "r0"])?;
    client.disconnect()?;
    stays("Primary")?;
    a.adm_ok(&["secondary", "r0"])?;
    let mut client = a.client(0)?;
    a.adm_ok(&["secondary", "--force", "r0"])?;
    assert!(client.read(0, 512).is_err());
    assert_eq!(a.status()?.role(), "Secondary");
    // Switched off while it runs.
    let text = std::fs::read_to_string(a.config())?;
    std::fs::write(a.config(), text.replace("auto-promote yes", "auto-promote no"))?;
    a.adm_ok(&["adjust", "r0"])?;
    let text = refusal(open(a))?;
    ensure(text.contains("this node is Secondary; promote it with `primary` first"), || text)?;
    cluster.finish()
}

/// A client that comes back at once must not bring up again what is going down: alone, the node
/// would take writes that its peer does not have.
#[test]
fn what_is_taken_down_is_not_promoted() -> Result<()> {
    let mut cluster = two_secondaries("auto-down")?;
    let a = cluster.node(Side::A);
    let is_over = Arc::new(AtomicBool::new(false));
    let (address, over) = (a.nbd(), Arc::clone(&is_over));
    let stubborn = std::thread::spawn(move || {
        let mut served = 0;
        while !over.load(Ordering::SeqCst) {
            let Ok(mut client) = NbdClient::open(&address, "r0/0") else { continue };
            served += 1;
            while !over.load(Ordering::SeqCst) && client.write(0, &[served; 512]).is_ok() {}
        }
        served
    });
    wait_for_role(a, "Primary")?;
    let refused = a.adm(&["down", "r0"])?;
    assert_eq!(refused.code, 11, "{}", refused.describe());
    cluster.node_mut(Side::A).stop()?;
    is_over.store(true, Ordering::SeqCst);
    let served = stubborn.join().expect("no panic");
    assert_eq!(served, 1, "it came in again while the resource went down");
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    assert_eq!((a.status()?.role(), b.status()?.role()), ("Secondary", "Secondary"));
    cluster.assert_same_data()?;
    cluster.finish()
}
