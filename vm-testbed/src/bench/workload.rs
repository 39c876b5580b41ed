//! Loads: options of fio.

/// A load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    /// Its name in tables.
    pub name: &'static str,
    /// What fio is told: the pattern, the size of a request, how many at once and in all.
    pub options: &'static str,
}

const fn workload(name: &'static str, options: &'static str) -> Workload {
    Workload { name, options }
}

/// All of them.
pub(super) const WORKLOADS: &[Workload] = &[
    workload("4k write qd1", "--rw=randwrite --bs=4k --iodepth=1 --number_ios=4000"),
    workload("4k write qd32", "--rw=randwrite --bs=4k --iodepth=32 --number_ios=12000"),
    workload(
        "4k write qd1, flush each",
        "--rw=randwrite --bs=4k --iodepth=1 --number_ios=4000 --fsync=1",
    ),
    workload("1M write qd4", "--rw=write --bs=1m --iodepth=4 --number_ios=200"),
    workload("4k read qd1", "--rw=randread --bs=4k --iodepth=1 --number_ios=4000"),
    workload("4k read qd32", "--rw=randread --bs=4k --iodepth=32 --number_ios=12000"),
    workload("1M read qd4", "--rw=read --bs=1m --iodepth=4 --number_ios=200"),
];
