//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::handler::HandlerCommand;
use crate::offline::SuperblockFormat;
use crate::plan::SectionOptions;
use crate::sh::Sh;

mod examples;

/// Administers the replicated volumes of this node.
#[derive(Debug, Parser)]
#[command(name = "tandemadm", version, after_help = OBJECTS)]
pub(crate) struct Arguments {
    /// Which `on NAME` section is this node (default: the host name)
    #[arg(long, global = true, env = "TANDEM_NODE", value_name = "NAME")]
    pub(crate) node: Option<String>,

    /// The configuration; '-' is standard input
    #[arg(short, long, global = true, value_name = "FILE", default_value = "/etc/tandem.conf")]
    pub(crate) config_file: PathBuf,

    /// Where the daemon has its sockets
    #[arg(
        long,
        global = true,
        env = "TANDEM_RUN_DIR",
        value_name = "DIR",
        default_value = "/run/tandem"
    )]
    pub(crate) run_dir: PathBuf,

    /// Print what would be done, and do nothing
    #[arg(short, long, global = true)]
    pub(crate) dry_run: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const OBJECTS: &str = "A first pair: on both nodes 'tandemadm create-md r0' and 'tandemadm up r0', \
    on one 'tandemadm primary --force r0', once.\nWhat is wrong: 'tandemadm status', then \
    'tandemadm why'.\n\nObjects are RES, RES/VOL, RES:PEER, RES:PEER/VOL or minor-N, as the \
    command allows, or 'all'.\nExit codes are drbdadm's: 0 done, 1 usage, 5 timed out, 10 \
    configuration invalid or refused,\n11 state change refused, 17 needs UpToDate data, 20 no \
    daemon, 40 existing data.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write metadata, so that a disk can be attached (offline; refuses existing data)
    #[command(after_help = examples::CREATE_MD)]
    CreateMd {
        /// Overwrite existing data or metadata
        #[arg(long)]
        force: bool,
        /// Peers to make room for, 1 to 31
        #[arg(long, value_name = "N", default_value_t = 1,
            value_parser = clap::value_parser!(u8).range(1..=31))]
        max_peers: u8,
        #[command(flatten)]
        objects: Objects,
    },
    /// Start resources: attach their disks, connect to their peers
    Up(Objects),
    /// Stop resources
    Down(Objects),
    /// Attach disks
    Attach(Objects),
    /// Detach disks
    Detach {
        /// Do not wait for I/O in flight
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Connect to peers
    #[command(after_help = examples::CONNECT)]
    Connect {
        /// Take the peer's data, whatever the histories say
        #[arg(long)]
        discard_my_data: bool,
        /// Only find out what connecting would come to: 'why' tells it, and the connection is
        /// StandAlone again
        #[arg(long)]
        tentative: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Disconnect from peers
    Disconnect {
        /// Do not ask for the peer's consent
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Promote: serve the exports
    #[command(after_help = examples::PRIMARY)]
    Primary {
        /// Also without UpToDate data
        #[arg(long, alias = "overwrite-data-of-peer")]
        force: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Demote
    #[command(after_help = examples::SECONDARY)]
    Secondary {
        /// Also while clients are connected
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// This node's data are wrong: copy from a peer (StandAlone: only mark them; where the daemon
    /// is down, in the metadata)
    #[command(after_help = examples::INVALIDATE)]
    Invalidate(Invalidate),
    /// A peer's data are wrong: copy to it
    InvalidateRemote(Invalidate),
    /// Mark this node's data as older than the peer's: what a peer's fence-peer asks for (of the
    /// daemon; where it is down, in the metadata)
    Outdate(Objects),
    /// Say that new disks are the same on both nodes, so that nothing is copied; or give data a
    /// generation of their own while the peer is away
    #[command(after_help = examples::NEW_CURRENT_UUID)]
    NewCurrentUuid {
        /// The disks are the same: metadata were just created on both nodes
        #[arg(long)]
        clear_bitmap: bool,
        /// This node's disk has the data: copy it (as primary --force, without a Primary)
        #[arg(long, conflicts_with = "clear_bitmap")]
        force_resync: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Print generations and flags towards peers, a line each (these nine: offline)
    GetGi(Objects),
    /// Print the same, explained
    ShowGi(Objects),
    /// Make generations and flags towards a peer what is said, in the form of get-gi; shows them
    /// before and after, and asks
    #[command(after_help = examples::SET_GI)]
    SetGi {
        /// Do not ask
        #[arg(long)]
        force: bool,
        /// One peer and volume
        #[arg(value_name = "OBJECT")]
        object: String,
        /// CURRENT:BITMAP:HISTORY:HISTORY:FLAGS; what is empty or left out stays
        #[arg(value_name = "GI")]
        gi: String,
    },
    /// Print metadata as text
    DumpMd(Objects),
    /// Print the superblock of metadata
    DumpSuperblock {
        /// As what
        #[arg(long, value_name = "FORMAT", value_enum, default_value = "hex")]
        output_format: SuperblockFormat,
        #[command(flatten)]
        objects: Objects,
    },
    /// Say whether metadata are where they belong on a disk that was enlarged
    CheckResize(Objects),
    /// Remove metadata
    WipeMd {
        /// Do not ask
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Mark what a crash as Primary may have left different (an attach does it, too)
    ApplyAl(Objects),
    /// Free what metadata keep for a peer that is gone for good (offline)
    #[command(after_help = examples::FORGET_PEER)]
    ForgetPeer(Objects),
    /// Give volumes the room that their disks have got, while they are in use (on the Primary)
    #[command(after_help = examples::RESIZE)]
    Resize {
        /// New size in sectors of 512 bytes, or with a suffix K, M, G, T (default: as much as the
        /// disks of all nodes have room for)
        #[arg(long, value_name = "SECTORS|SIZE", value_parser = sectors)]
        size: Option<u64>,
        /// What a volume grows by is the same on all nodes: do not copy it
        #[arg(long)]
        assume_clean: bool,
        /// Peers that are not connected have room, too
        #[arg(long)]
        assume_peer_has_space: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Make volumes block devices: /dev/nbdN of the kernel's NBD client, N their minor
    #[command(after_help = examples::KERNEL_ATTACH)]
    KernelAttach(Objects),
    /// End such devices
    KernelDetach {
        /// Also while they are mounted, or in use otherwise
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Freeze I/O on this node, and come back when nothing is in flight
    #[command(after_help = examples::SUSPEND_IO)]
    SuspendIo(Objects),
    /// Let I/O go on, whatever it was frozen for
    ResumeIo(Objects),
    /// Pause resyncs with a peer
    PauseSync(Objects),
    /// Let paused resyncs go on
    ResumeSync(Objects),
    /// Show states (of all resources by default; needs no configuration)
    #[command(after_help = examples::STATUS)]
    Status {
        /// As JSON
        #[arg(long, conflicts_with_all = ["verbose", "statistics", "watch"])]
        json: bool,
        /// Also what is as it should be
        #[arg(short, long)]
        verbose: bool,
        /// Also counters
        #[arg(short, long)]
        statistics: bool,
        /// Go on showing, with a bar for each resync, until interrupted
        #[arg(long)]
        watch: bool,
        /// Resources
        #[arg(value_name = "OBJECT")]
        objects: Vec<String>,
    },
    /// Say why resources are not connected, UpToDate, promotable or in sync, and what helps (of all
    /// by default; needs no configuration)
    Why {
        /// Resources
        #[arg(value_name = "OBJECT")]
        objects: Vec<String>,
    },
    /// Show everything on the whole screen: states, resyncs, rates, and what is wrong; q ends it
    Monitor,
    /// Both nodes wrote since they parted: show what each would lose, and end it
    #[command(subcommand)]
    SplitBrain(SplitBrain),
    /// Print how resources are, then how they change, a line each, until interrupted (of all by
    /// default; needs no configuration)
    Events2 {
        /// Everything on every line, also counters
        #[arg(long)]
        full: bool,
        /// Also counters
        #[arg(long)]
        statistics: bool,
        /// Old and new values
        #[arg(long)]
        diff: bool,
        /// The time before each line
        #[arg(long)]
        timestamps: bool,
        /// Not the changes
        #[arg(long)]
        now: bool,
        /// An 'n' on standard input asks for everything again; anything else ends it
        #[arg(long)]
        poll: bool,
        /// The resource
        #[arg(value_name = "OBJECT")]
        object: Option<String>,
    },
    /// Print the role
    #[command(alias = "state")]
    Role(Objects),
    /// Print the roles of peers, one line each
    PeerRole(Objects),
    /// Print connection states, one line each
    Cstate(Objects),
    /// Print disk states, one line per volume: LOCAL/PEER
    Dstate(Objects),
    /// Change running resources to what the configuration says, and start those that do not run
    #[command(after_help = examples::ADJUST)]
    Adjust(Adjust),
    #[command(flatten)]
    Options(SectionOptions),
    /// Print the configuration as it is understood, also where it asks for what is not there (exit
    /// code 10)
    Dump {
        /// Also what is secret in it
        #[arg(long)]
        show_secrets: bool,
        /// Resources
        #[arg(value_name = "OBJECT")]
        objects: Vec<String>,
    },
    /// Print the same as XML
    DumpXml {
        /// Also what is secret in it
        #[arg(long)]
        show_secrets: bool,
        /// Resources
        #[arg(value_name = "OBJECT")]
        objects: Vec<String>,
    },
    /// Say whether a configuration could be used, and all that is wrong with it
    Check {
        /// The file (default: the configuration)
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    #[command(flatten)]
    Handler(HandlerCommand),
    #[command(flatten)]
    Sh(Sh),
    /// Print completions for a shell, to be put where it looks for them
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the commands that --help does not show
    #[command(hide = true)]
    HiddenCommands,
    /// Write the manual pages to a folder
    #[command(hide = true)]
    ManPages {
        /// The folder
        folder: PathBuf,
    },
    /// Wait until peers are connected
    #[command(alias = "wait-con-int")]
    WaitConnect(Wait),
    /// Wait until no resync runs
    #[command(after_help = examples::WAIT_SYNC)]
    WaitSync(Wait),
    /// Compare with a peer while in use; what differs is known to both nodes and resynced when they
    /// connect anew
    #[command(after_help = examples::VERIFY)]
    Verify {
        /// First sector of 512 bytes, or a size with a suffix K, M, G (default: where the last
        /// verify was stopped)
        #[arg(long, value_name = "SECTOR|SIZE", value_parser = sectors)]
        start: Option<u64>,
        /// First sector not to compare (default: the end)
        #[arg(long, value_name = "SECTOR|SIZE", value_parser = sectors)]
        stop: Option<u64>,
        /// Connect anew when it is done, if differences were found
        #[arg(long)]
        repair: bool,
        /// Stop the verify that is running
        #[arg(long, conflicts_with_all = ["start", "stop", "repair"])]
        cancel: bool,
        #[command(flatten)]
        objects: Objects,
    },
}

/// What is to be done about a split brain.
#[derive(Debug, Subcommand)]
pub(crate) enum SplitBrain {
    /// Say with whom, what each node would lose, and what ends it
    Show {
        /// Resources, or their peers
        #[arg(value_name = "OBJECT")]
        objects: Vec<String>,
    },
    /// End it: the peer's data are copied here. The other node need not be told
    #[command(after_help = examples::RESOLVE)]
    Resolve {
        /// What only this node has is lost; say so
        #[arg(long, required = true)]
        discard_mine: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Run the handler split-brain for these resources
    #[command(external_subcommand)]
    Handler(Vec<String>),
}

/// A place on a volume in bytes: a number of sectors of 512 bytes, or bytes with a suffix.
pub(crate) fn sectors(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['s', 'K', 'M', 'G', 'T']);
    let unit = match &text[digits.len()..] {
        "" | "s" => 512,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(EXPECTED.to_owned()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED.to_owned());
    }
    let number: u64 = digits.parse().map_err(|_| "beyond any volume".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "beyond any volume".to_owned())
}

const EXPECTED: &str = "a number expected, perhaps with s, K, M, G or T behind it";

/// What a command is applied to.
#[derive(Debug, Args)]
pub(crate) struct Objects {
    /// Resources, or what is in them
    #[arg(required = true, value_name = "OBJECT")]
    pub(crate) objects: Vec<String>,
}

/// What is adjusted.
#[derive(Debug, Args)]
pub(crate) struct Adjust {
    /// Leave disks as they are: none is attached, and no option of theirs changes
    #[arg(long)]
    pub(crate) skip_disk: bool,
    /// Leave connections as they are: none is made, and no peer, path or option of theirs changes
    #[arg(long)]
    pub(crate) skip_net: bool,
    /// Where it connects, take the peer's data, whatever the histories say
    #[arg(long)]
    pub(crate) discard_my_data: bool,
    /// Where it connects, only find out what that would come to: 'why' tells it
    #[arg(long)]
    pub(crate) tentative: bool,
    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// What is invalidated.
#[derive(Debug, Args)]
pub(crate) struct Invalidate {
    /// Copy everything; 'no': what the bitmap says already, as after an online verify
    #[arg(long, value_name = "YES|NO", default_value = "yes", action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) reset_bitmap: bool,
    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// What is waited for.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Give up after so many seconds, with exit code 5; 0: never (default: as configured)
    #[arg(long, alias = "timeout", value_name = "SECONDS")]
    pub(crate) wfc_timeout: Option<u32>,
    #[command(flatten)]
    pub(crate) objects: Objects,
}
