//! The input that is being run, on file: where the process dies of it, the next one finds it.
//!
//! A stack that overflows, an allocation that is refused, and a run without an end leave nobody to
//! say what the input was.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file. It is removed in good order when this is dropped.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins one in `folder`; with it comes the input that an earlier process died of.
    ///
    /// # Errors
    /// The file cannot be made or read.
    pub fn begin(folder: &Path, target: &str) -> io::Result<(Self, Option<Vec<u8>>)> {
        let path = folder.join(format!("{target}.running"));
        let left =
            std::fs::read(&path).ok().and_then(|left| Self::input(&left).map(<[u8]>::to_vec));
        let file = File::create(&path)?;
        Ok((Self { path, file }, left))
    }

    /// This input is run next.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, input: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(8 + input.len());
        bytes.extend_from_slice(&(input.len() as u64).to_le_bytes());
        bytes.extend_from_slice(input);
        self.file.write_all_at(&bytes, 0)
    }

    /// What was noted last.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last(&self) -> io::Result<Vec<u8>> {
        let bytes = std::fs::read(&self.path)?;
        Ok(Self::input(&bytes).unwrap_or_default().to_vec())
    }

    fn input(bytes: &[u8]) -> Option<&[u8]> {
        let (len, rest) = bytes.split_first_chunk()?;
        rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // One that stays is looked at once more, no harm is done.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::Journal;

    #[test]
    fn what_a_process_died_of_is_found_by_the_next_one() {
        let folder = std::env::temp_dir().join(format!("tandem-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (journal, left) = Journal::begin(&folder, "t").unwrap();
        assert_eq!(left, None);
        journal.note(b"a longer one").unwrap();
        journal.note(b"short").unwrap();
        assert_eq!(journal.last().unwrap(), b"short");
        std::mem::forget(journal);
        let (journal, left) = Journal::begin(&folder, "t").unwrap();
        assert_eq!(left.as_deref(), Some(&b"short"[..]));
        drop(journal);
        assert_eq!(Journal::begin(&folder, "t").unwrap().1, None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
