//! Where the lines are given: a configuration, and a daemon in one of several moods.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use tandem_adm::rehearsal::{Answers, Stage};
use tandem_control::admin::{Refusal, Request, Response};
use tandem_control::config::{Config, Part, ResourceConfig};
use tandem_control::names::{ConnectionState, DiskState, ReplicationState, Role};
use tandem_control::status::{Divergence, ResourceStatus, SyncState, samples};
use tandem_control::{VolumeNumber, exit};

use crate::source::Source;

/// What every refusal of the daemon begins with, and what the programs say of an odd answer.
pub(super) const REFUSALS: &[&str] = &["daemon: ", "answered something else than asked"];

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mood {
    daemon: Temper,
    configuration: Configuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Configuration {
    Usual,
    Odd,
    Empty,
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    Absent,
    Willing,
    Refusing,
    /// It answers something else than it was asked.
    Odd,
}

impl Mood {
    pub(super) fn of(script: &mut Source<'_>) -> Self {
        use Temper::{Absent, Odd, Refusing, Willing};
        let daemon =
            script.pick(&[Willing, Willing, Willing, Willing, Willing, Absent, Refusing, Odd]);
        let usual = Configuration::Usual;
        let configuration = script.pick(&[
            usual,
            usual,
            usual,
            Configuration::Odd,
            Configuration::Empty,
            Configuration::Wrong,
        ]);
        Self { daemon, configuration }
    }

    pub(super) fn stage(self) -> Stage {
        let daemon: Option<Answers> = match self.daemon {
            Temper::Absent => None,
            Temper::Willing => Some(willing()),
            Temper::Refusing => Some(Rc::new(|request| {
                let message = format!("daemon: no {:?}", std::mem::discriminant(request));
                Response::Refused(Refusal { exit_code: exit::STATE, message })
            })),
            Temper::Odd => Some(Rc::new(|_| Response::Progress(String::new()))),
        };
        let configuration = match self.configuration {
            Configuration::Usual => USUAL,
            Configuration::Odd => ODD,
            Configuration::Empty => "",
            Configuration::Wrong => WRONG,
        };
        Stage { configuration: configuration.to_owned(), daemon }
    }
}

/// It runs the usual configuration, does what it is told, and takes parts as tandemd does.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are done without an answer")]
fn willing() -> Answers {
    let config = Config::parse(Path::new("/node.res"), USUAL).expect("it is usual");
    let running = RefCell::new(config.seen_from("a"));
    Rc::new(move |request| {
        let mut running = running.borrow_mut();
        let named = |name: &Option<String>| -> Vec<ResourceConfig> {
            let is_meant = |it: &&ResourceConfig| name.as_ref().is_none_or(|name| *name == it.name);
            running.iter().filter(is_meant).cloned().collect()
        };
        match request {
            Request::Status { resource } => {
                Response::Status(named(resource).iter().map(status).collect())
            }
            Request::Running { resource } => {
                let found = named(resource);
                if resource.is_some() && found.is_empty() {
                    return refused(exit::CONFIG, "unknown");
                }
                let found = found.into_iter().map(|config| {
                    let status = status(&config);
                    (config, status)
                });
                Response::Running(found.collect())
            }
            Request::Part { resource, part } => match changed(&running, resource, part) {
                Ok(changed) => {
                    running.retain(|it| it.name != changed.name);
                    running.push(changed);
                    Response::Done
                }
                Err(text) => refused(exit::CONFIG, &text),
            },
            _ => Response::Done,
        }
    })
}

fn changed(running: &[ResourceConfig], name: &str, part: &Part) -> Result<ResourceConfig, String> {
    match (running.iter().find(|it| it.name == name), part) {
        (Some(config), part) => config.with(part),
        (None, Part::Resource { node_id, options }) => {
            ResourceConfig::begun(name, "a", *node_id, options)
        }
        (None, _) => Err(format!("{name}: there is no such resource")),
    }
}

fn refused(exit_code: u8, message: &str) -> Response {
    Response::Refused(Refusal { exit_code, message: format!("daemon: {message}") })
}

/// Everything is well with the second one; the first one has a split brain.
fn status(config: &ResourceConfig) -> ResourceStatus {
    let is_split = config.name == "r0";
    let mut status = samples::resource(&config.name, Role::Secondary);
    status.node_id = config.node_id;
    for volume in &config.volumes {
        let mut of_volume = samples::volume(volume.number.0, DiskState::UpToDate);
        of_volume.minor = volume.minor;
        status.volumes.push(of_volume);
    }
    for peer in &config.peers {
        let state = if is_split { ConnectionState::StandAlone } else { ConnectionState::Connected };
        let mut connection = samples::connection(&peer.name, state);
        connection.peer_node_id = peer.node_id;
        if is_split {
            connection.sync_state = SyncState::SplitBrain(divergence());
        }
        let devices = config.volumes.iter().map(|volume| {
            let (number, established) = (volume.number.0, ReplicationState::Established);
            samples::peer_device(number, established, DiskState::UpToDate)
        });
        connection.peer_devices = devices.collect();
        status.connections.push(connection);
    }
    status
}

fn divergence() -> Divergence {
    Divergence {
        volume: VolumeNumber(0),
        reason: "both wrote".to_owned(),
        rule: "both-bitmap".to_owned(),
        policy: None,
        own_was_primary: true,
        peer_was_primary: true,
        own_loss_blocks: 3,
        peer_loss_blocks: u64::MAX / 8192,
    }
}

const USUAL: &str = "
global { usage-count no; }
common { startup { wfc-timeout 30; } }
resource r0 {
  on a {
    node-id 0; address 10.0.0.1:7000;
    volume 0 { device minor 1; disk /dev/a0; meta-disk internal; }
    volume 1 { device minor 2; disk /dev/a1; meta-disk /dev/m1; }
  }
  on b {
    node-id 1; address 10.0.0.2:7000;
    volume 0 { device minor 1; disk /dev/b0; meta-disk internal; }
    volume 1 { device minor 2; disk /dev/b1; meta-disk internal; }
  }
}
resource r1 {
  net { protocol A; csums-alg crc32c; shared-secret \"s\"; }
  device minor 3; disk /dev/sdc; meta-disk /dev/sdd[1];
  on a { node-id 0; address 10.0.0.1:7001; }
  on b { node-id 1; address 10.0.0.2:7001; }
}
resource other {
  device minor 4; disk /dev/x; meta-disk internal;
  on b { node-id 0; address 10.0.0.2:7002; }
  on c { node-id 1; address 10.0.0.3:7002; }
}
";

/// Understood, and not usable: a volume without a disk, three nodes, a name as long as one may be.
const ODD: &str = "
resource r0 {
  on a { node-id 0; address 10.0.0.1:7000; volume 0 { device minor 1; disk none; } }
  on b { node-id 1; address 10.0.0.2:7000;
    volume 0 { device minor 1; disk /dev/b0; meta-disk internal; } }
  on c { node-id 2; address 10.0.0.3:7000;
    volume 0 { device minor 1; disk /dev/c0; meta-disk flexible; } }
  connection-mesh { hosts a b c; }
}
resource r1234567890123456789012345678901234567890123456789012345678901234567890123456789 {
  volume 65534 { device minor 1048575; disk /dev/sdc; meta-disk internal; }
  on a { node-id 0; address 10.0.0.1:7001; }
  on b { node-id 31; address ipv6 [::1]:7001; }
}
";

const WRONG: &str = "resource r0 {\n  protocl C;\n}\n";
