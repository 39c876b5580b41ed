//! What a node says of itself and its volumes at the begin of a session, and what it has heard.

use tandem_wire::{
    Packet, ProtocolSettings, ReplicationState, Role, Sizes, State, UuidFlags, Uuids, VolumeNumber,
};

use crate::connection::Phase;
use crate::decision::Side;
use crate::error::PeerError;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

/// What the peer has said of itself so far.
#[derive(Clone, Debug)]
pub(crate) struct PeerReport {
    pub(super) settings: Option<ProtocolSettings>,
    pub(super) volumes: Vec<VolumeReport>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VolumeReport {
    pub(super) sizes: Option<Sizes>,
    pub(super) uuids: Option<Uuids>,
    pub(super) state: Option<State>,
}

impl PeerReport {
    pub(crate) fn new(volumes: usize) -> Self {
        Self { settings: None, volumes: vec![VolumeReport::default(); volumes] }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.settings.is_some() && self.volumes.iter().all(|volume| volume.state.is_some())
    }
}

impl Resource {
    pub(super) fn send_report(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        connection.inbound = crate::peer_request::Inbound::default();
        let discard_my_data = connection.discard_my_data;
        let policies = connection.config.net.policies;
        let in_use = self.is_in_use();
        let sent: Vec<Side> = self.volume_indexes().map(|v| self.side(peer, v)).collect();
        let connection = &mut self.connections[peer];
        let session = connection.session_mut().expect("a handshake belongs to a session");
        let Phase::Settling(report) = &session.phase else {
            unreachable!("reported once");
        };
        let report = report.clone();
        session.phase = Phase::Reporting { report, sent: sent.clone() };
        let settings = ProtocolSettings {
            protocol: session.protocol,
            discard_my_data,
            in_use,
            policies,
            volumes: u16::try_from(self.volumes.len()).expect("volume numbers are u16"),
        };
        self.send(peer, Packet::Protocol(settings));
        for volume in self.volume_indexes() {
            let number = self.volumes[volume].number;
            let sizes = self.sizes(volume);
            let Side { role, disk, uuids, .. } = sent[usize::from(volume.0)];
            let pauses_resync = self.connections[peer].devices[volume].suspended.is_own();
            let replication = ReplicationState::Off;
            let state = State { role, disk, replication, pauses_resync };
            self.send(peer, Packet::Sizes(number, sizes));
            self.send(peer, Packet::Uuids(number, uuids));
            self.send(peer, Packet::State(number, state));
        }
        self.advance_handshake(peer);
    }

    /// This node's part of the decision about a volume.
    pub(super) fn side(&self, peer: PeerIndex, volume: VolumeIndex) -> Side {
        let connection = &self.connections[peer];
        let uuids = match self.volumes[volume].attached() {
            Some(attached) => {
                let superblock = attached.store.superblock();
                let slot = attached.store.peer(peer);
                let protocol = slot.last_protocol;
                Uuids {
                    current: superblock.current_uuid,
                    bitmap: slot.bitmap_uuid,
                    history: attached.store.recent_history(),
                    dirty_blocks: attached.bitmaps[peer].count(),
                    last_session: slot.last_session,
                    exposed: self.exposed_elsewhere(volume),
                    flags: UuidFlags {
                        crashed_primary: superblock.flags.crashed_primary,
                        lost_power: slot.boot_id.0 != self.config.boot_id,
                        reconnect: self.served(peer, volume) || slot.flags.drained,
                        bitmap_alias: slot.flags.bitmap_alias,
                        was_primary: slot.flags.was_primary,
                        went_on: slot.flags.went_on,
                        last_session_async: protocol == Some(tandem_wire::Protocol::A),
                        last_session_memory: protocol == Some(tandem_wire::Protocol::B),
                    },
                }
            }
            None => self.exposed_uuids(volume),
        };
        Side {
            node_id: self.config.node_id,
            role: self.role,
            disk: self.volumes[volume].disk_state(),
            uuids,
            discard_my_data: connection.discard_my_data,
            in_use: self.is_in_use(),
            policies: connection.config.net.policies,
        }
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.role == Role::Primary && !(self.clients.is_empty() && self.gated.is_empty())
    }

    /// The peer's settings.
    pub(crate) fn peer_settings(
        &mut self,
        peer: PeerIndex,
        settings: ProtocolSettings,
    ) -> Result<(), PeerError> {
        self.report_mut(peer, "Protocol")?.settings = Some(settings);
        self.advance_handshake(peer);
        Ok(())
    }

    /// A piece of the peer's report on a volume; they come in order.
    pub(crate) fn peer_reports(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        piece: Piece,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let report = &mut self.report_mut(peer, piece.name())?.volumes[usize::from(volume.0)];
        match piece {
            Piece::Sizes(sizes) => report.sizes = Some(sizes),
            Piece::Uuids(uuids) if report.sizes.is_some() => report.uuids = Some(uuids),
            Piece::State(state) if report.uuids.is_some() => report.state = Some(state),
            Piece::Uuids(_) | Piece::State(_) => {
                return Err(PeerError::Unexpected {
                    packet: piece.name(),
                    phase: "reporting in order",
                });
            }
        }
        self.advance_handshake(peer);
        Ok(())
    }

    fn report_mut(
        &mut self,
        peer: PeerIndex,
        packet: &'static str,
    ) -> Result<&mut PeerReport, PeerError> {
        match self.connections[peer].session_mut().map(|session| &mut session.phase) {
            Some(Phase::Settling(report) | Phase::Reporting { report, .. }) => Ok(report),
            _ => Err(PeerError::Unexpected { packet, phase: "past the report" }),
        }
    }
}

/// One piece of a report on a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Sizes(Sizes),
    Uuids(Uuids),
    State(State),
}

impl Piece {
    fn name(self) -> &'static str {
        match self {
            Self::Sizes(_) => "Sizes",
            Self::Uuids(_) => "Uuids",
            Self::State(_) => "State",
        }
    }
}
