//! What `--help` shows of a command in use.

pub(super) const CREATE_MD: &str = "\
Examples:
  tandemadm create-md r0              # both nodes, once, before the first 'up'
  tandemadm -d create-md r0           # where would it write?
  tandemadm create-md --force r0/1    # volume 1 again: what is on it is given up";

pub(super) const CONNECT: &str = "\
Examples:
  tandemadm connect r0                # to all its peers, after a 'disconnect'
  tandemadm connect r0:bravo          # to one of them
  tandemadm connect --tentative r0 && sleep 2 && tandemadm why r0    # what would be copied?
  tandemadm connect --discard-my-data r0    # what only this node has is lost";

pub(super) const PRIMARY: &str = "\
Examples:
  tandemadm primary r0                # refused where a peer is Primary, or may have newer data
  tandemadm primary --force r0        # a new pair: these data are the ones
  tandemadm status r0                 # who is it now?

Moving it in good order: 'tandemadm secondary r0' there, then 'tandemadm primary r0' here.";

pub(super) const SECONDARY: &str = "\
Examples:
  tandemadm secondary r0              # refused while clients are connected
  tandemadm secondary --force r0      # their connections are closed";

pub(super) const INVALIDATE: &str = "\
Examples:
  tandemadm invalidate r0/0           # copy all of volume 0 from the peer
  tandemadm invalidate --reset-bitmap=no r0/0    # only what a verify has found

With the daemon down it marks the metadata, and the data are copied when the nodes connect.";

pub(super) const NEW_CURRENT_UUID: &str = "\
Examples, with both nodes connected and metadata that were just created (on either node):
  tandemadm new-current-uuid --clear-bitmap r0/0   # the disks are the same, all zeroes say
  tandemadm new-current-uuid --force-resync r0/0   # this node's disk is copied to the other
Blocks of which that is not true differ until they are written; verify finds them.";

pub(super) const SET_GI: &str = "\
Examples:
  tandemadm set-gi r0:bravo/0 \"$(tandemadm get-gi r0:bravo/0)\"    # changes nothing
  tandemadm set-gi r0:bravo/0 :::::0    # the data were not up-to-date; all else stays
Nobody checks what is said: wrong generations let good data be replaced by old ones.";

pub(super) const FORGET_PEER: &str = "\
Example, where another node is to take the place of bravo:
  tandemadm down r0 && tandemadm forget-peer r0:bravo
Everything is copied to the peer that gets its slot, to bravo as well. These data count as
Consistent until a peer has met them: 'primary --force' says that they are the newest.";

pub(super) const RESIZE: &str = "\
Examples, when the disks of both nodes have been enlarged (on the Primary):
  tandemadm resize r0                 # as much as both have room for
  tandemadm resize --size 20G r0/0
  tandemadm wait-sync r0              # what it grew by is copied";

pub(super) const KERNEL_ATTACH: &str = "\
Examples (on the Primary):
  tandemadm kernel-attach r0          # /dev/tandem/by-res/r0/0 leads to the device
  mount /dev/tandem/by-res/r0/0 /mnt
  tandemadm kernel-detach r0          # refused while it is mounted

With 'kernel_attach = true' in section [nbd] of tandemd.toml 'primary' does it, and 'secondary'
undoes it. After a restart of the daemon 'primary' gives a mounted device new connections.";

pub(super) const SUSPEND_IO: &str = "\
Example, a snapshot of the disk below:
  tandemadm suspend-io r0 && lvcreate -s -n snap -L 1G vg/r0; tandemadm resume-io r0";

pub(super) const STATUS: &str = "\
Examples:
  tandemadm status                    # everything
  tandemadm status -vs r0             # with numbers
  tandemadm status --watch            # bars for resyncs; ends by Ctrl-C
  tandemadm status --json | jq '.[].role'";

pub(super) const VERIFY: &str = "\
Examples:
  tandemadm verify r0                 # compare all, while in use; see 'status'
  tandemadm verify --repair r0        # and copy what differs when it is done
  tandemadm verify --start 10G --stop 20G r0/0
  tandemadm verify --cancel r0";

pub(super) const ADJUST: &str = "\
Examples:
  tandemadm check && tandemadm -d adjust all    # what would a changed configuration do?
  tandemadm adjust all
  tandemadm adjust --skip-net r0      # disks and their options only; what is apart stays so";

pub(super) const WAIT_SYNC: &str = "\
Example, in a script: give up after ten minutes, with exit code 5
  tandemadm wait-sync --wfc-timeout 600 r0";

pub(super) const RESOLVE: &str = "\
Example, on the node that is to lose:
  tandemadm split-brain show r0
  tandemadm secondary r0
  tandemadm split-brain resolve --discard-mine r0";

pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(tandemadm completions bash)
  tandemadm completions zsh > /usr/local/share/zsh/site-functions/_tandemadm";
