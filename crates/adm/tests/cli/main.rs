//! `tandemadm` as its users run it: plans, exit codes, messages, metadata on files.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong is to panic"
)]

mod create_md;
mod daemon;
mod dry_run;
mod metadata;
mod usage;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A resource `r0` of hosts `a` and `b` with volumes 0 and 1, whose disks of `a` are in `disks`.
fn config(disks: &Path) -> String {
    let disks = disks.display();
    format!(
        "resource r0 {{
  startup {{ wfc-timeout 30; }}
  on a {{
    node-id 0; address 10.0.0.1:7000;
    volume 0 {{ device minor 1; disk {disks}/disk0; meta-disk internal; }}
    volume 1 {{ device minor 2; disk {disks}/disk1; meta-disk {disks}/meta1; }}
  }}
  on b {{
    node-id 1; address 10.0.0.2:7000;
    volume 0 {{ device minor 1; disk /dev/sda; }}
    volume 1 {{ device minor 2; disk /dev/sdb; }}
  }}
}}
resource r1 {{
  net {{ protocol A; csums-alg crc32c; }}
  device minor 3; disk /dev/sdc; meta-disk /dev/sdd[1];
  on a {{ node-id 0; address 10.0.0.1:7001; }}
  on b {{ node-id 1; address 10.0.0.2:7001; }}
}}
"
    )
}

/// A folder with a configuration in it.
struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.res"), config(folder.path())).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command line as node `a`.
    fn run(&self, line: &str) -> Run {
        self.run_as("a", line)
    }

    /// Runs a command line of the personality `drbdmeta`, in which `DIR` is the folder.
    fn drbdmeta(&self, line: &str) -> Run {
        let line = line.replace("DIR", &self.path().display().to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandemadm"));
        command.arg("drbdmeta").args(line.split_whitespace()).stdin(Stdio::null());
        Run::new(self, &command.output().unwrap())
    }

    fn run_as(&self, node: &str, line: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandemadm"));
        command.env_remove("TANDEM_NODE").env_remove("TANDEM_RUN_DIR");
        command.args(["--node", node, "--run-dir"]).arg(self.path());
        if !line.split_whitespace().any(|word| word == "-c") {
            command.arg("-c").arg(self.path().join("t.res"));
        }
        command.args(line.split_whitespace()).stdin(Stdio::null());
        Run::new(self, &command.output().unwrap())
    }
}

/// What a run said, with the folder's name replaced by `DIR`.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn new(setup: &Setup, output: &Output) -> Self {
        let folder = setup.path().display().to_string();
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(&folder, "DIR");
        let code = output.status.code().expect("it was not killed");
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}
