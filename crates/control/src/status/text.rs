//! `status` as text, word for word as DRBD prints it.
//!
//! What DRBD does not have is appended to a connection's line, and only where there is something to
//! say, so that a healthy resource prints the same.

use super::{ConnectionStatus, PeerDeviceStatus, ResourceStatus, VolumeStatus};
use crate::names::{ConnectionState, DiskState, ReplicationState};

/// How much to print, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// Also what is as it should be (`-v`).
    pub verbose: bool,
    /// Also counters (`--statistics`).
    pub statistics: bool,
    /// A person reads it: leave out what only scripts need.
    pub terminal: bool,
    /// Width to wrap lines at, in columns; 80 where there is no terminal.
    pub width: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { verbose: false, statistics: false, terminal: false, width: 80 }
    }
}

/// The text of all resources; DRBD's comment where there is none.
pub fn text(resources: &[ResourceStatus], options: TextOptions) -> String {
    let mut printer = Printer { out: String::new(), column: 0, indent: 0, options };
    for resource in resources {
        printer.resource(resource);
    }
    if resources.is_empty() {
        return "# No currently configured DRBD found.\n".to_owned();
    }
    printer.out
}

struct Printer {
    out: String,
    /// Characters in the line, its indentation not counted.
    column: usize,
    indent: usize,
    options: TextOptions,
}

impl Printer {
    fn resource(&mut self, resource: &ResourceStatus) {
        let verbose = self.options.verbose;
        self.begin(0, &resource.name);
        self.word_if(verbose, || format!("node-id:{}", resource.node_id));
        self.word(&format!("role:{}", resource.role));
        let suspended = resource.suspended;
        self.word_if(verbose || suspended.any(), || format!("suspended:{}", suspended.text()));
        let force = resource.force_io_failures;
        self.word_if(verbose || force, || format!("force-io-failures:{}", yes_no(force)));
        let ordering = resource.write_ordering;
        self.word_if(self.options.statistics, || format!("write-ordering:{ordering}"));
        self.end();
        let numbered =
            verbose || !matches!(resource.volumes.as_slice(), [only] if only.volume.0 == 0);
        for volume in &resource.volumes {
            self.volume(volume, numbered);
        }
        for connection in &resource.connections {
            self.connection(connection, numbered);
        }
        self.out.push('\n');
    }

    fn volume(&mut self, volume: &VolumeStatus, numbered: bool) {
        let TextOptions { verbose, terminal, .. } = self.options;
        let disk = format!("disk:{}", volume.disk_state);
        if numbered {
            self.begin(2, &format!("volume:{}", volume.volume));
            self.word_if(verbose, || format!("minor:{}", volume.minor));
            self.word(&disk);
        } else {
            self.begin(2, &disk);
        }
        if volume.disk_state == DiskState::Diskless && (verbose || !terminal) {
            self.word(&format!("client:{}", yes_no(volume.client)));
        }
        let backing_dev = volume.backing_dev.as_deref().unwrap_or("none");
        self.word_if(verbose, || format!("backing_dev:{backing_dev}"));
        self.word_if(verbose || !volume.quorum, || format!("quorum:{}", yes_no(volume.quorum)));
        self.word(&format!("open:{}", yes_no(volume.open)));
        if self.options.statistics {
            self.new_line();
            self.volume_statistics(volume);
        }
        let blocked = volume.blocked.text();
        self.word_if(verbose || blocked != "no", || format!("blocked:{blocked}"));
        let errors = &volume.io_errors;
        for (name, count) in [
            ("read-errors", errors.reads),
            ("write-errors", errors.writes),
            ("flush-errors", errors.flushes),
            ("meta-errors", errors.metadata),
            ("disk-timeouts", errors.timeouts),
        ] {
            self.word_if(verbose && count > 0, || format!("{name}:{count}"));
        }
        self.end();
    }

    fn volume_statistics(&mut self, volume: &VolumeStatus) {
        self.word(&format!("size:{}", volume.size_bytes / 1024));
        self.word(&format!("read:{}", volume.read_bytes / 1024));
        self.word(&format!("written:{}", volume.written_bytes / 1024));
        self.word(&format!("al-writes:{}", volume.al_writes));
        self.word(&format!("bm-writes:{}", volume.bm_writes));
        self.word(&format!("upper-pending:{}", volume.upper_pending));
        self.word(&format!("lower-pending:{}", volume.lower_pending));
        self.word(&format!("al-suspended:{}", yes_no(volume.al_suspended)));
    }

