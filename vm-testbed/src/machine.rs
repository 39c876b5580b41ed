//! A machine: a QEMU process, its disks, its console, and the line to its agent.
//!
//! Its power is cut by the end of the process. What it has written to a disk is then in the host's
//! page cache, so that nothing is lost that a real disk would not have been given.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tandem_tests::tool::tool;
use tandem_tests::{Failure, Process, Result, ensure, fail};

use crate::acceleration::Acceleration;
use crate::agent::{Agent, Answer};
use crate::disk::Disk;
use crate::kernel::Kernel;
use crate::network::Card;
use crate::record::Record;

/// Time to boot, on a machine that has other things to do.
const BOOT: Duration = Duration::from_secs(120);

/// Time for a script, unless told otherwise.
const SCRIPT: Duration = Duration::from_secs(60);

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its host name.
    pub name: String,
    /// Memory, in MiB.
    pub memory: u32,
    /// Its disks: `/dev/vda`, `/dev/vdb`, ...
    pub disks: Vec<Disk>,
    /// Its network cards: `eth0`, `eth1`, ...
    pub cards: Vec<Card>,
    /// Its address in each of its networks.
    pub addresses: Vec<String>,
}

/// A running machine. Its process ends when it is dropped.
#[derive(Debug)]
pub struct Machine {
    parts: Parts,
    process: Process,
    agent: Agent,
    console: PathBuf,
    record: Record,
}

impl Machine {
    /// Switches it on; its files go to `folder`. It boots while others do.
    ///
    /// # Errors
    /// QEMU is missing or does not start.
    pub fn power_on(
        parts: Parts,
        kernel: &Kernel,
        acceleration: Acceleration,
        folder: &Path,
    ) -> Result<Self> {
        let name = &parts.name;
        let [console, socket, log] =
            ["console", "agent", "qemu"].map(|what| folder.join(format!("{name}.{what}")));
        let _ = std::fs::remove_file(&socket);
        let mut command = command(&parts, kernel, acceleration, &console, &socket)?;
        let mut process = Process::start(&format!("QEMU of {name}"), &mut command, &log)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let agent = loop {
            match Agent::connect(&socket) {
                Ok(agent) => break agent,
                Err(failure) if !process.is_running()? || Instant::now() > deadline => {
                    let log = std::fs::read_to_string(&log).unwrap_or_default();
                    return fail(format!("{name} does not start: {failure}\n{log}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let record = Record::open(&folder.join(format!("{name}.log")))?;
        Ok(Self { parts, process, agent, console, record })
    }

    /// Waits until it has booted, and gives it its name and addresses.
    ///
    /// # Errors
    /// It has not; with the end of its console.
    pub fn await_boot(&mut self) -> Result<()> {
        let began = Instant::now();
        let console = self.console.clone();
        let process = &mut self.process;
        let ready = self.agent.await_ready(began + BOOT, || lives(process, &console));
        ready.map_err(|failure| self.failed("booting", &failure.to_string()))?;
        self.record.note(&format!("booted in {:.1} s", began.elapsed().as_secs_f64()))?;
        let mut script = format!("hostname {}\nmodprobe -a virtio_blk virtio_net\n", self.name());
        for (number, address) in self.parts.addresses.iter().enumerate() {
            script += &format!("ip address add {address}/24 dev eth{number}\n");
            script += &format!("ip link set eth{number} up\n");
        }
        self.sh(&script).map(drop)
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// What it is made of, for another start.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Runs a script of bash that must succeed; returns what it printed.
    ///
    /// # Errors
    /// It did not, or took longer than a minute; with what it printed.
    pub fn sh(&mut self, script: &str) -> Result<String> {
        self.sh_within(script, SCRIPT)
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// As for `sh`.
    pub fn sh_within(&mut self, script: &str, limit: Duration) -> Result<String> {
        let Answer { code, text } = self.try_sh(&format!("set -e\n{script}"), limit)?;
        if code == 0 {
            return Ok(text);
        }
        Err(self.failed(script.trim(), &format!("exit code {code}\n{text}")))
    }

    /// Runs a script that may fail.
    ///
    /// # Errors
    /// It took too long, or the machine is gone.
    pub fn try_sh(&mut self, script: &str, limit: Duration) -> Result<Answer> {
        self.record.note(&format!("$ {}", script.trim()))?;
        let (process, console) = (&mut self.process, &self.console);
        let answer = self.agent.run(script, Instant::now() + limit, || lives(process, console));
        let answer = answer.map_err(|failure| self.failed(script.trim(), &failure.to_string()))?;
        self.record.note(&format!("{}= {}", answer.text, answer.code))?;
        Ok(answer)
    }

    /// Runs a script again and again until it succeeds; returns what it printed then.
    ///
    /// # Errors
    /// It has not within `limit`; with what it printed last.
    pub fn sh_until(&mut self, script: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let Answer { code, text } = self.try_sh(script, SCRIPT)?;
            match code {
                0 => return Ok(text),
                _ if Instant::now() > deadline => {
                    return Err(self.failed(script, &format!("never within {limit:?}\n{text}")));
                }
                _ => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    /// Cuts its power. Its parts are for another start.
    ///
    /// # Errors
    /// The process does not end.
    pub fn cut_power(&mut self) -> Result<Parts> {
        self.record.note("the power is cut")?;
        self.process.kill();
        self.process.wait(Duration::from_secs(10))?;
        Ok(self.parts.clone())
    }

    fn failed(&self, what: &str, why: &str) -> Failure {
        Failure::new(format!("{}: {what}: {why}\n{}", self.name(), console_end(&self.console)))
    }
}

/// A machine that cannot go on has said so on its console.
fn lives(process: &mut Process, console: &Path) -> Result<()> {
    ensure(process.is_running()?, || "QEMU has ended".to_owned())?;
    let text = std::fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.lines().find(|line| line.contains("TESTBED:") || line.contains("Kernel panic")) {
        Some(line) => fail(line.to_owned()),
        None => Ok(()),
    }
}

fn console_end(console: &Path) -> String {
    let text = std::fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(12)..].join("\n");
    format!("--- its console:\n{end}")
}

fn command(
    parts: &Parts,
    kernel: &Kernel,
    acceleration: Acceleration,
    console: &Path,
    agent: &Path,
) -> Result<Command> {
    let mut qemu = tool("qemu-system-x86_64")?;
    qemu.args(acceleration.options());
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-smp", "1"]);
    qemu.args(["-m", &parts.memory.to_string()]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&kernel.initramfs);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off"]);
    qemu.arg("-serial").arg(option("file:", console));
    qemu.arg("-chardev").arg(option("socket,id=agent,server=on,wait=off,path=", agent));
    qemu.args(["-device", "virtio-serial-pci"]);
    qemu.args(["-device", "virtserialport,chardev=agent,name=agent"]);
    for (tag, folder) in [("root", Path::new("/")), ("modules", &kernel.modules)] {
        let export =
            format!("local,id={tag},readonly=on,security_model=none,multidevs=remap,path=");
        qemu.arg("-fsdev").arg(option(&export, folder));
        qemu.args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    }
    for (number, disk) in parts.disks.iter().enumerate() {
        let file = disk.location();
        let drive = format!("if=none,id=disk{number},format=raw,discard=unmap,file={file}");
        qemu.args(["-drive", &drive]);
        qemu.args(["-device", &format!("virtio-blk-pci,drive=disk{number}")]);
    }
    for card in &parts.cards {
        qemu.args(card.options());
    }
    Ok(qemu)
}

fn option(before: &str, path: &Path) -> OsString {
    let mut option = OsString::from(before);
    option.push(path);
    option
}
