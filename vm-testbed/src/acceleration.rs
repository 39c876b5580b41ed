//! How machines run: on the host's processor where KVM can do that, else emulated.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::time::{Duration, Instant};

use tandem_tests::tool::tool;
use tandem_tests::{Process, Result};

use crate::kernel::Kernel;

/// Time in which a kernel under KVM has something to say, with much to spare.
const PROBE: Duration = Duration::from_secs(5);

/// Who carries out what a machine's processor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceleration {
    /// The host's processor.
    Kvm,
    /// QEMU, some ten times slower.
    Emulation,
    /// QEMU, which counts: the machine's clock goes on by a nanosecond for each instruction, and to
    /// the next event where there is nothing to do. How busy the host is makes no difference to it.
    Counted,
}

impl Acceleration {
    /// Options of QEMU.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Emulation => &["-accel", "tcg", "-cpu", "max"],
            // Without the instructions that copy any length at once, so that copies count.
            Self::Counted => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
                "-cpu",
                "max,-erms,-fsrm",
            ],
        }
    }

    /// KVM where a kernel starts under it, which a file `/dev/kvm` does not say: virtual machines
    /// have some that know only a part of it.
    ///
    /// # Errors
    /// QEMU is missing.
    pub fn find(kernel: &Kernel, folder: &Path) -> Result<Self> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Self::Emulation);
        }
        let (console, log) = (folder.join("probe.console"), folder.join("probe.qemu"));
        let mut qemu = tool("qemu-system-x86_64")?;
        qemu.args(Self::Kvm.options());
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        qemu.args(["-m", "256", "-append", "console=ttyS0 panic=-1"]);
        qemu.arg("-kernel").arg(&kernel.image);
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        let mut process = Process::start("QEMU", &mut qemu, &log)?;
        let deadline = Instant::now() + PROBE;
        while Instant::now() < deadline && process.is_running()? {
            if std::fs::metadata(&console).is_ok_and(|file| file.len() > 0) {
                return Ok(Self::Kvm);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self::Emulation)
    }
}

impl Display for Acceleration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Emulation => "emulation",
            Self::Counted => "emulation that counts",
        })
    }
}
