//! tandem and DRBD 8.4 through the same faults, on machines of the same kind: what each of their
//! nodes is after every step, side by side.

use std::path::Path;
use std::time::Duration;

use tandem_tests::{Context, Result, fail};

use super::Case;
use crate::software::Software;
use crate::testbed::Testbed;

mod nodes;
mod steps;
mod table;

use nodes::Nodes;
use steps::{STEPS, UNTIL_IN_SYNC};
use table::Line;

pub(super) const CASE: Case = Case {
    name: "drbd",
    story: "1. Two machines with tandem go through promotions, cut cables, power cuts, a split\n   \
            brain, failing disks and a verify.\n\
            2. Two machines with DRBD 8.4 do, at the same time, with the same configuration\n   \
            and commands.\n\
            3. What every command came to, and what each node was behind it, are as recorded,\n   \
            where they are the same and where they differ.\n\
            With UPDATE_GOLDEN=1 the record is written anew.",
    run,
};

/// The record: the table of a run.
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cases/drbd/expected.txt");

/// Time from a power cut of the Primary to the first write that the other node has taken.
pub(crate) fn fail_over(testbed: Testbed, software: Software) -> Result<Duration> {
    let mut nodes = Nodes::boot(testbed, software)?;
    for step in &STEPS[..UNTIL_IN_SYNC] {
        nodes.play(step)?;
    }
    nodes.fail_over()
}

fn run(testbed: &Testbed) -> Result<()> {
    let [tandem, drbd] = Software::both(testbed.binaries())?;
    let (tandem, drbd) = std::thread::scope(|scope| {
        let drbd = scope.spawn(|| column(testbed, drbd));
        (column(testbed, tandem), drbd.join().expect("a column does not panic"))
    });
    let (tandem, drbd) = (tandem?, drbd?);
    let table = table::side_by_side(&tandem, &drbd);
    std::fs::write(testbed.path("table.txt"), &table).about("the table")?;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(EXPECTED, &table).about(EXPECTED);
    }
    let expected = std::fs::read_to_string(EXPECTED).about(EXPECTED)?;
    match table::first_difference(&expected, &table) {
        None => Ok(()),
        Some(difference) => fail(format!(
            "not as recorded in {}, line {difference}",
            Path::new(EXPECTED).file_name().unwrap_or_default().display()
        )),
    }
}

/// All steps with one software.
fn column(testbed: &Testbed, software: Software) -> Result<Vec<Line>> {
    let mut nodes = Nodes::boot(testbed.part(software.name())?, software)?;
    let lines: Result<Vec<_>> = STEPS.iter().map(|step| nodes.play(step)).collect();
    let mut column = lines?.concat();
    column.push(nodes.compare()?);
    Ok(column)
}
