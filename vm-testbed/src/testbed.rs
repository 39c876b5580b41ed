//! Where a case runs: a folder for its files and logs, and the machines that it asks for.
//!
//! Every machine has a cable to every other one, and is known there by name. Whatever happens, its
//! processes end with the testbed; logs stay in the folder.

use std::path::{Path, PathBuf};

use tandem_tests::{Binaries, Context, Result};

use crate::acceleration::Acceleration;
use crate::disk::Disk;
use crate::kernel::Kernel;
use crate::machine::{Machine, Parts};
use crate::network::cable;
use crate::record::Record;

/// Memory of a machine, in MiB.
const MEMORY: u32 = 640;

/// What all cases share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The machines' kernel.
    pub kernel: Kernel,
    /// How they run.
    pub acceleration: Acceleration,
    /// The programs under test, which machines find where the host has them.
    pub binaries: Binaries,
}

/// The place of one case.
#[derive(Debug)]
pub struct Testbed {
    shared: Shared,
    folder: PathBuf,
    /// Of each machine, in MiB.
    memory: u32,
}

impl Testbed {
    /// With an empty folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(shared: Shared, folder: &Path) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).about(folder.display())?;
        }
        std::fs::create_dir_all(folder).about(folder.display())?;
        // Machines name files of the host from its root on.
        let folder = folder.canonicalize().about(folder.display())?;
        Ok(Self { shared, folder, memory: MEMORY })
    }

    /// A part of it, with a folder of its own in this one.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn part(&self, name: &str) -> Result<Self> {
        Self::new(self.shared.clone(), &self.folder.join(name))
    }

    /// A part of it whose machines have so many MiB of memory, and count what they do.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn counting(&self, name: &str, memory: u32) -> Result<Self> {
        let shared = Shared { acceleration: Acceleration::Counted, ..self.shared.clone() };
        Ok(Self { memory, ..Self::new(shared, &self.folder.join(name))? })
    }

    /// Where a file of this name lies in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The programs under test.
    pub fn binaries(&self) -> &Binaries {
        &self.shared.binaries
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes down what a case has found, in the file `found` of its folder.
    ///
    /// # Errors
    /// It cannot.
    pub fn note(&self, text: &str) -> Result<()> {
        Record::open(&self.folder.join("found"))?.note(text)
    }

    /// A disk of so many MiB, all zero.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn disk(&self, name: &str, mebibytes: u64) -> Result<Disk> {
        self.file(name, mebibytes).map(Disk::File)
    }

    /// A file for a disk of so many MiB, all zero.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn file(&self, name: &str, mebibytes: u64) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.disk"));
        let file = std::fs::File::create(&path).about(path.display())?;
        file.set_len(mebibytes << 20).about(path.display())?;
        Ok(path)
    }

    /// Machines of these names, one after the other with addresses from 10.0.0.1 on, each with the
    /// disks, all of them up.
    ///
    /// # Errors
    /// One does not come up.
    pub fn machines<const N: usize>(
        &self,
        names: [&str; N],
        disks: [Vec<Disk>; N],
    ) -> Result<[Machine; N]> {
        let mut all = Vec::new();
        for (name, disks) in names.into_iter().zip(disks) {
            let name = name.to_owned();
            let (cards, addresses) = (Vec::new(), Vec::new());
            all.push(Parts { name, memory: self.memory, disks, cards, addresses });
        }
        let mut cables = 0;
        for one in 0..N {
            for other in one + 1..N {
                let cards = cable(cables, &self.folder);
                for (end, card) in [one, other].into_iter().zip(cards) {
                    all[end].cards.push(card);
                    all[end].addresses.push(format!("10.0.{cables}.{}", end + 1));
                }
                cables += 1;
            }
        }
        let machines = all.into_iter().map(|parts| self.power_on(parts));
        let mut machines = machines.collect::<Result<Vec<Machine>>>()?;
        machines.iter_mut().try_for_each(Machine::await_boot)?;
        Ok(machines.try_into().expect("one for each name"))
    }

    /// Switches on a machine of these parts; `await_boot` tells when it is up.
    ///
    /// # Errors
    /// It does not start.
    pub fn power_on(&self, parts: Parts) -> Result<Machine> {
        Machine::power_on(parts, &self.shared.kernel, self.shared.acceleration, &self.folder)
    }
}
