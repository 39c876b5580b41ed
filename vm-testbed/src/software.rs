//! What replicates on a machine: tandem, or the DRBD 8.4 of the machines' kernel.
//!
//! Both read the same configuration, `/etc/r0.res`, and are told the same commands: `adm` is
//! `tandemadm` or `drbdadm`, and `/dev/volume` the device of minor 0.

use std::path::PathBuf;

use tandem_tests::{Binaries, Context, Result};

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Software {
    /// The programs under test.
    Tandem {
        /// `tandemd`.
        daemon: PathBuf,
        /// `tandemadm`.
        admin: PathBuf,
    },
    /// The kernel's DRBD, and Debian's drbd-utils.
    Drbd,
}

impl Software {
    /// Both, tandem first.
    ///
    /// # Errors
    /// The folder we are in is gone.
    pub fn both(binaries: &Binaries) -> Result<[Self; 2]> {
        let programs = [&binaries.tandemd, &binaries.tandemadm].map(std::path::absolute);
        let [daemon, admin] = programs.map(|path| path.about("the programs under test"));
        Ok([Self::Tandem { daemon: daemon?, admin: admin? }, Self::Drbd])
    }

    /// Its name, in messages and of folders.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tandem { .. } => "tandem",
            Self::Drbd => "drbd",
        }
    }

    /// A script that loads what is needed, and makes `adm` and `/dev/volume`.
    pub fn install(&self) -> String {
        let command = match self {
            Self::Tandem { admin, .. } => format!("{} -c /etc/r0.res", admin.display()),
            Self::Drbd => "drbdadm -c /etc/r0.res".to_owned(),
        };
        let more = match self {
            Self::Tandem { .. } => {
                "mkdir -p /run/tandem\n\
                 printf '[nbd]\\nkernel_attach = true\\n' >/etc/tandemd.toml\n\
                 modprobe nbd; ln -sfn /dev/nbd0 /dev/volume"
            }
            Self::Drbd => {
                "mkdir -p /run/lock /var/lib/drbd\n\
                 modprobe drbd; ln -sfn /dev/drbd0 /dev/volume"
            }
        };
        format!(
            "printf '#!/bin/sh\\nexec {command} \"$@\"\\n' >/usr/local/sbin/adm\n\
             chmod +x /usr/local/sbin/adm\n{more}"
        )
    }

    /// A script that starts what runs, where the kernel does not; `adm up r0` comes behind it.
    pub fn start(&self) -> String {
        match self {
            Self::Tandem { daemon, .. } => format!(
                "setsid {} -c /etc/r0.res --tandemd-config /etc/tandemd.toml >>/run/tandemd.log \
                 2>&1 </dev/null &\necho $! >/run/tandemd.pid",
                daemon.display()
            ),
            Self::Drbd => String::new(),
        }
    }

    /// A script that prints what the last verify has found, and fails until it is done.
    pub fn verified(&self) -> &'static str {
        match self {
            Self::Tandem { .. } => {
                "grep -o 'online verify found [0-9]*' /run/tandemd.log | cut -d' ' -f4 | grep ."
            }
            Self::Drbd => "dmesg | grep -o 'Online verify found [0-9]*' | cut -d' ' -f4 | grep .",
        }
    }
}
