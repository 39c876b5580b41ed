//! What is fuzzed.

mod admin;
mod arguments;
mod config;
mod daemon_config;
mod link;
mod metadata;
mod nbd_handshake;
mod nbd_transmission;
mod pair;

use crate::{Random, Sightings};

/// Something that takes bytes from others.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its corpus.
    pub name: &'static str,
    /// Takes an input; an error is a promise that was not kept. Notes what it came by.
    pub run: fn(&[u8], &mut Sightings) -> Result<(), String>,
    /// Makes an input that gets somewhere.
    pub generate: fn(&mut Random) -> Vec<u8>,
    /// What inputs are made of.
    pub words: &'static [&'static [u8]],
    /// Longest input, in bytes.
    pub len_max: usize,
    /// Bytes that a run may have allocated at once, whatever its input.
    pub base_bytes: usize,
    /// And for each byte of it.
    pub per_byte: usize,
}

impl Target {
    /// Bytes that a run of an input of `len` bytes may have allocated at once.
    pub fn allowed_bytes(&self, len: usize) -> usize {
        self.base_bytes + self.per_byte * len
    }
}

/// All of them.
pub const ALL: &[Target] = &[
    link::TARGET,
    pair::TARGET,
    metadata::TARGET,
    nbd_handshake::TARGET,
    nbd_transmission::TARGET,
    config::TARGET,
    daemon_config::TARGET,
    admin::TARGET,
    arguments::TARGET,
];

/// The one of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