    fn connection(&mut self, connection: &ConnectionStatus, numbered: bool) {
        let TextOptions { verbose, statistics, .. } = self.options;
        let state = connection.connection_state;
        let connected = state == ConnectionState::Connected;
        self.begin(2, &connection.name);
        self.word_if(verbose, || format!("node-id:{}", connection.peer_node_id));
        self.word_if(verbose || !connected, || format!("connection:{state}"));
        self.word_if(verbose || connected, || format!("role:{}", connection.peer_role));
        self.word_if(verbose || connection.tls, || format!("tls:{}", yes_no(connection.tls)));
        let congested = connection.congested;
        if verbose || congested {
            self.word(&format!("congested:{}", yes_no(congested)));
            self.word(&format!("ap-in-flight:{}", connection.ap_in_flight_bytes / 512));
            self.word(&format!("rs-in-flight:{}", connection.rs_in_flight_bytes / 512));
        }
        self.additions(connection);
        self.end();
        if connected || verbose || statistics {
            for peer_device in &connection.peer_devices {
                self.peer_device(peer_device, numbered);
            }
        }
    }

    /// What DRBD's status does not tell.
    fn additions(&mut self, connection: &ConnectionStatus) {
        if let Some(divergence) = connection.sync_state.divergence() {
            self.word(&format!("sync-state:{}", connection.sync_state.name()));
            self.word(&format!("own-loss-blocks:{}", divergence.own_loss_blocks));
            self.word(&format!("peer-loss-blocks:{}", divergence.peer_loss_blocks));
        }
        let divergence = connection.sync_state.divergence();
        let reason = divergence.map(|divergence| &divergence.reason);
        let reason = reason.or(connection.disconnect_reason.as_ref());
        if let Some(reason) = reason
            && connection.connection_state == ConnectionState::StandAlone
        {
            self.word(&format!("reason:{reason:?}"));
        }
    }

    fn peer_device(&mut self, peer_device: &PeerDeviceStatus, numbered: bool) {
        let verbose = self.options.verbose;
        let replication = peer_device.replication_state;
        let replication = (verbose || replication > ReplicationState::Established)
            .then(|| format!("replication:{replication}"));
        let volume = numbered.then(|| format!("volume:{}", peer_device.volume));
        let disk = Some(format!("peer-disk:{}", peer_device.peer_disk_state));
        for (index, word) in [volume, replication, disk].into_iter().flatten().enumerate() {
            if index == 0 {
                self.begin(4, &word);
            } else {
                self.word(&word);
            }
        }
        let diskless = peer_device.peer_disk_state == DiskState::Diskless;
        self.word_if(diskless && (verbose || !self.options.terminal), || {
            format!("peer-client:{}", yes_no(peer_device.peer_client))
        });
        if let Some(done) = peer_device.percent_done() {
            self.word(&format!("done:{done:.2}"));
        }
        let found = peer_device.verify_found_blocks;
        self.word_if(found > 0, || format!("verify-found-blocks:{found}"));
        let suspended = peer_device.resync_suspended.text();
        self.word_if(verbose || suspended != "no", || format!("resync-suspended:{suspended}"));
        if self.options.statistics {
            self.new_line();
            self.peer_device_statistics(peer_device);
        }
        self.end();
    }

    fn peer_device_statistics(&mut self, peer_device: &PeerDeviceStatus) {
        self.word(&format!("received:{}", peer_device.received_bytes / 1024));
        self.word(&format!("sent:{}", peer_device.sent_bytes / 1024));
        self.word(&format!("out-of-sync:{}", peer_device.out_of_sync_bytes / 1024));
        self.word(&format!("pending:{}", peer_device.pending));
        self.word(&format!("unacked:{}", peer_device.unacked));
        if let Some(resync) = peer_device.resync {
            self.word(&format!("dbdt1:{:.2}", resync.window_mib_per_second()));
        }
        if let Some(seconds) = peer_device.seconds_left() {
            self.word(&format!("eta:{seconds}"));
        }
    }

    fn begin(&mut self, indent: usize, word: &str) {
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(word);
        self.indent = indent;
        self.column = word.chars().count();
    }

    fn word_if(&mut self, condition: bool, word: impl FnOnce() -> String) {
        if condition {
            self.word(&word());
        }
    }

    /// Appends a word with a space before it, on the next line where this one is full.
    fn word(&mut self, word: &str) {
        let length = word.chars().count();
        if self.column > 0 && self.column + 1 + length > self.options.width {
            self.new_line();
        }
        if self.column > 0 {
            self.out.push(' ');
            self.column += 1;
        }
        self.out.push_str(word);
        self.column += length;
    }

    fn new_line(&mut self) {
        self.out.push('\n');
        self.out.push_str(&" ".repeat(self.indent + 4));
        self.column = 0;
    }

    fn end(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }
}

fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}
