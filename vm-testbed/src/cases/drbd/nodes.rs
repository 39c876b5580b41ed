//! The two nodes that go through the steps.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tandem_tests::{Result, fail};

use super::steps::{Act, Settle, Step};
use super::table::Line;
use crate::cases::flakey::{LAY_UNDER, turn};
use crate::machine::{Machine, Parts};
use crate::software::Software;
use crate::testbed::Testbed;

const NAMES: [&str; 2] = ["alice", "bob"];
const MEBIBYTES: u64 = 32;

/// What both are told. Resyncs are as fast as they can be.
const CONFIGURATION: &str = "cat >/etc/r0.res <<'END'
global { usage-count no; }
resource r0 {
    net { protocol C; timeout 30; connect-int 4; ping-int 4; verify-alg crc32c; }
    disk { on-io-error detach; resync-rate 100M; c-plan-ahead 0; }
    on alice { address 10.0.0.1:7789;
        volume 0 { device minor 0; disk /dev/vda; meta-disk internal; } }
    on bob { address 10.0.0.2:7789;
        volume 0 { device minor 0; disk /dev/vda; meta-disk internal; } }
}
END
cat >/run/helpers <<'END'
";

const HELPERS: &str = include_str!("helpers.sh");

/// Role, connection and disks of a node, in this order.
const STATE: &str = "echo $(adm role r0 | cut -d/ -f1) $(adm cstate r0) $(adm dstate r0)";

/// Time in which nodes see what has happened, and copy what is to be copied.
const PATIENCE: Duration = Duration::from_secs(90);

/// Time in which nothing must change to be the state behind a step.
const CALM: Duration = Duration::from_secs(4);

/// Two machines with the same software.
pub(super) struct Nodes {
    testbed: Testbed,
    software: Software,
    machines: [Machine; 2],
    /// Of machines that are off.
    off: [Option<Parts>; 2],
}

impl Nodes {
    /// Both, with the resource up.
    pub(super) fn boot(testbed: Testbed, software: Software) -> Result<Self> {
        let disks = [testbed.disk("alice", MEBIBYTES)?, testbed.disk("bob", MEBIBYTES)?];
        let machines = testbed.machines(NAMES, disks.map(|disk| vec![disk]))?;
        let mut nodes = Self { testbed, software, machines, off: [None, None] };
        for side in [0, 1] {
            nodes.configure(side)?;
            nodes.machines[side].sh("yes yes | adm create-md r0")?;
            nodes.start(side)?;
        }
        Ok(nodes)
    }

    /// Plays a step: lines of its column.
    pub(super) fn play(&mut self, step: &Step) -> Result<Vec<Line>> {
        let mut lines = vec![Line { label: step.title.to_owned(), value: String::new() }];
        for act in step.acts {
            lines.extend(self.act(*act)?);
        }
        let states = self.settle(step)?;
        for (name, value) in NAMES.into_iter().zip(states) {
            lines.push(Line { label: format!("    {name}"), value });
        }
        Ok(lines)
    }

    /// The end: both are taken down, and their disks are compared.
    pub(super) fn compare(&mut self) -> Result<Line> {
        let bytes = self.machines[1].sh("blockdev --getsize64 /dev/volume")?;
        let sum = format!("adm down r0; head -c {} /dev/vda | md5sum", bytes.trim());
        let [alice, bob] = &mut self.machines;
        let same = alice.sh(&sum)? == bob.sh(&sum)?;
        let value = if same { "the same" } else { "DIFFERENT" };
        Ok(Line { label: "data on both disks".to_owned(), value: value.to_owned() })
    }

    /// Cuts the power of `alice`, the Primary, under writes: time until `bob` has taken a write.
    pub(super) fn fail_over(&mut self) -> Result<Duration> {
        let [alice, bob] = &mut self.machines;
        alice.sh(&with_helpers("writer begin"))?;
        alice.cut_power()?;
        let began = Instant::now();
        bob.sh_within(
            &with_helpers("until adm primary r0; do sleep 0.05; done; write 1"),
            PATIENCE,
        )?;
        Ok(began.elapsed())
    }

