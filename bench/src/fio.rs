//! fio: jobs that all do the same, each against an export or a file of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tandem_tests::tool::tool;
use tandem_tests::{Context, Result, fail, run};

/// What a job works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An NBD export, by its URI.
    Export(String),
    /// A file, past the page cache.
    File(PathBuf),
}

/// What each job does.
#[derive(Clone, Debug)]
pub struct Jobs<'a> {
    /// One job for each.
    pub targets: &'a [Target],
    /// fio's name of the pattern.
    pub rw: &'a str,
    /// Bytes of a request.
    pub request_bytes: u64,
    /// Requests in flight, of each job.
    pub depth: u32,
    /// A flush behind so many writes; 0 for none.
    pub flush_every: u32,
    /// Bytes of each target.
    pub bytes: u64,
    /// How long; without it, once over each target.
    pub length: Option<Duration>,
    /// The processor that jobs are bound to.
    pub processor: Option<usize>,
}

/// What a run came to, all jobs together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Requests a second, reads and writes.
    pub iops: f64,
    /// Requests in all.
    pub requests: u64,
    /// Median latency, microseconds: of writes where there are any.
    pub p50_us: f64,
    /// The latency that one in a hundred exceeds.
    pub p99_us: f64,
}

/// Over the length of the run: a start, and an end with requests that hang for a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a pass over the targets may take.
const PASS_LIMIT: Duration = Duration::from_secs(300);

impl Jobs<'_> {
    /// Runs them.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn run(&self) -> Result<Figures> {
        let limit = self.length.map_or(PASS_LIMIT, |length| length + PATIENCE);
        Figures::parse(&run(&mut self.command()?, limit)?.ok()?)
    }

    /// The command line, not run.
    ///
    /// # Errors
    /// fio is missing.
    pub fn command(&self) -> Result<Command> {
        let mut command = tool("fio")?;
        command.args([
            format!("--rw={}", self.rw),
            "--rwmixread=70".to_owned(),
            format!("--bs={}", self.request_bytes),
            format!("--iodepth={}", self.depth),
            format!("--fsync={}", self.flush_every),
            format!("--size={}", self.bytes),
        ]);
        command.args(["--randrepeat=0", "--norandommap=1", "--thread=1", "--group_reporting=1"]);
        command.arg("--output-format=json");
        match self.length {
            Some(length) => {
                command.args(["--time_based=1", &format!("--runtime={}ms", length.as_millis())])
            }
            // What a disk is filled with repeats itself nowhere, as data do: rsync, whose blocks
            // are found by a checksum, does not come to an end of those that are all alike.
            None => command.arg("--refill_buffers=1"),
        };
        if let Some(processor) = self.processor {
            command.arg(format!("--cpus_allowed={processor}"));
        }
        for (number, target) in self.targets.iter().enumerate() {
            command.arg(format!("--name=job{number}"));
            match target {
                Target::Export(uri) => command.args(["--ioengine=nbd", &format!("--uri={uri}")]),
                Target::File(path) => {
                    let file = format!("--filename={}", path.display());
                    command.args(["--ioengine=io_uring", "--direct=1", &file])
                }
            };
        }
        Ok(command)
    }
}

impl Figures {
    /// Those in fio's JSON; what stands before it is no part of that.
    ///
    /// # Errors
    /// It is none, or the jobs failed.
    pub fn parse(text: &str) -> Result<Self> {
        let begin = text.find('{').unwrap_or(0);
        let value: serde_json::Value = serde_json::from_str(&text[begin..]).about("fio's JSON")?;
        let job = &value["jobs"][0];
        if job["error"].as_u64() != Some(0) {
            return fail(format!("fio reports error {}", job["error"]));
        }
        let sum = |key: &str| {
            let of = |side: &str| job[side][key].as_f64().unwrap_or(0.0);
            of("read") + of("write")
        };
        let side = if job["write"]["total_ios"].as_u64() > Some(0) { "write" } else { "read" };
        let percentile =
            |name: &str| job[side]["clat_ns"]["percentile"][name].as_f64().unwrap_or(0.0) / 1000.0;
        let total = |side: &str| job[side]["total_ios"].as_u64().unwrap_or(0);
        Ok(Self {
            iops: sum("iops"),
            requests: total("read") + total("write"),
            p50_us: percentile("50.000000"),
            p99_us: percentile("99.000000"),
        })
    }

    /// Those of one of so many jobs, on average.
    #[must_use]
    pub fn of_each(self, jobs: usize) -> Self {
        let jobs = u32::try_from(jobs.max(1)).unwrap_or(u32::MAX);
        let requests = self.requests / u64::from(jobs);
        Self { iops: self.iops / f64::from(jobs), requests, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"note: something
{"jobs": [{"error": 0,
  "read": {"iops": 70.5, "total_ios": 141, "clat_ns": {}},
  "write": {"iops": 30.0, "total_ios": 60,
    "clat_ns": {"percentile": {"50.000000": 5000, "99.000000": 90000}}}}]}"#;

    #[test]
    fn figures_are_read_out_of_fios_json() {
        let figures = Figures::parse(TEXT).expect("fio's JSON");
        assert_eq!(figures, Figures { iops: 100.5, requests: 201, p50_us: 5.0, p99_us: 90.0 });
        assert!(Figures::parse(r#"{"jobs": [{"error": 5}]}"#).is_err());
        assert!(Figures::parse("no fio").is_err());
    }

    #[test]
    fn a_request_of_two_copies_is_one() {
        let figures = Figures { iops: 100.0, requests: 200, p50_us: 5.0, p99_us: 9.0 };
        let each = figures.of_each(2);
        assert_eq!(each, Figures { iops: 50.0, requests: 100, p50_us: 5.0, p99_us: 9.0 });
    }

    #[test]
    fn each_target_has_a_job_of_its_own() {
        let targets = [Target::Export("nbd:x".to_owned()), Target::File("/tmp/b".into())];
        let jobs = Jobs {
            targets: &targets,
            rw: "randwrite",
            request_bytes: 4096,
            depth: 8,
            flush_every: 0,
            bytes: 1 << 20,
            length: None,
            processor: Some(1),
        };
        let command = jobs.command().expect("fio is installed");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let line = words.join(" ");
        let of_jobs = "--cpus_allowed=1 --name=job0 --ioengine=nbd --uri=nbd:x --name=job1 \
                       --ioengine=io_uring --direct=1 --filename=/tmp/b";
        assert!(line.ends_with(of_jobs), "{line}");
        assert!(!line.contains("time_based") && line.contains("refill"), "{line}");
    }
}
