//! What is asked of a candidate, by fio over NBD.

use std::time::Duration;

use tandem_tests::tool::run_tool;
use tandem_tests::{Context, Result, fail};

/// A pattern of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// As tables name it.
    pub name: &'static str,
    /// fio's name of the pattern.
    rw: &'static str,
    /// Bytes of a request.
    pub bytes: u64,
    /// Requests in flight.
    depth: u32,
    /// A flush behind so many writes; 0 for none.
    flush_every: u32,
}

const fn workload(
    name: &'static str,
    rw: &'static str,
    bytes: u64,
    depth: u32,
    flush_every: u32,
) -> Workload {
    Workload { name, rw, bytes, depth, flush_every }
}

const WRITE_QD1: Workload = workload("4k write qd1", "randwrite", 4096, 1, 0);
const WRITE_QD32: Workload = workload("4k write qd32", "randwrite", 4096, 32, 0);
const WRITE_FLUSHED: Workload = workload("4k write qd1, flush each", "randwrite", 4096, 1, 1);
const READ_QD32: Workload = workload("4k read qd32", "randread", 4096, 32, 0);
const LONG_WRITE: Workload = workload("1M write qd4", "write", 1 << 20, 4, 0);

/// The ones that say most.
pub const QUICK: &[Workload] = &[WRITE_QD1, WRITE_QD32, WRITE_FLUSHED, READ_QD32, LONG_WRITE];

/// What memory says something about.
pub const IN_MEMORY: &[Workload] = &[WRITE_QD1, WRITE_QD32];

/// All of them.
pub const ALL: &[Workload] = &[
    WRITE_QD1,
    workload("4k write qd8", "randwrite", 4096, 8, 0),
    WRITE_QD32,
    workload("4k write qd128", "randwrite", 4096, 128, 0),
    WRITE_FLUSHED,
    workload("4k write qd32, flush every 32", "randwrite", 4096, 32, 32),
    workload("4k read qd1", "randread", 4096, 1, 0),
    READ_QD32,
    workload("4k 70/30 qd32", "randrw", 4096, 32, 0),
    workload("64k write qd8", "randwrite", 64 << 10, 8, 0),
    LONG_WRITE,
    workload("1M read qd4", "read", 1 << 20, 4, 0),
];

/// What a run came to.
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

impl Workload {
    /// Runs it against an export for so long.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn run(&self, uri: &str, bytes: u64, length: Duration) -> Result<Figures> {
        let arguments = [
            "--name=bench".to_owned(),
            "--ioengine=nbd".to_owned(),
            format!("--uri={uri}"),
            format!("--rw={}", self.rw),
            "--rwmixread=70".to_owned(),
            format!("--bs={}", self.bytes),
            format!("--iodepth={}", self.depth),
            format!("--fsync={}", self.flush_every),
            format!("--size={bytes}"),
            "--time_based=1".to_owned(),
            format!("--runtime={}ms", length.as_millis()),
            "--randrepeat=0".to_owned(),
            "--norandommap=1".to_owned(),
            "--thread=1".to_owned(),
            "--output-format=json".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let text = run_tool("fio", &arguments, length + Duration::from_secs(60))?.ok()?;
        Self::parse(&text).about(self.name)
    }

    /// Writes every block of an export once.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn fill(uri: &str, bytes: u64) -> Result<()> {
        let (uri, size) = (format!("--uri={uri}"), format!("--size={bytes}"));
        let arguments =
            ["--name=fill", "--ioengine=nbd", &uri, "--rw=write", "--bs=1M", "--iodepth=4", &size];
        run_tool("fio", &arguments, Duration::from_secs(300))?.ok().map(drop)
    }

    /// The figures in fio's JSON; what stands before it is no part of that.
    fn parse(text: &str) -> Result<Figures> {
        let begin = text.find('{').unwrap_or(0);
        let value: serde_json::Value = serde_json::from_str(&text[begin..])?;
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
        Ok(Figures {
            iops: sum("iops"),
            requests: total("read") + total("write"),
            p50_us: percentile("50.000000"),
            p99_us: percentile("99.000000"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_out_of_fios_json() {
        let text = r#"note: something
{"jobs": [{"error": 0,
  "read": {"iops": 70.5, "total_ios": 141, "clat_ns": {}},
  "write": {"iops": 30.0, "total_ios": 60,
    "clat_ns": {"percentile": {"50.000000": 5000, "99.000000": 90000}}}}]}"#;
        let figures = Workload::parse(text).expect("fio's JSON");
        assert_eq!(figures, Figures { iops: 100.5, requests: 201, p50_us: 5.0, p99_us: 90.0 });
        assert!(Workload::parse(r#"{"jobs": [{"error": 5}]}"#).is_err());
        assert!(Workload::parse("no fio").is_err());
    }
}
