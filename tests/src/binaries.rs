//! Where `tandemd` and `tandemadm` are.

use std::path::{Path, PathBuf};

use crate::{Failure, Result};

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The node daemon.
    pub tandemd: PathBuf,
    /// The admin command.
    pub tandemadm: PathBuf,
}

impl Binaries {
    /// Those in `TANDEM_BIN_DIR`, or the release build in the target folder that the running
    /// program is in, or a build of the same profile beside it.
    ///
    /// # Errors
    /// They are in none of these places.
    pub fn find() -> Result<Self> {
        let folders = match std::env::var_os("TANDEM_BIN_DIR") {
            Some(folder) => vec![PathBuf::from(folder)],
            None => {
                let target = target_dir()?;
                vec![target.join("release"), target.join("debug")]
            }
        };
        let found = folders.iter().map(|folder| Self::inside(folder)).find(Self::exist);
        found.ok_or_else(|| {
            let places: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
            Failure::new(format!(
                "tandemd and tandemadm are not in {}: build them with 'cargo build --release -p \
                 tandem-node -p tandem-adm', or set TANDEM_BIN_DIR",
                places.join(" or ")
            ))
        })
    }

    fn inside(folder: &Path) -> Self {
        Self { tandemd: folder.join("tandemd"), tandemadm: folder.join("tandemadm") }
    }

    fn exist(&self) -> bool {
        self.tandemd.is_file() && self.tandemadm.is_file()
    }
}

/// Cargo's target folder, in which the running program is.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let is_profile = |folder: &&Path| folder.ends_with("debug") || folder.ends_with("release");
    let profile = program.ancestors().find(is_profile);
    let target = profile.and_then(Path::parent).map(Path::to_owned);
    target.ok_or_else(|| {
        let program = program.display();
        Failure::new(format!("{program} is in no target folder of cargo: set TANDEM_BIN_DIR"))
    })
}
