//! A resource's configuration as the core is told it.

use std::collections::BTreeMap;

use tandem_control::config::{MetaDisk, PeerConfig, ResourceConfig, ResyncOptions, VolumeConfig};
use tandem_control::names;
use tandem_replica::wire::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, HmacAlgorithm, NodeId, Policies,
    Protocol, RoleConflict, SharedSecret, VolumeNumber,
};
use tandem_replica::{self as replica, Handler};

use crate::opener::DiskPaths;

/// The configuration of the core, with what only the running system knows.
pub(crate) fn config(
    resource: &ResourceConfig,
    boot_id: [u8; 16],
    entropy: u64,
) -> replica::Config {
    let volumes = resource.volumes.iter().map(|it| volume(resource, it));
    replica::Config {
        name: resource.name.clone(),
        node_id: NodeId(resource.node_id.0),
        volumes: volumes.collect(),
        peers: resource.peers.iter().map(|it| peer(resource, it)).collect(),
        boot_id,
        entropy,
        promote_timeout: resource.options.auto_promote_timeout,
        on_no_data: match resource.options.on_no_data_accessible {
            names::OnNoDataAccessible::IoError => replica::OnNoData::IoError,
            names::OnNoDataAccessible::SuspendIo => replica::OnNoData::SuspendIo,
        },
    }
}

/// One volume of it. What is to be synced before and lies in another resource is no matter of the
/// core's.
pub(crate) fn volume(resource: &ResourceConfig, volume: &VolumeConfig) -> replica::VolumeConfig {
    let mut volumes = resource.volumes.iter();
    let first = volumes.find(|first| volume.resync_after == Some(first.minor));
    let granularity = volume.options.rs_discard_granularity_bytes;
    replica::VolumeConfig {
        number: VolumeNumber(volume.number.0),
        external_metadata: match volume.backing.as_ref().map(|backing| &backing.meta_disk) {
            None | Some(MetaDisk::Internal) => false,
            Some(MetaDisk::External { .. }) => true,
        },
        al_extents: volume.options.al_extents,
        al_updates: volume.options.al_updates,
        discard_granularity_bytes: whole_blocks(granularity),
        on_io_error: match volume.options.on_io_error {
            names::OnIoError::Detach => replica::OnIoError::Detach,
            names::OnIoError::CallLocalIoError => replica::OnIoError::CallLocalIoError,
            names::OnIoError::PassOn => replica::OnIoError::PassOn,
        },
        asks_before_resync: resource.handlers.contains_key(Handler::BeforeResyncTarget.name()),
        disk_timeout: volume.options.disk_timeout,
        resync_after: first.map(|first| VolumeNumber(first.number.0)),
    }
}

/// Rounded up to what the core counts in.
fn whole_blocks(bytes: u64) -> u32 {
    let block = u64::from(replica::limits::BLOCK_BYTES);
    u32::try_from(bytes.next_multiple_of(block)).expect("the option's range ends at 1 MiB")
}

fn resync(options: &ResyncOptions) -> replica::ResyncConfig {
    replica::ResyncConfig {
        resync_rate: options.resync_rate,
        c_plan_ahead: options.c_plan_ahead,
        c_delay_target: options.c_delay_target,
        c_fill_target_bytes: options.c_fill_target_bytes,
        c_max_rate: options.c_max_rate,
        c_min_rate: options.c_min_rate,
    }
}

/// One peer of it.
pub(crate) fn peer(resource: &ResourceConfig, peer: &PeerConfig) -> replica::PeerConfig {
    let net = &peer.net;
    let volumes = peer.volumes.iter();
    let resyncs = volumes.map(|it| (VolumeNumber(it.number.0), resync(&it.resync)));
    replica::PeerConfig {
        node_id: NodeId(peer.node_id.0),
        name: peer.name.clone(),
        protocol: match net.protocol {
            names::Protocol::A => Protocol::A,
            names::Protocol::B => Protocol::B,
            names::Protocol::C => Protocol::C,
        },
        net: replica::NetConfig {
            timeout: net.timeout,
            ko_count: net.ko_count,
            ping_int: net.ping_int,
            ping_timeout: net.ping_timeout,
            connect_int: net.connect_int,
            max_epoch_size: net.max_epoch_size,
            checksum_resync: match (net.checksum_resync, net.checksums_after_crash_only) {
                (false, _) => replica::ChecksumResync::Never,
                (true, true) => replica::ChecksumResync::AfterCrash,
                (true, false) => replica::ChecksumResync::Always,
            },
            policies: policies(resource, peer),
            fencing: match net.fencing {
                names::Fencing::DontCare => replica::Fencing::DontCare,
                names::Fencing::ResourceOnly => replica::Fencing::ResourceOnly,
                names::Fencing::ResourceAndStonith => replica::Fencing::ResourceAndStonith,
            },
            on_congestion: match net.on_congestion {
                names::OnCongestion::Block => replica::OnCongestion::Block,
                names::OnCongestion::PullAhead => replica::OnCongestion::PullAhead,
                names::OnCongestion::Disconnect => replica::OnCongestion::Disconnect,
            },
            congestion_fill_bytes: net.congestion_fill_bytes,
        },
        resync: resyncs.collect::<BTreeMap<_, _>>(),
    }
}

