//! The kernel of the machines, as `scripts/install-vm-tools` has fetched it, and the initramfs that
//! makes the host's root theirs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tandem_tests::tool::tool;
use tandem_tests::{Context, Failure, Result, ensure};

use crate::archive::Archive;

const INIT: &str = include_str!("../guest/init");
const AGENT: &str = include_str!("../guest/agent");

/// What the root needs; Debian's kernel has the rest built in.
const MODULES: [&str; 3] = ["overlay", "9pnet_virtio", "9p"];

/// Files that a machine starts from.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// Its first root.
    pub initramfs: PathBuf,
    /// The folder `lib/modules`.
    pub modules: PathBuf,
}

impl Kernel {
    /// Makes the initramfs in `cache`, the folder that `scripts/install-vm-tools` was given.
    ///
    /// # Errors
    /// It was not, or what it has fetched is not as expected.
    pub fn prepare(cache: &Path) -> Result<Self> {
        let version = std::fs::read_to_string(cache.join("kernel/done"));
        let version = version.map_err(|_| {
            let cache = cache.display();
            Failure::new(format!("no kernel in {cache}: run scripts/install-vm-tools {cache}"))
        })?;
        let modules = cache.join("kernel/lib/modules");
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "proc", "sys", "modules", "lower", "upper", "root"] {
            archive.folder(folder);
        }
        archive.device("dev/console", 5, 1);
        archive.program("init", INIT.as_bytes());
        archive.program("agent", AGENT.as_bytes());
        let busybox = cache.join("busybox/bin/busybox");
        archive.program("bin/busybox", &std::fs::read(&busybox).about(busybox.display())?);
        let folder = modules.join(version.trim());
        let index = std::fs::read_to_string(folder.join("modules.dep")).about("modules.dep")?;
        for (number, module) in in_order(&index, &MODULES)?.iter().enumerate() {
            let name = Path::new(module).file_name().unwrap_or_default().to_string_lossy();
            let name = name.split('.').next().unwrap_or_default();
            let bytes = unpacked(&folder.join(module))?;
            archive.program(&format!("modules/{number:02}-{name}.ko"), &bytes);
        }
        let initramfs = cache.join("initramfs");
        std::fs::write(&initramfs, archive.finish()).about(initramfs.display())?;
        Ok(Self { image: cache.join("kernel/vmlinuz"), initramfs, modules })
    }
}

/// The modules named and all that they need, in the order in which they are loaded, by the index
/// that depmod makes.
fn in_order<'a>(index: &'a str, names: &[&str]) -> Result<Vec<&'a str>> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        let file = format!("/{name}.ko");
        let line = index.lines().filter_map(|line| line.split_once(':'));
        let (module, needs) = line
            .clone()
            .find(|(module, _)| module.trim_end_matches(".xz").ends_with(&file))
            .ok_or_else(|| Failure::new(format!("the kernel has no module {name}")))?;
        // What is needed first stands last.
        for module in needs.split_whitespace().rev().chain([module]) {
            if !found.contains(&module) {
                found.push(module);
            }
        }
    }
    Ok(found)
}

fn unpacked(module: &Path) -> Result<Vec<u8>> {
    if module.extension().is_none_or(|extension| extension != "xz") {
        return std::fs::read(module).about(module.display());
    }
    let mut xz: Command = tool("xz")?;
    let output = xz.arg("-dc").arg(module).stderr(Stdio::inherit()).output().about("xz")?;
    ensure(output.status.success(), || format!("cannot unpack {}", module.display()))?;
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_behind_what_they_need() {
        let index = "fs/netfs/netfs.ko.xz:\n\
                     net/9p/9pnet.ko.xz: fs/netfs/netfs.ko.xz\n\
                     fs/9p/9p.ko.xz: net/9p/9pnet.ko.xz fs/netfs/netfs.ko.xz\n\
                     net/9p/9pnet_virtio.ko: net/9p/9pnet.ko.xz fs/netfs/netfs.ko.xz\n";
        let order = in_order(index, &["9pnet_virtio", "9p"]).unwrap();
        let names = ["fs/netfs/netfs.ko.xz", "net/9p/9pnet.ko.xz", "net/9p/9pnet_virtio.ko"];
        assert_eq!(order[..3], names);
        assert_eq!(order[3..], ["fs/9p/9p.ko.xz"]);
        assert!(in_order(index, &["nbd"]).is_err());
    }
}
