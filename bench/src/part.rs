//! What is measured beside streams of requests, each part by itself.

use std::path::Path;

use clap::ValueEnum;
use tandem_tests::Result;

use crate::results::Results;
use crate::{busy_resync, copies, log_cost, operations, round_trips, scaling, sockets};

/// A part of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Resyncs, a fail-over, the start on large disks
    Operations,
    /// Distances between the nodes
    RoundTrips,
    /// Numbers of volumes, requests in flight and connections
    Scaling,
    /// A unix socket and TCP
    Sockets,
    /// A resync beside a full load
    BusyResync,
    /// Copies that were away, by tandem and by rsync
    Copies,
    /// The activity log, and none
    LogCost,
}

impl Part {
    /// Measures it, in so many rounds where one would say little.
    ///
    /// # Errors
    /// A program is missing, or something does not come to its end.
    pub fn measure(self, disks: &Path, rounds: usize, results: &mut Results) -> Result<()> {
        // Points of a line hold each other: a third as many say as much.
        let few = rounds.div_ceil(3);
        match self {
            Self::Operations => operations::measure(disks, rounds, results),
            Self::RoundTrips => round_trips::measure(disks, few, results),
            Self::Scaling => scaling::measure(disks, few, results),
            Self::Sockets => sockets::measure(disks, rounds, results),
            Self::BusyResync => busy_resync::measure(disks, results),
            Self::Copies => copies::measure(disks, results),
            Self::LogCost => log_cost::measure(disks, rounds, results),
        }
    }
}
