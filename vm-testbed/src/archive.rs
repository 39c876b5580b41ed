//! The archive that a kernel unpacks as its first root: cpio's "newc" format, as much as that takes
//! (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).

/// An archive being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTERS: u32 = 0o020_600;

impl Archive {
    /// A folder; those above it come first.
    pub(crate) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, &[], (0, 0));
    }

    /// A file that may be run.
    pub(crate) fn program(&mut self, name: &str, bytes: &[u8]) {
        self.entry(name, PROGRAM, bytes, (0, 0));
    }

    /// A character device.
    pub(crate) fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, CHARACTERS, &[], (major, minor));
    }

    /// All of it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("files of a few megabytes");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        let (owner, links, time, on_device, checksum) = (0, 1, 0, 0, 0);
        let header = [
            self.entries,
            mode,
            owner,
            owner,
            links,
            time,
            size,
            on_device,
            on_device,
            major,
            minor,
            name_size,
            checksum,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_as_the_format_says() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.program("init", b"hello");
        let bytes = archive.finish();
        let header = "070701\
                      00000001000041ED000000000000000000000001000000000000000000000000\
                      0000000000000000000000000000000400000000bin\0\0\0";
        assert_eq!(bytes[..header.len()], *header.as_bytes());
        let init = &bytes[header.len()..];
        assert_eq!(init[54..62], *b"00000005", "length of the content");
        assert_eq!(init[110..124], *b"init\0\0hello\0\0\0");
        assert!(bytes.len().is_multiple_of(4) && bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
