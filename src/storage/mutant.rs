//! Defects on purpose, to test the tests: a simulation that lets one of these pass is worth nothing.

/// One thing that a store does wrong. Only builds with debug assertions can: elsewhere the compiler removes it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutant {
    /// Nothing: the store as it is meant to be.
    #[default]
    None,
    /// A commit succeeds before anything is synced.
    AcknowledgeBeforeSync,
    /// A commit syncs the rows only.
    SkipJournalSync,
    /// A commit syncs the journal only.
    SkipRowsSync,
    /// A start takes records without looking at their rows.
    SkipChecksum,
    /// What could not be stored is cut off, but not durably, before it is rejected.
    RollBackWithoutSync,
    /// A start does not write the last group again.
    SkipRewrite,
    /// A sync that failed is tried again, and believed when it succeeds.
    RetrySync,
    /// A group counts without the record that ends it.
    PartialGroup,
    /// A commit does not sync the redo log.
    SkipRedoSync,
    /// A start does not read the redo log.
    IgnoreRedo,
    /// A start applies the redo log without looking at its rows.
    SkipRedoChecksum,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 11] = [
        Mutant::AcknowledgeBeforeSync,
        Mutant::SkipJournalSync,
        Mutant::SkipRowsSync,
        Mutant::SkipChecksum,
        Mutant::RollBackWithoutSync,
        Mutant::SkipRewrite,
        Mutant::RetrySync,
        Mutant::PartialGroup,
        Mutant::SkipRedoSync,
        Mutant::IgnoreRedo,
        Mutant::SkipRedoChecksum,
    ];

    /// Whether the store has this defect.
    #[inline]
    pub(super) fn is(self, other: Mutant) -> bool {
        cfg!(debug_assertions) && self == other
    }
}
