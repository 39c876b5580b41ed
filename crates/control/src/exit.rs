//! Exit codes, as drbdadm and drbdsetup use them (scripts branch on these).
//!
//! A daemon that refuses a command names the code in its refusal, so that one table serves both.

/// Done.
pub const OK: u8 = 0;
/// Usage, unknown command, resource not defined, volume number required.
pub const USAGE: u8 = 1;
/// There are no metadata that could be used.
pub const NO_METADATA: u8 = 1;
/// What would lose something was not confirmed.
pub const NOT_CONFIRMED: u8 = 1;
/// A `wait-` command timed out.
pub const TIMEOUT: u8 = 5;
/// `outdate`: the data are worse than Outdated anyway.
pub const BELOW_OUTDATED: u8 = 5;
/// The configuration is invalid or was refused; the object is not known to the daemon.
pub const CONFIG: u8 = 10;
/// A change of state was refused.
pub const STATE: u8 = 11;
/// A resync was asked for, and there is no local disk.
pub const NO_DISK: u8 = 16;
/// The change needs access to UpToDate data.
pub const NEED_UP_TO_DATE: u8 = 17;
/// `outdate`: this node is Primary.
pub const IS_PRIMARY: u8 = 17;
/// The daemon is not running or does not answer; a device cannot be used.
pub const FAILURE: u8 = 20;
/// Existing data was found, and metadata was not written over it.
pub const EXISTING_DATA: u8 = 40;
