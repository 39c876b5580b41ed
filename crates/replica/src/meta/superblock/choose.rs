//! Which of the two copies holds.

use super::{CopyIndex, Superblock};
use crate::meta::MetaError;

/// The superblock to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What holds.
    pub superblock: Superblock,
    /// The copy that does not say the same and why, if it is damaged; the next update repairs it.
    pub repair: Option<(CopyIndex, Option<MetaError>)>,
}

/// Takes the newer of two copies, or the only one that is valid.
///
/// # Errors
/// Where neither is valid; where one says that it must not be used or touched without knowing more
/// (version, features, bad value), for it may be the newer; where both are valid and cannot be of
/// one history.
pub fn choose(
    copy_a: Result<Superblock, MetaError>,
    copy_b: Result<Superblock, MetaError>,
) -> Result<Chosen, MetaError> {
    match (copy_a, copy_b) {
        (Ok(a), Ok(b)) => newer(a, b),
        (Ok(a), Err(error)) => only(a, CopyIndex::B, error),
        (Err(error), Ok(b)) => only(b, CopyIndex::A, error),
        (Err(a), Err(b)) => Err(if says(&b) > says(&a) { b } else { a }),
    }
}

fn newer(a: Superblock, b: Superblock) -> Result<Chosen, MetaError> {
    // The older copy may be from before anybody had them.
    let older = if a.sequence < b.sequence { &a } else { &b };
    let same_owner = a.identity == b.identity || older.identity.is_none();
    let same_history = a.device_uuid == b.device_uuid && same_owner;
    if !same_history || (a.sequence == b.sequence && a != b) {
        return Err(MetaError::CopiesDisagree);
    }
    let (superblock, repair) = match a.sequence.cmp(&b.sequence) {
        std::cmp::Ordering::Greater => (a, Some((CopyIndex::B, None))),
        std::cmp::Ordering::Equal => (a, None),
        std::cmp::Ordering::Less => (b, Some((CopyIndex::A, None))),
    };
    Ok(Chosen { superblock, repair })
}

fn only(valid: Superblock, other: CopyIndex, error: MetaError) -> Result<Chosen, MetaError> {
    if says(&error) == Says::NotToUse {
        return Err(error);
    }
    Ok(Chosen { superblock: valid, repair: Some((other, Some(error))) })
}

/// How much a copy that is not valid says; more outweighs less.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Nothing,
    CannotTell,
    WasMetadata,
    NotToUse,
}

fn says(error: &MetaError) -> Says {
    match error {
        MetaError::NotFound => Says::Nothing,
        MetaError::Unreadable => Says::CannotTell,
        MetaError::Damaged => Says::WasMetadata,
        MetaError::Version(_)
        | MetaError::Features(_)
        | MetaError::BadValue { .. }
        | MetaError::WrongCopy
        | MetaError::CopiesDisagree
        | MetaError::OtherIdentity { .. }
        | MetaError::NotClaimed
        | MetaError::NoFreeSlot { .. } => Says::NotToUse,
    }
}