/// What this node and the peer prove to each other, where they are to.
pub(crate) fn shared_secret(peer: &PeerConfig) -> Option<SharedSecret> {
    let authentication = peer.net.authentication.as_ref()?;
    let algorithm = match authentication.algorithm {
        names::HmacAlgorithm::Sha1 => HmacAlgorithm::Sha1,
        names::HmacAlgorithm::Sha256 => HmacAlgorithm::Sha256,
        names::HmacAlgorithm::Sha384 => HmacAlgorithm::Sha384,
        names::HmacAlgorithm::Sha512 => HmacAlgorithm::Sha512,
    };
    Some(SharedSecret::new(algorithm, authentication.secret.reveal().as_bytes()))
}

/// What the connection does about split brains: this node and the peer by their numbers.
fn policies(resource: &ResourceConfig, peer: &PeerConfig) -> Policies {
    let net = &peer.net;
    Policies {
        after_sb_0pri: match net.after_sb_0pri {
            names::AfterSb0Pri::Disconnect => AfterSplitBrain0Pri::Disconnect,
            names::AfterSb0Pri::DiscardYoungerPrimary => AfterSplitBrain0Pri::DiscardYoungerPrimary,
            names::AfterSb0Pri::DiscardOlderPrimary => AfterSplitBrain0Pri::DiscardOlderPrimary,
            names::AfterSb0Pri::DiscardZeroChanges => AfterSplitBrain0Pri::DiscardZeroChanges,
            names::AfterSb0Pri::DiscardLeastChanges => AfterSplitBrain0Pri::DiscardLeastChanges,
            names::AfterSb0Pri::DiscardLocal => {
                AfterSplitBrain0Pri::DiscardNode(NodeId(resource.node_id.0))
            }
            names::AfterSb0Pri::DiscardRemote => {
                AfterSplitBrain0Pri::DiscardNode(NodeId(peer.node_id.0))
            }
        },
        after_sb_1pri: match net.after_sb_1pri {
            names::AfterSb1Pri::Disconnect => AfterSplitBrain1Pri::Disconnect,
            names::AfterSb1Pri::Consensus => AfterSplitBrain1Pri::Consensus,
            names::AfterSb1Pri::DiscardSecondary => AfterSplitBrain1Pri::DiscardSecondary,
            names::AfterSb1Pri::CallPriLostAfterSb => AfterSplitBrain1Pri::CallPriLostAfterSb,
            names::AfterSb1Pri::ViolentlyAs0p => AfterSplitBrain1Pri::ViolentlyAs0p,
        },
        after_sb_2pri: match net.after_sb_2pri {
            names::AfterSb2Pri::Disconnect => AfterSplitBrain2Pri::Disconnect,
            names::AfterSb2Pri::CallPriLostAfterSb => AfterSplitBrain2Pri::CallPriLostAfterSb,
            names::AfterSb2Pri::ViolentlyAs0p => AfterSplitBrain2Pri::ViolentlyAs0p,
        },
        always_asbp: net.always_asbp,
        rr_conflict: match net.rr_conflict {
            names::RrConflict::Disconnect => RoleConflict::Disconnect,
            names::RrConflict::CallPriLost => RoleConflict::CallPriLost,
            names::RrConflict::Violently => RoleConflict::Violently,
            names::RrConflict::RetryConnect => RoleConflict::RetryConnect,
            names::RrConflict::AutoDiscard => RoleConflict::AutoDiscard,
        },
    }
}

/// Where the volumes' data and metadata lie, of those that have a disk.
///
/// # Errors
/// The configuration asks for what is not supported.
pub(crate) fn disks(resource: &ResourceConfig) -> Result<Vec<DiskPaths>, String> {
    let volumes = resource.volumes.iter();
    let backings = volumes.filter_map(|volume| Some((volume.number, volume.backing.as_ref()?)));
    let disks = backings.map(|(number, backing)| {
        let meta = match &backing.meta_disk {
            MetaDisk::Internal => None,
            MetaDisk::External { path, index: None } => Some(path.clone()),
            MetaDisk::External { path, index: Some(index) } => {
                let path = path.display();
                return Err(format!(
                    "meta-disk {path}[{index}]: shared metadata disks are not \
                                    supported, give each volume one of its own"
                ));
            }
        };
        Ok(DiskPaths { volume: VolumeNumber(number.0), data: backing.disk.clone(), meta })
    });
    disks.collect()
}
