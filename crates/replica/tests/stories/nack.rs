//! A Secondary loses its disk with mirrored writes on their way to it. It acks none of them as
//! written, and its data are of the Primary's generation no more: whoever holds an acknowledged
//! write must be the source when both are back.

use tandem_replica::Command;
use tandem_replica::wire::Protocol;

use crate::pair::{Pair, data_writes, flushes};
use crate::stage::{VOLUME, assert_in_sync, short, start_write};

/// 1. a write is on its way to the Secondary's disk, which fails; 2. the Primary may answer it, as
///    its own disk has it, but not before its generation is another one than the Secondary's.
#[test]
fn a_write_that_the_peers_disk_refused_waits_for_a_generation() {
    for protocol in [Protocol::B, Protocol::C] {
        let mut pair = Pair::in_sync(1, protocol);
        pair.hold[0] = flushes;
        pair.hold[1] = data_writes;
        let cookie = start_write(&mut pair, 0, 8192, 7);
        let early = pair.reply(0, cookie);
        pair.fail_once(1);
        short(&mut pair);
        let reply = early.or_else(|| pair.reply(0, cookie));
        match protocol {
            Protocol::A | Protocol::B => assert_eq!(reply, Some(Ok(None)), "it was received"),
            Protocol::C => assert_eq!(reply, None, "the peer's data count as the same still"),
        }
        pair.release(0);
        short(&mut pair);
        pair.kill(0);
        pair.command(1, Command::Attach { volume: VOLUME }).unwrap();
        pair.restart(0);
        assert_in_sync(&pair);
        let shown = &pair.nodes[0].devices[0][8192..12288];
        assert!(shown.iter().all(|byte| *byte == 7), "{protocol:?}: a write is lost");
    }
}

/// 1. B: two writes to one block are acknowledged by the Secondary's process; 2. its disk is
///    detached between them; 3. the Primary is killed before its new generation is durable; 4. the
///    Secondary attaches again: it has lived on, and does not hold all that it acked.
#[test]
fn a_disk_attached_anew_is_no_survivor() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    pair.hold[1] = data_writes;
    pair.write(0, 8192, &[6; 4096]);
    pair.write(0, 8192, &[7; 4096]);
    pair.hold[0] = flushes;
    pair.start(1, Command::Detach { volume: VOLUME, force: false });
    short(&mut pair);
    pair.release(1);
    short(&mut pair);
    pair.kill(0);
    pair.command(1, Command::Attach { volume: VOLUME }).unwrap();
    pair.restart(0);
    assert_in_sync(&pair);
    let shown = &pair.nodes[1].devices[0][8192..12288];
    assert!(shown.iter().all(|byte| *byte == 7), "an acknowledged write is lost");
}
