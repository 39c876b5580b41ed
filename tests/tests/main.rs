//! The system tests: real daemons on loopback, real clients, real faults.
//!
//! Each module tells its story in numbered steps. `tandemd` and `tandemadm` must have been built
//! (`cargo build --release -p tandem-node -p tandem-adm`). Disks lie in cargo's target folder, or
//! in `TANDEM_TEST_DIR`, on a file system that has `O_DIRECT`. `TANDEM_SEED` repeats the random
//! choices of a run; `TANDEM_KILLS`, `TANDEM_POWER_LOSSES` and `TANDEM_CHAOS_MINUTES` make the
//! crash tests longer.

mod activity_log;
mod admin;
mod authentication;
mod auto_promote;
mod bad_clients;
mod basics;
mod chaos;
mod clients;
mod disk_errors;
mod drbdadm;
mod events;
mod failover;
mod fencing;
mod file_systems;
mod kernel;
mod kills;
mod large;
mod limits;
mod monitor;
mod nbd_protocol;
mod offline;
mod partition;
mod postgres;
mod power;
mod protocols;
mod resize;
mod ride_over;
mod shapes;
mod split_brain;
mod transcripts;
mod verify;
