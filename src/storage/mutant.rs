//! Defects on purpose, to test the tests: a simulation must catch each of them.

/// A defect of a store. It has an effect only in builds with debug assertions; the compiler removes it from others.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutant {
    /// No defect.
    #[default]
    None,
    /// A commit succeeds before anything is synced.
    AcknowledgeBeforeSync,
    /// A commit syncs the rows only.
    SkipJournalSync,
    /// A commit syncs the journal only.
    SkipRowsSync,
    /// A start accepts records without the checksums of their rows.
    SkipChecksum,
    /// A turn that did not fit on the disk is rolled back, but not durably.
    RollBackWithoutSync,
    /// A start does not write the last group again.
    SkipRewrite,
    /// A failed sync is tried again, and its success is trusted.
    RetrySync,
    /// A group is accepted without its last record.
    PartialGroup,
    /// A commit does not sync the redo log.
    SkipRedoSync,
    /// A start does not read the redo log.
    IgnoreRedo,
    /// A start applies the redo log without the checksums of its rows.
    SkipRedoChecksum,
}

impl Mutant {
    /// All defects.
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
