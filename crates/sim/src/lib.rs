//! The simulator: two real cores in a world made of a seed, and a model that knows what must be
//! true.
//!
//! [`world`] runs a seed; [`disk`], [`link`], [`clock`] are the world's parts, [`client`],
//! [`operator`] and [`fault`] what happens in it, [`model`] and [`checks`] what must hold,
//! [`marks`] what has been met; in a small world a [`drill`] takes the place of chance. One seed is
//! one run, to the bit: chance comes from [`prng`] only, time from [`clock`] only.

pub mod ailment;
pub mod cell;
pub mod checks;
pub mod client;
pub mod clock;
pub mod covered;
pub mod device;
pub mod dialing;
pub mod digests;
pub mod disk;
pub mod drill;
pub mod drive;
pub mod event;
pub mod eviction;
pub mod failure;
pub mod fault;
pub mod format;
pub mod grow;
pub mod images;
pub mod jobs;
pub mod link;
pub mod marks;
pub mod model;
pub mod node;
pub mod operator;
pub mod prng;
pub mod profile;
pub mod reduce;
pub mod requests;
pub mod script;
pub mod sectors;
pub mod sightings;
pub mod stamp;
pub mod steps;
pub mod stop;
pub mod trace;
pub mod verify;
pub mod view;
pub mod watch;
pub mod world;
