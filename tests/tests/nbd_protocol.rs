//! What libnbd and qemu see of the protocol, item by item, on a live pair.
//!
//! 1. Structured replies are agreed on: a read brings data and holes in chunks, or one chunk where
//!    the client wants that.

use std::time::Duration;

use tandem_tests::tool::{nbdsh, run_tool};
use tandem_tests::{Cluster, Node, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn structured_reads_tell_data_from_holes() -> Result<()> {
    let cluster = Cluster::in_sync("structured", Spec::default())?;
    let a = cluster.node(Side::A);
    a.client(0)?.write(1 << 20, &[7; 1 << 20])?;
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
    let mib = 1 << 20;
    let expected = format!(
        "[('hole', 0, {mib}), ('data', {mib}, {mib}), ('hole', {}, {mib})]\n\
         [('data', 0, {})]\n[('data', 0, 511)]\n",
        2 * mib,
        3 * mib
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

/// Runs a script that is connected to volume 0.
fn connected(node: &Node, script: &str) -> Result<String> {
    nbdsh(&format!("h.connect_uri('{}')\n{script}", node.uri(0)), LIMIT)
}
