//! A sparse index of an agency's batches in the journal: it bounds the search for a batch, in bounded memory.

/// The slots of some of one agency's batches, so close together that a search between two of them is short. It has at
/// most [`ENTRIES_MAX`] entries for any number of batches: when it is full, every second entry is removed, and the
/// distances double.
#[derive(Debug)]
pub(super) struct SparseIndex {
    /// A new entry is made this many batches of the agency behind the last one,
    batches_between: u64,
    /// or this many slots behind it, whichever comes first.
    slots_between: u64,
    /// Sequence numbers and slots, both ascending.
    entries: Vec<(u64, u64)>,
    /// The batch that was found last, and its slot: a client that sends batches again sends them in order.
    found: Option<(u64, u64)>,
}

const BATCHES_BETWEEN: u64 = 64;
/// Half a megabyte of records, which takes a few hundred microseconds to read.
const SLOTS_BETWEEN: u64 = 8192;
/// 32 KiB per agency.
const ENTRIES_MAX: usize = 2048;

impl SparseIndex {
    pub(super) fn new() -> SparseIndex {
        let (batches_between, slots_between) = (BATCHES_BETWEEN, SLOTS_BETWEEN);
        SparseIndex { batches_between, slots_between, entries: Vec::new(), found: None }
    }

    /// Notes that batch `sequence` is at `slot`. It is called for every batch, in order.
    pub(super) fn note(&mut self, sequence: u64, slot: u64) {
        if let Some((last_sequence, last_slot)) = self.entries.last()
            && sequence - last_sequence < self.batches_between
            && slot - last_slot < self.slots_between
        {
            return;
        }
        if self.entries.len() == ENTRIES_MAX {
            let mut keep = false;
            self.entries.retain(|_| {
                keep = !keep;
                keep
            });
            self.batches_between *= 2;
            self.slots_between *= 2;
        }
        self.entries.push((sequence, slot));
    }

    /// Notes that a search has found batch `sequence` at `slot`.
    pub(super) fn note_found(&mut self, sequence: u64, slot: u64) {
        self.found = Some((sequence, slot));
    }

    /// The slot from which to search for batch `sequence`; `None` if no batch up to `sequence` was noted.
    pub(super) fn search_from(&self, sequence: u64) -> Option<u64> {
        let behind = self.entries.partition_point(|(noted, _)| *noted <= sequence);
        let noted = self.entries.get(behind.checked_sub(1)?);
        let found = self.found.filter(|(found, _)| *found <= sequence);
        noted.copied().into_iter().chain(found).map(|(_, slot)| slot).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slot_at_or_before_every_batch_in_bounded_memory() {
        let mut index = SparseIndex::new();
        let batches = BATCHES_BETWEEN * ENTRIES_MAX as u64 * 5;
        for sequence in 0..batches {
            index.note(sequence, sequence * 3 + 1);
        }
        assert!(index.entries.len() <= ENTRIES_MAX);
        for sequence in (0..batches).step_by(997) {
            let from = index.search_from(sequence).unwrap();
            assert!(from <= sequence * 3 + 1 && from + 3 * index.batches_between > sequence * 3, "{sequence}");
        }
        assert_eq!(SparseIndex::new().search_from(0), None);
    }

    #[test]
    fn an_agency_of_few_batches_far_apart_is_found_without_a_long_search() {
        let mut index = SparseIndex::new();
        for sequence in 0..20 {
            index.note(sequence, sequence * 150_000);
            assert_eq!(index.search_from(sequence), Some(sequence * 150_000));
        }
    }

    #[test]
    fn batches_sent_again_in_order_are_searched_from_the_last_one_found() {
        let mut index = SparseIndex::new();
        (0..60).for_each(|sequence| index.note(sequence, sequence * 2));
        index.note_found(41, 82);
        assert_eq!([40, 41, 42].map(|sequence| index.search_from(sequence)), [Some(0), Some(82), Some(82)]);
    }
}
