//! The personality `drbdmeta`: its arguments, as LINBIT's drbdadm passes them, its output and its
//! exit codes, on our metadata.
//!
//! `drbdmeta [--force] MINOR v09 DEVICE {internal|flex-external|INDEX} COMMAND [ARGS]`, options
//! anywhere. What has no meaning here is refused with a sentence; nothing is taken and ignored but
//! hints. It talks to no daemon: a device that one has open is refused by its lock.

use std::ffi::OsString;
use std::path::PathBuf;

use tandem_control::config::MetaDisk;
use tandem_control::exit;
use tandem_wire::NodeId;

use crate::metadata::MetaPlace;
use crate::offline::MetaCommand;
use crate::output::{self, Failure};
use crate::personality::texts;
use crate::world::World;

/// Does what the arguments say, those behind the program's name.
pub(crate) fn run(arguments: &[OsString], world: &mut dyn World) -> Result<(), Failure> {
    let words = Words::sort(arguments)?;
    if words.help {
        output::print(USAGE);
        return Ok(());
    }
    let [minor, format, device, index, command, rest @ ..] = words.plain.as_slice() else {
        return Err(usage("command missing"));
    };
    if format != "v09" {
        return Err(usage(&format!("format '{format}': only metadata of the form v09 are there")));
    }
    let place = MetaPlace {
        name: name(minor)?,
        disk: PathBuf::from(device),
        meta_disk: meta_disk(device, index)?,
        owner: None,
    };
    if command == "create-md" {
        let max_peers = words.max_peers(rest)?;
        return world.create_unclaimed(&place, max_peers, words.force);
    }
    let command = words.command(command, rest)?;
    world.metadata(&place, command)
}

const USAGE: &str = "\
USAGE: drbdmeta [--force] MINOR v09 DEVICE {internal|flex-external|INDEX} COMMAND [ARGS]
";

/// The arguments, options apart from the rest.
#[derive(Debug, Default)]
struct Words {
    plain: Vec<String>,
    help: bool,
    force: bool,
    node_id: Option<String>,
    al_stripes: Option<String>,
    al_stripe_kib: Option<String>,
}

