//! Peers prove to each other that they know the shared secret.
//!
//! 1. With the same secret on both nodes they connect, and replicate.
//! 2. One node is given another secret. The link stays as it is until it is lost; then the nodes
//!    stay apart, each goes on serving, and both logs say what is wrong.
//! 3. With the same secret again they connect by themselves, and what was written meanwhile is
//!    copied.

use std::time::Duration;

use tandem_tests::{Cluster, Node, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(20);
const SECRET: &str = "cram-hmac-alg sha256;\n        shared-secret \"tell nobody\";";

#[test]
fn a_wrong_secret_keeps_nodes_apart() -> Result<()> {
    let wrong = SECRET.replace("tell nobody", "tell everybody");
    apart("authentication-wrong", &wrong, "does not know the shared-secret of")
}

#[test]
fn another_hash_keeps_nodes_apart() -> Result<()> {
    let other = SECRET.replace("sha256", "sha1");
    apart("authentication-hash", &other, "authentication fails: cram-hmac-alg is ")
}

#[test]
fn a_secret_on_one_node_keeps_nodes_apart() -> Result<()> {
    apart("authentication-one", "", "cram-hmac-alg and shared-secret are set on a, not on b")
}

fn apart(test: &str, other: &str, reason: &str) -> Result<()> {
    let cluster = Cluster::in_sync(test, Spec { net: SECRET.to_owned(), ..Spec::default() })?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    a.client(0)?.write(0, &[1; 65_536])?;

    change(b, SECRET, other)?;
    a.client(0)?.write(0, &[2; 65_536])?;
    cluster.assert_same_data()?;
    cluster.link().reset();
    a.wait("apart", LIMIT, |it| it.connection() == "Connecting")?;
    wait_for_log(a, reason)?;
    a.wait("told why in the status", LIMIT, |it| {
        let error = &it.json()["connections"][0]["authentication-error"];
        error.as_str().is_some_and(|error| log_text(error).contains(reason))
    })?;
    let why = a.adm_ok(&["why", "r0"])?;
    assert!(
        why.contains("authentication fails") && why.contains("shared-secret (section"),
        "{why}"
    );
    a.client(0)?.write(65_536, &[3; 65_536])?;
    assert_eq!(a.status()?.connection(), "Connecting");
    let logs = a.log()? + &b.log()?;
    assert!(!logs.contains("tell nobody") && !logs.contains("tell everybody"), "{logs}");

    change(b, other, SECRET)?;
    cluster.wait_in_sync()?;
    let status = a.status()?;
    let connection = &status.json()["connections"][0];
    assert!(connection.get("authentication-error").is_none(), "{connection}");
    cluster.assert_same_data()?;
    cluster.finish()
}

/// As the log tells an error of the status.
fn log_text(error: &str) -> String {
    format!("authentication fails: {error}")
}

/// The configuration of a node is changed, and taken over by `adjust`.
fn change(node: &Node, from: &str, to: &str) -> Result<()> {
    let text = std::fs::read_to_string(node.config())?;
    let changed = if from.is_empty() {
        text.replacen("connect-int", &format!("{to}\n        connect-int"), 1)
    } else {
        text.replacen(from, to, 1)
    };
    assert_ne!(text, changed, "the configuration was to change");
    std::fs::write(node.config(), changed)?;
    node.adm_ok(&["adjust", "r0"]).map(drop)
}

fn wait_for_log(node: &Node, text: &str) -> Result<()> {
    node.wait("told why in the log", LIMIT, |_| node.log().is_ok_and(|log| log.contains(text)))
        .map(drop)
}
