//! The inputs that are kept in the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Target;
use crate::attempt::attempt;

/// Longest input that is kept, in bytes: whoever reads a diff must bear it.
pub const KEPT_BYTES_MAX: usize = 6 << 10;

/// Inputs that are kept by themselves; those that were a bug once come on top.
pub const KEPT_MAX: usize = 12;

/// Where the inputs of a target are.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The inputs of a target, in the order of their names.
///
/// # Errors
/// One cannot be read.
pub fn load(target: &Target) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = folder(target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(|path| Ok((path.clone(), std::fs::read(path)?))).collect()
}

/// Few of `inputs` that show as much as possible of what all of them do.
pub fn distil(target: &Target, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let short = inputs.iter().filter(|input| input.len() <= KEPT_BYTES_MAX);
    let shown = short.filter_map(|input| {
        let seen: BTreeSet<u64> = attempt(target, input).ok()?.iter().collect();
        Some((input, seen))
    });
    let shown: Vec<_> = shown.collect();
    let (mut known, mut kept) = (BTreeSet::new(), Vec::new());
    for _ in 0..KEPT_MAX {
        let gain = |(_, seen): &&(_, BTreeSet<u64>)| seen.difference(&known).count();
        let Some((input, seen)) = shown.iter().max_by_key(gain) else { break };
        if seen.is_subset(&known) {
            break;
        }
        known.extend(seen);
        kept.push((*input).clone());
    }
    kept
}