impl Words {
    fn sort(arguments: &[OsString]) -> Result<Self, Failure> {
        let mut words = Self::default();
        let mut left = texts(arguments)?.into_iter().peekable();
        let mut only_plain = false;
        while let Some(text) = left.next() {
            if only_plain || !text.starts_with("--") {
                words.plain.push(text.to_owned());
            } else if text == "--" {
                only_plain = true;
            } else {
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (text, None),
                };
                let next = || left.next_if(|next| !next.starts_with("--")).map(str::to_owned);
                words.option(name, value, next)?;
            }
        }
        Ok(words)
    }

    fn option(
        &mut self,
        name: &str,
        value: Option<String>,
        next: impl FnOnce() -> Option<String>,
    ) -> Result<(), Failure> {
        let flag = match name {
            "--force" => Some(&mut self.force),
            "--help" => Some(&mut self.help),
            _ => None,
        };
        if let Some(flag) = flag {
            if let Some(value) = value {
                return Err(usage(&format!("option '{name}' takes no value, not '{value}'")));
            }
            *flag = true;
            return Ok(());
        }
        // A hint about requests, which are cut to fit here.
        let mut hint = None;
        let place = match name {
            "--node-id" => &mut self.node_id,
            "--peer-max-bio-size" => &mut hint,
            "--al-stripes" => &mut self.al_stripes,
            "--al-stripe-size-kB" => &mut self.al_stripe_kib,
            _ => return Err(usage(&format!("unrecognized option '{name}'"))),
        };
        let value = value.or_else(next);
        *place = Some(value.ok_or_else(|| usage(&format!("option '{name}' requires a value")))?);
        Ok(())
    }

    /// Of `create-md MAX_PEERS`.
    fn max_peers(&self, rest: &[String]) -> Result<u8, Failure> {
        for (option, value, usual) in [
            ("--al-stripes", &self.al_stripes, "1"),
            ("--al-stripe-size-kB", &self.al_stripe_kib, "32"),
        ] {
            if let Some(value) = value.as_ref().filter(|value| *value != usual) {
                let text = "the activity log has a form of its own here, which is not striped";
                return Err(usage(&format!("'{option}={value}': {text}; leave it out")));
            }
        }
        let [peers] = rest else {
            return Err(usage("USAGE: drbdmeta MINOR v09 ... create-md MAX_PEERS"));
        };
        let parsed = peers.parse().ok().filter(|peers| (1..=31).contains(peers));
        parsed.ok_or_else(|| usage("MAX_PEERS argument not in allowed range 1 .. 31."))
    }

    fn command(&self, name: &str, rest: &[String]) -> Result<MetaCommand, Failure> {
        let command = match name {
            "get-gi" => MetaCommand::GetGi(self.node_id(name)?),
            "show-gi" => MetaCommand::ShowGi(self.node_id(name)?),
            "set-gi" => {
                let peer = self.node_id(name)?;
                let missing = || Failure::new(exit::CONFIG, "Required Argument missing");
                let line = rest.first().ok_or_else(missing)?.parse()?;
                MetaCommand::SetGi { peer, line, force: self.force }
            }
            "dump-md" => MetaCommand::DumpMd,
            "wipe-md" => MetaCommand::WipeMd { force: self.force },
            "outdate" => MetaCommand::Outdate,
            "invalidate" => MetaCommand::Invalidate { by_bits: false },
            "apply-al" => MetaCommand::ApplyAl,
            "forget-peer" => MetaCommand::ForgetPeer(self.node_id(name)?),
            "check-resize" => MetaCommand::CheckResize,
            "dstate" => MetaCommand::DiskState,
            "read-dev-uuid" => MetaCommand::DeviceUuid,
            "write-dev-uuid" => MetaCommand::SetDeviceUuid,
            "restore-md" | "verify-dump" | "repair-md" | "dump-superblock"
            | "hexdump-superblock" => {
                let text = format!("{name} is not there for these metadata, nothing was done");
                return Err(Failure::new(exit::FAILURE, text));
            }
            _ => return Err(usage(&format!("Unknown command '{name}'."))),
        };
        let takes = usize::from(matches!(name, "write-dev-uuid" | "set-gi"));
        if rest.len() > takes {
            return Err(usage(&format!("{name} does not take '{}'", rest[takes..].join(" "))));
        }
        Ok(command)
    }

    /// The peer that is asked about.
    fn node_id(&self, command: &str) -> Result<NodeId, Failure> {
        let wrong = |text: &str| Failure::new(exit::CONFIG, text);
        let Some(text) = &self.node_id else {
            return Err(wrong(&format!("The {command} command requires the --node-id option")));
        };
        let number = text.parse().ok().filter(|number| *number < NodeId::COUNT_MAX);
        number.map(NodeId).ok_or_else(|| wrong("node-id out of range (0...31)"))
    }
}

/// `N`, `minor-N` or `/dev/drbdN`.
fn name(minor: &str) -> Result<String, Failure> {
    let digits = minor.strip_prefix("/dev/drbd").or_else(|| minor.strip_prefix("minor-"));
    let number: Result<u32, _> = digits.unwrap_or(minor).parse();
    let number = number.map_err(|_| usage(&format!("'{minor}' is no minor number")))?;
    Ok(format!("minor {number}"))
}

fn meta_disk(device: &str, index: &str) -> Result<MetaDisk, Failure> {
    let path = PathBuf::from(device);
    match index {
        "internal" | "flex-internal" => Ok(MetaDisk::Internal),
        "flex-external" => Ok(MetaDisk::External { path, index: None }),
        _ => {
            let number: Result<u32, _> = index.parse();
            let wrong = |_| usage(&format!("'{index}' is not a valid index number."));
            Ok(MetaDisk::External { path, index: Some(number.map_err(wrong)?) })
        }
    }
}

/// What cannot be understood.
fn usage(text: &str) -> Failure {
    Failure::new(exit::FAILURE, text)
}
