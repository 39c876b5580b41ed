//! Makes a ring with the best settings that the running kernel accepts.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::error::EngineError;

/// Makes the ring and tells whether it defers its work to the wait (Linux 6.1).
pub(super) fn setup(entries: u32) -> Result<(IoUring, bool), EngineError> {
    let (ring, defer_taskrun) = match build(entries, true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (build(entries, false), false),
        built => (built, true),
    };
    let ring = ring.map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => EngineError::Denied(error),
        _ => EngineError::Setup(error),
    })?;
    require(&ring)?;
    Ok((ring, defer_taskrun))
}

/// Twice the default completion queue: every operation may complete while the answers to as many
/// cancellations wait. TASKRUN_FLAG tells an enter that waits for nothing of work left to run.
fn build(entries: u32, defer_taskrun: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(4 * entries).setup_submit_all().dontfork();
    if defer_taskrun {
        builder.setup_single_issuer().setup_defer_taskrun();
    }
    builder.setup_coop_taskrun().setup_taskrun_flag();
    builder.build(entries)
}

/// Checks what the engine cannot do without.
fn require(ring: &IoUring) -> Result<(), EngineError> {
    let parameters = ring.params();
    let features = [
        (parameters.is_feature_ext_arg(), "a wait with a timeout (EXT_ARG)"),
        (parameters.is_feature_nodrop(), "a lossless completion queue (NODROP)"),
        (parameters.is_feature_fast_poll(), "socket polling (FAST_POLL)"),
    ];
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(EngineError::Setup)?;
    let operations = [
        (opcode::Read::CODE, "the operation READ"),
        (opcode::Write::CODE, "the operation WRITE"),
        (opcode::ReadFixed::CODE, "the operation READ_FIXED"),
        (opcode::WriteFixed::CODE, "the operation WRITE_FIXED"),
        (opcode::Fsync::CODE, "the operation FSYNC"),
        (opcode::Fallocate::CODE, "the operation FALLOCATE"),
        (opcode::Recv::CODE, "the operation RECV"),
        (opcode::SendMsg::CODE, "the operation SENDMSG"),
        (opcode::AsyncCancel::CODE, "the operation ASYNC_CANCEL"),
    ];
    let operations = operations.map(|(code, name)| (probe.is_supported(code), name));
    match features.iter().chain(&operations).find(|(is_present, _)| !is_present) {
        Some((_, name)) => Err(EngineError::Unsupported(name)),
        None => Ok(()),
    }
}
