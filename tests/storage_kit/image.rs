//! One file of a simulated disk: its cached bytes, and those that a power cut leaves.

use std::collections::BTreeSet;

use super::random::Random;

/// Bytes that a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// A file, sector by sector.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub cache: Vec<u8>,
    pub durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// The lowest length that the file was cut to since the last sync.
    cut: Option<usize>,
    pub exists: bool,
    /// The name survives a power cut.
    pub named: bool,
}

impl Image {
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.exists = true;
        let end = offset + bytes.len();
        if bytes.is_empty() {
            return;
        }
        let first = offset.min(self.cache.len());
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(first / SECTOR..end.div_ceil(SECTOR));
    }

    pub fn truncate(&mut self, len: usize) {
        self.cache.resize(len, 0);
        self.dirty = self.dirty.iter().copied().filter(|sector| sector * SECTOR < len).collect();
        if !len.is_multiple_of(SECTOR) {
            // The system clears the rest of the last sector, in its place.
            self.dirty.insert(len / SECTOR);
        }
        self.cut = Some(self.cut.unwrap_or(len).min(len));
    }

    /// Makes the length durable, and those dirty sectors that `keep` chooses.
    pub fn flush(&mut self, mut keep: impl FnMut(usize) -> bool) {
        if let Some(cut) = self.cut.take() {
            self.durable.truncate(cut);
        }
        self.durable.resize(self.cache.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            if keep(sector) {
                let range = sector_range(sector, self.cache.len());
                self.durable[range.clone()].copy_from_slice(&self.cache[range]);
            }
        }
    }

    /// Makes some dirty sectors durable; the others stay dirty.
    pub fn write_back(&mut self, random: &mut Random) {
        if random.chance(300) {
            return;
        }
        let dirty = self.dirty.clone();
        let kept: BTreeSet<_> = dirty.iter().copied().filter(|_| random.chance(500)).collect();
        self.flush(|sector| kept.contains(&sector));
        self.dirty = dirty.difference(&kept).copied().collect();
    }

    pub fn power_cut(&mut self, random: &mut Random) {
        if self.exists && !self.named && random.chance(500) {
            *self = Image::default();
            return;
        }
        let all_or_nothing = random.chance(200).then(|| random.chance(500));
        let keep = |random: &mut Random| all_or_nothing.unwrap_or_else(|| random.chance(500));
        if keep(random) {
            self.flush(|_| keep(random));
        } else {
            // Neither the cut nor the new length are there; sectors that are written in their place may be.
            let limit = self.cut.take().unwrap_or(usize::MAX).min(self.durable.len());
            for sector in std::mem::take(&mut self.dirty) {
                let range = sector_range(sector, self.cache.len().min(self.durable.len()));
                // A sector across the cut is still in its place.
                if sector * SECTOR < limit && keep(random) {
                    self.durable[range.clone()].copy_from_slice(&self.cache[range]);
                }
            }
        }
        self.cache = self.durable.clone();
        self.named = self.exists;
    }

    /// Replaces the cached sectors that are not dirty by those of the disk.
    pub fn forget(&mut self) {
        for sector in 0..self.cache.len().div_ceil(SECTOR) {
            if self.dirty.contains(&sector) || self.cut.is_some_and(|cut| (sector + 1) * SECTOR > cut) {
                continue;
            }
            let range = sector_range(sector, self.cache.len());
            let there = range.start.min(self.durable.len())..range.end.min(self.durable.len());
            let (known, beyond) = self.cache[range].split_at_mut(there.len());
            known.copy_from_slice(&self.durable[there]);
            beyond.fill(0);
        }
    }
}

fn sector_range(sector: usize, len: usize) -> std::ops::Range<usize> {
    let end = ((sector + 1) * SECTOR).min(len);
    (sector * SECTOR).min(end)..end
}
