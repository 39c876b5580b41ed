//! Where a backing file has data and where holes, by asking its file system.
//!
//! The file system may wait for its disk, so each open disk that is asked about has a thread for
//! it. Between two questions the thread does not hold the file: a disk that is closed is unlocked.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak, mpsc};
use std::thread;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use tandem_nbd::Extent;
use tandem_nbd::wire::allocation::{HOLE, ZERO};

use crate::export::Question;
use crate::mail::{Mail, Mailbox};
use crate::opener::SizedFiles;
use crate::shard::EXTENTS_MAX;

/// The thread's letter box. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Surveyor {
    questions: mpsc::Sender<Question>,
}

impl Surveyor {
    /// Starts a thread that answers by [`Mail::Surveyed`]; `None` if the system has none to give.
    pub(crate) fn start(mailbox: Mailbox, files: &Arc<SizedFiles>) -> Option<Self> {
        let (questions, inbox) = mpsc::channel();
        let files = Arc::downgrade(files);
        let body = move || answer(&mailbox, &files, &inbox);
        let started = thread::Builder::new().name("survey-disk".into()).spawn(body);
        started.is_ok().then_some(Self { questions })
    }

    /// Whether the thread is there to answer.
    pub(crate) fn ask(&self, question: Question) -> bool {
        self.questions.send(question).is_ok()
    }
}

fn answer(mailbox: &Mailbox, files: &Weak<SizedFiles>, inbox: &mpsc::Receiver<Question>) {
    while let Ok(question) = inbox.recv() {
        let Question { client, cookie, range, one, .. } = question;
        let len = u64::from(range.len);
        let extents = match files.upgrade() {
            Some(files) => {
                let count_max = if one { 1 } else { EXTENTS_MAX };
                survey(files.data.as_fd(), range.offset, len, count_max)
            }
            None => vec![Extent { len, flags: 0 }],
        };
        mailbox.post(Mail::Surveyed { client, answer: (cookie, extents) });
    }
}

/// Extents from `offset` on, no more than `count_max`. What the file system does not tell counts as
/// data, which is always true enough.
fn survey(file: BorrowedFd<'_>, offset: u64, len: u64, count_max: usize) -> Vec<Extent> {
    let end = offset + len;
    let mut extents = Vec::new();
    let mut at = offset;
    while at < end && extents.len() < count_max {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, end),
            // Nothing but a hole up to the end of the file.
            Err(Errno::NXIO) => end,
            Err(_) => at,
        };
        if data > at {
            extents.push(Extent { len: data - at, flags: HOLE | ZERO });
            at = data;
            continue;
        }
        let hole = match seek(file, SeekFrom::Hole(at)) {
            Ok(hole) if hole > at => hole.min(end),
            Ok(_) | Err(_) => end,
        };
        extents.push(Extent { len: hole - at, flags: 0 });
        at = hole;
    }
    extents
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_told_from_data() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(&[1; 65_536], 1 << 20).unwrap();
        let all = survey(file.as_fd(), 0, 8 << 20, 9);
        let hole = HOLE | ZERO;
        let extent = |len, flags| Extent { len, flags };
        let expected = [extent(1 << 20, hole), extent(65_536, 0), extent((7 << 20) - 65_536, hole)];
        assert_eq!(all, expected);
        assert_eq!(survey(file.as_fd(), 0, 8 << 20, 1), expected[..1]);
        assert_eq!(survey(file.as_fd(), 1 << 20, 512, 9), [extent(512, 0)]);
        assert_eq!(survey(file.as_fd(), 4 << 20, 512, 9), [extent(512, hole)]);
        assert_eq!(survey(file.as_fd(), 16 << 20, 512, 9), [extent(512, hole)], "behind the end");
        let (pipe, _) = std::io::pipe().unwrap();
        assert_eq!(survey(pipe.as_fd(), 0, 512, 9), [extent(512, 0)], "nothing is known of it");
    }
}
