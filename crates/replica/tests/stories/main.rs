//! Stories of two nodes: whole resources, disks in memory, a link that can be cut.
//!
//! `pair` is the world, `stage` what the stories share; each other file has the stories of one
//! subject, and `hunt` looks for new ones at random.

#![allow(clippy::unwrap_used, reason = "in a test, what is not there is a failure")]

mod activity_log;
mod checksums;
mod congestion;
mod disks;
mod errors;
mod fencing;
mod generations;
mod hung;
mod hunt;
mod invalidations;
mod nack;
mod new_uuid;
mod one_copy;
mod order;
mod pair;
mod pass_on;
mod permits;
mod reach;
mod resize;
mod resync_end;
mod resync_pause;
mod roles;
mod scenarios;
mod split_brain;
mod stage;
mod survivor;
mod suspended;
mod trial;
mod verify;
mod violently;
