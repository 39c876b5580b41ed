//! What a node is told and what it tells: configuration, admin protocol, status.
//!
//! - [`config`] reads DRBD's `.res` language and resolves it to a [`config::ResourceConfig`], the
//!   view of one node, which is what the daemon gets.
//! - [`daemon_config`] reads `tandemd.toml`, which holds what only this daemon has.
//! - [`admin`] is the language of the admin socket, with a codec for both ends and a blocking
//!   client.
//! - [`status`] is what the daemon reports, and its printers in DRBD's text and JSON forms.
//! - [`events`] prints how that changes.
//!
//! The crate depends on no other of the project: the states and numbers here are spelled as an
//! administrator reads them, and the daemon converts from the core's.

pub mod admin;
pub mod config;
pub mod daemon_config;
pub mod events;
pub mod exit;
pub mod handler;
pub mod id;
pub mod limits;
pub mod names;
pub mod secret;
pub mod status;

pub use id::{Minor, NodeId, VolumeNumber};