    fn act(&mut self, act: Act) -> Result<Option<Line>> {
        match act {
            Act::Run(side, script) => {
                self.machines[side].sh(&with_helpers(script))?;
                Ok(None)
            }
            Act::Try(side, script) => {
                let answer = self.machines[side].try_sh(&with_helpers(script), PATIENCE)?;
                let value = match answer.code {
                    0 => "done".to_owned(),
                    code => format!("refused ({code})"),
                };
                Ok(Some(outcome(side, script, value)))
            }
            Act::TryUntilDone(side, script) => {
                self.machines[side].sh_until(script, PATIENCE)?;
                Ok(Some(outcome(side, script, "done".to_owned())))
            }
            Act::Note(side) => {
                let found = self.machines[side].sh_until(self.software.verified(), PATIENCE)?;
                Ok(Some(outcome(side, "blocks found", found.trim().to_owned())))
            }
            Act::Disk(side, kind) => turn(&mut self.machines[side], kind).map(|()| None),
            Act::Cut(side) => {
                self.off[side] = Some(self.machines[side].cut_power()?);
                Ok(None)
            }
            Act::Boot(side) => self.boot_again(side).map(|()| None),
        }
    }

    fn boot_again(&mut self, side: usize) -> Result<()> {
        let Some(parts) = self.off[side].take() else { return fail("the machine is on") };
        self.machines[side] = self.testbed.power_on(parts)?;
        self.machines[side].await_boot()?;
        self.configure(side)?;
        self.start(side)
    }

    fn configure(&mut self, side: usize) -> Result<()> {
        let install = self.software.install();
        let script = format!("{CONFIGURATION}{HELPERS}END\n{LAY_UNDER}\n{install}");
        self.machines[side].sh(&script).map(drop)
    }

    fn start(&mut self, side: usize) -> Result<()> {
        self.machines[side].sh(&self.software.start())?;
        self.machines[side].sh_until("adm up r0", Duration::from_secs(20)).map(drop)
    }

    /// What both are, when that is what was waited for and has not changed for a while; or when it
    /// never is.
    fn settle(&mut self, step: &Step) -> Result<[String; 2]> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.states()?;
        let mut since = Instant::now();
        while since.elapsed() < CALM || !is_settled(&last, step.settle) {
            if Instant::now() > deadline {
                return Ok(last.map(|state| format!("{state} (waited in vain)")));
            }
            sleep(Duration::from_millis(300));
            let states = self.states()?;
            if states != last {
                (last, since) = (states, Instant::now());
            }
        }
        Ok(last)
    }

    fn states(&mut self) -> Result<[String; 2]> {
        let mut states = [String::new(), String::new()];
        for (side, state) in states.iter_mut().enumerate() {
            *state = match &self.off[side] {
                Some(_) => "off".to_owned(),
                None => self.machines[side].sh(STATE)?.trim().to_owned(),
            };
        }
        Ok(states)
    }
}

fn with_helpers(script: &str) -> String {
    format!(". /run/helpers\n{script}")
}

fn outcome(side: usize, script: &str, value: String) -> Line {
    Line { label: format!("    {}: {}", NAMES[side], script.replace(" r0", "")), value }
}

fn is_settled(states: &[String; 2], settle: Settle) -> bool {
    // DRBD 8.4 names the resync where tandem names the connection.
    let connected = |state: &String| state.contains(" Connected ");
    let on = || states.iter().filter(|state| *state != "off");
    match settle {
        Settle::Fresh => on().all(connected),
        Settle::Together => on().all(|state| connected(state) && !state.contains("Inconsistent")),
        Settle::Apart => !on().any(|state| connected(state) || state.contains("NetworkFailure")),
        Settle::Parted => on().any(|state| state.contains("StandAlone")),
    }
}
