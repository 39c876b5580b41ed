//! Two machines with a replicated volume.

use std::time::Duration;

use tandem_tests::{Context, Result, ensure};

use crate::disk::Disk;
use crate::files::{FileSystem, Files};
use crate::machine::Machine;
use crate::testbed::Testbed;

/// Names of the machines, as `on` sections have them.
const NAMES: [&str; 2] = ["alice", "bob"];

/// Time for the first resync, and for those behind a fault.
const SYNC: Duration = Duration::from_secs(180);

/// Machines `alice` and `bob` with a resource `r0`, whose volume 0 lies on their `/dev/vda`.
#[derive(Debug)]
pub struct Pair {
    /// The machines.
    pub machines: [Machine; 2],
    daemon: String,
    admin: String,
    net: String,
}

impl Pair {
    /// A pair in sync, `alice` Primary. `net`: options of the net section.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn in_sync(testbed: &Testbed, disks: [Disk; 2], net: &str) -> Result<Self> {
        Self::in_sync_behind(testbed, disks.map(|disk| vec![disk]), net, "")
    }

    /// The same, behind a script that both machines run first, on the first of their disks.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn in_sync_behind(
        testbed: &Testbed,
        disks: [Vec<Disk>; 2],
        net: &str,
        script: &str,
    ) -> Result<Self> {
        let machines = testbed.machines(NAMES, disks)?;
        let binaries = testbed.binaries();
        let programs = [&binaries.tandemd, &binaries.tandemadm].map(std::path::absolute);
        let [daemon, admin] = programs.map(|path| path.about("the programs under test"));
        let [daemon, admin] = [daemon?, admin?].map(|path| path.display().to_string());
        let mut pair = Self { machines, daemon, admin, net: net.to_owned() };
        for side in [0, 1] {
            pair.machines[side].sh(script)?;
            pair.configure(side)?;
            pair.admin(side, "create-md r0")?;
            pair.start(side)?;
        }
        pair.admin(0, "primary --force r0")?;
        pair.await_sync(0)?;
        Ok(pair)
    }

    /// A pair in sync, and on `alice` a file system on the device, where somebody writes files.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn in_use(testbed: &Testbed, file_system: &FileSystem) -> Result<(Self, Files)> {
        Self::in_use_behind(testbed, file_system, "")
    }

    /// The same, behind a script that both machines run first. What it writes to
    /// `/etc/tandemd.more` are keys of the table `nbd` of the daemons.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn in_use_behind(
        testbed: &Testbed,
        file_system: &FileSystem,
        script: &str,
    ) -> Result<(Self, Files)> {
        let disk = |name| testbed.disk(name, file_system.mebibytes);
        let disks = [vec![disk("alice")?], vec![disk("bob")?]];
        let mut pair = Self::in_sync_behind(testbed, disks, "", script)?;
        let files = pair.begin_use(file_system)?;
        Ok((pair, files))
    }

    /// Makes a file system on the device of `alice`, where somebody writes files from here on.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn begin_use(&mut self, file_system: &FileSystem) -> Result<Files> {
        let alice = &mut self.machines[0];
        alice.sh(&format!("{} /dev/nbd0; mount /dev/nbd0 /mnt", file_system.make))?;
        let mut files = Files::default();
        files.begin(alice)?;
        Ok(files)
    }

    /// Writes the configuration: of a machine that has just booted too.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn configure(&mut self, side: usize) -> Result<()> {
        let host = |(index, name): (usize, &str)| {
            format!(
                "    on {name} {{ node-id {index}; address 10.0.0.{}:7789;\n        volume 0 {{ \
                 device minor 0; disk /dev/vda; meta-disk internal; }} }}\n",
                index + 1
            )
        };
        let hosts: String = NAMES.into_iter().enumerate().map(host).collect();
        let net = &self.net;
        let net = format!("net {{ protocol C; timeout 30; connect-int 4; ping-int 4; {net} }}");
        let resource = format!("resource r0 {{\n    {net}\n{hosts}}}\n");
        let script = format!(
            "cat >/etc/tandem.conf <<'END'\n{resource}END\nmkdir -p /run/tandem\n\
             cat >/etc/tandemd.toml <<'END'\n[nbd]\nkernel_attach = true\nEND\n\
             test ! -e /etc/tandemd.more || cat /etc/tandemd.more >>/etc/tandemd.toml\n\
             ln -sf {} /usr/local/sbin/tandemadm\nmodprobe nbd",
            self.admin
        );
        self.machines[side].sh(&script).map(drop)
    }

    /// Starts the daemon and brings the resource up.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&mut self, side: usize) -> Result<()> {
        let script = format!(
            "setsid {} --tandemd-config /etc/tandemd.toml >>/run/tandemd.log 2>&1 </dev/null &\n\
             echo $! >/run/tandemd.pid",
            self.daemon
        );
        self.machines[side].sh(&script)?;
        self.machines[side].sh_until("tandemadm up r0", Duration::from_secs(20)).map(drop)
    }

    /// Runs `tandemadm`.
    ///
    /// # Errors
    /// It fails.
    pub fn admin(&mut self, side: usize, command: &str) -> Result<String> {
        self.machines[side].sh(&format!("tandemadm {command}"))
    }

    /// Waits until this node says that both disks are good.
    ///
    /// # Errors
    /// They are not in time.
    pub fn await_sync(&mut self, side: usize) -> Result<()> {
        let script = "test \"$(tandemadm dstate r0)\" = UpToDate/UpToDate || \
                      { tandemadm status r0; false; }";
        self.machines[side].sh_until(script, SYNC).map(drop)
    }

    /// Takes the resource down, on `alice` first, whose device nobody uses any more; the disks have
    /// the same data.
    ///
    /// # Errors
    /// They do not.
    pub fn end_with_same_disks(&mut self) -> Result<()> {
        let bytes = self.machines[0].sh("blockdev --getsize64 /dev/nbd0")?;
        let sum = format!("tandemadm down r0; head -c {} /dev/vda | md5sum", bytes.trim());
        let [a, b] = &mut self.machines;
        let sums = [a.sh(&sum)?, b.sh(&sum)?];
        ensure(sums[0] == sums[1], || format!("the disks differ: {sums:?}"))
    }

    /// Ends the daemon as no daemon wants to be ended.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn kill_daemon(&mut self, side: usize) -> Result<()> {
        self.machines[side].sh("kill -9 $(cat /run/tandemd.pid)").map(drop)
    }
}
