//! A disk in memory that takes room for what was written only, and is copied at no cost.

use std::collections::BTreeMap;

use bytes::Bytes;
use tandem_replica::digest;
use tandem_replica::{DiskError, DiskOpKind};

const BLOCK: u64 = 4096;

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(BTreeMap<u64, Bytes>);

impl MemoryDisk {
    pub(crate) fn read(&self, offset: u64, len: usize) -> Bytes {
        let mut read = Vec::with_capacity(len);
        let mut at = offset;
        while read.len() < len {
            let skip = usize::try_from(at % BLOCK).expect("a block is short");
            let count = (4096 - skip).min(len - read.len());
            match self.0.get(&(at / BLOCK)) {
                Some(block) => read.extend_from_slice(&block[skip..skip + count]),
                None => read.resize(read.len() + count, 0),
            }
            at += count as u64;
        }
        read.into()
    }

    pub(crate) fn write(&mut self, offset: u64, mut data: &[u8]) {
        let mut at = offset;
        while !data.is_empty() {
            let skip = usize::try_from(at % BLOCK).expect("a block is short");
            let (now, later) = data.split_at(data.len().min(4096 - skip));
            let old = self.0.get(&(at / BLOCK));
            let mut block = old.map_or_else(|| vec![0; 4096], |old| old.to_vec());
            block[skip..skip + now.len()].copy_from_slice(now);
            self.0.insert(at / BLOCK, block.into());
            at += now.len() as u64;
            data = later;
        }
    }

    pub(crate) fn zero(&mut self, offset: u64, len: u64) {
        let (first, end) = (offset.div_ceil(BLOCK), (offset + len) / BLOCK);
        if first >= end {
            return self
                .write(offset, &vec![0; usize::try_from(len).expect("less than two blocks")]);
        }
        let edge = |len: u64| vec![0; usize::try_from(len).expect("less than a block")];
        self.write(offset, &edge(first * BLOCK - offset));
        self.write(end * BLOCK, &edge(offset + len - end * BLOCK));
        let whole: Vec<u64> = self.0.range(first..end).map(|(block, _)| *block).collect();
        whole.iter().for_each(|block| drop(self.0.remove(block)));
    }

    /// A block among the first `bytes` that is not the same on another disk.
    pub(crate) fn difference(&self, other: &Self, bytes: u64) -> Option<u64> {
        let written = self.0.keys().chain(other.0.keys()).copied();
        let mut blocks = written.filter(|block| block * BLOCK < bytes);
        blocks.find(|block| self.read(block * BLOCK, 4096) != other.read(block * BLOCK, 4096))
    }

    /// Does what an operation says.
    pub(crate) fn carry_out(&mut self, kind: &DiskOpKind) -> Result<Bytes, DiskError> {
        Ok(match kind {
            DiskOpKind::Read(range) => self.read(range.offset, range.len as usize),
            DiskOpKind::MetaRead { offset, len } => self.read(*offset, *len as usize),
            DiskOpKind::Write { offset, data, .. } | DiskOpKind::MetaWrite { offset, data } => {
                self.write(*offset, data);
                Bytes::new()
            }
            DiskOpKind::Zero { range, .. } => {
                self.zero(range.offset, range.len.into());
                Bytes::new()
            }
            DiskOpKind::Flush => Bytes::new(),
            DiskOpKind::Merge { base, patch, at } => {
                let (mut merged, at) = (base.to_vec(), *at as usize);
                merged[at..at + patch.len()].copy_from_slice(patch);
                merged.into()
            }
            DiskOpKind::IsZero { data } if data.iter().all(|byte| *byte == 0) => Bytes::new(),
            DiskOpKind::IsZero { data } => data.clone(),
            DiskOpKind::Digest { data } => digest::of_blocks(data),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryDisk;

    #[test]
    fn it_reads_what_was_written_last() {
        let mut disk = MemoryDisk::default();
        let mut model = vec![0_u8; 40_000];
        for (number, (at, len)) in
            [(100, 20_000), (4096, 4096), (5000, 10), (0, 1)].iter().enumerate()
        {
            let data = vec![u8::try_from(number).unwrap() + 1; *len];
            disk.write(*at as u64, &data);
            model[*at..at + len].copy_from_slice(&data);
        }
        for (at, len) in [(4000, 9000), (4096, 4096), (17, 3), (20_000, 9)] {
            disk.zero(at as u64, len as u64);
            model[at..at + len].fill(0);
            assert!(disk.read(0, 40_000) == model, "{at}");
        }
        let mut other = disk.clone();
        assert_eq!(other.difference(&disk, 1 << 20), None);
        other.write(70_000, &[1]);
        assert_eq!(disk.difference(&other, 1 << 20), Some(17));
        assert_eq!(disk.difference(&other, 17 * 4096), None);
    }
}
