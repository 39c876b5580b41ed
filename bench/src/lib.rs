//! The benchmark harness: tandem beside its peers, on the same disk, in the same run.
//!
//! All [`candidates`] are started, their disks are written once, and then rounds go through all
//! [`workload`]s, each candidate in its turn: what the machine does meanwhile hits all of them
//! alike ([`measure`]). What counts is the ratio of medians, and the CPU time of all of a
//! candidate's daemons for each request ([`usage`]). What else is measured comes in [`part`]s: what
//! goes from a beginning to an end ([`operations`]), and what comes of something that is varied
//! ([`grid`]). [`results`] are written as JSON, and shown as
//! a [`table`] or a [`page`] of charts.

pub mod binding;
pub mod busy_resync;
pub mod candidates;
pub mod copies;
pub mod fio;
pub mod grid;
pub mod log_cost;
pub mod machine;
pub mod measure;
pub mod nbd_server;
pub mod operations;
pub mod page;
pub mod part;
pub mod plan;
pub mod profile;
pub mod qemu;
pub mod results;
pub mod round_trips;
pub mod scaling;
pub mod sockets;
pub mod table;
pub mod usage;
pub mod workload;
