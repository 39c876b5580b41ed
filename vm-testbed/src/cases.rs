//! All cases, by name.

use tandem_tests::Result;

use crate::testbed::Testbed;

mod boot;
mod device;
mod drbd;
mod flakey;
mod log_writes;
mod network;
mod postgres;
mod power;
mod smoke;
mod stopped;

pub(crate) use drbd::fail_over;

/// A case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Its story in numbered steps.
    pub story: &'static str,
    /// Plays it.
    pub run: fn(&Testbed) -> Result<()>,
}

/// Every case, the simplest first.
pub const ALL: &[Case] = &[
    boot::CASE,
    smoke::CASE,
    smoke::XFS_CASE,
    device::CASE,
    stopped::CASE,
    network::CASE,
    flakey::CASE,
    log_writes::CASE,
    postgres::CASE,
    power::CASE,
    drbd::CASE,
];
