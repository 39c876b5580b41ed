//! Flags of the superblock and of its peer slots, with DRBD's numbers where DRBD has them.

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident = $bit:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: bool,)+
        }

        impl $name {
            /// Every flag with its bit on disk.
            pub const ALL: &[(&str, u32)] = &[$((stringify!($field), $bit)),+];

            pub(super) fn bits(self) -> u32 {
                0 $(| if self.$field { $bit } else { 0 })+
            }

            /// `None` where a bit is set that is no flag: what it says may matter.
            pub(super) fn from_bits(bits: u32) -> Option<Self> {
                let flags = Self { $($field: bits & $bit != 0,)+ };
                (flags.bits() == bits).then_some(flags)
            }
        }
    };
}

flags! {
    /// What a volume's data are worth.
    VolumeFlags {
        /// A whole image: not the target of a resync, not new.
        consistent = 0x1,
        /// A node was Primary and may have had writes in flight.
        primary_indicator = 0x2,
        /// The image was the newest when last known.
        was_up_to_date = 0x10,
        /// This node was Primary and has not stopped in good order.
        crashed_primary = 0x40,
        /// No activity log is kept: after a crash everything may differ.
        al_disabled = 0x100,
    }
}

flags! {
    /// What is known of a peer.
    PeerFlags {
        /// A session with it was up.
        connected = 0x1,
        /// Its data are known to be older.
        outdated = 0x2,
        /// It is to be fenced before this node goes on.
        fencing = 0x4,
        /// Every block may differ, whatever its bitmap says.
        full_sync = 0x8,
        /// It has had a disk for this volume.
        device_seen = 0x10,
        /// This node was target of a resync from it, which has not ended.
        resync_target = 0x20,
        /// Its bits say what changed since the first history UUID as well: a resync was cut off
        /// where the peer may have heard of it or not.
        bitmap_alias = 0x40,
        /// Everything that the peer sent in the last session has been carried out.
        drained = 0x80,
        /// This node was Primary when the last session ended.
        was_primary = 0x100,
        /// This node has been Primary since then, without the peer.
        went_on = 0x200,
        /// Its bitmap UUID was made for a resync that began between equal generations, and it may
        /// not have heard of it: it holds that one, or still the current one.
        unheard = 0x400,
    }
}
