//! `adjust`: options that change while everything goes on, on one node only until the other one
//! follows, or until it starts again with those of the beginning.

use crate::checks::Violation;
use crate::profile::Profile;
use crate::world::World;

impl World {
    /// Options of a node's connection and volumes change.
    pub(crate) fn plan_adjust(&mut self, node: usize) -> Result<(), Violation> {
        if !self.nodes[node].answers() {
            return Ok(());
        }
        self.faults.commands += 1;
        let core = self.nodes[node].resource.as_ref().expect("it answers");
        let mut config = core.config().clone();
        let [peer] = &mut config.peers[..] else { unreachable!("there are two nodes") };
        Profile::redraw_net(&mut peer.net, &self.profile.net, &mut self.prng);
        let peer = peer.clone();
        self.input(node, |core, now| core.update_peer(peer, now))?;
        for mut volume in config.volumes {
            volume.discard_granularity_bytes = Profile::draw_granularity(&mut self.prng);
            self.input(node, |core, now| core.update_volume(volume, now))?;
        }
        Ok(())
    }
}
