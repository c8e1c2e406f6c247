//! Mutants: defects on purpose, to test the tests. A simulation that lets one of them pass is worth nothing.
//!
//! A mutant is active in the thread that [introduced](introduce) it. Only builds with debug assertions have them: elsewhere
//! `is` is a constant, and the compiler removes every branch behind it.

#[cfg(debug_assertions)]
use std::cell::Cell;

/// One thing that the hub or its store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    // The hub's:
    /// The draw is made and not recorded.
    ForgetDrawRecord,
    /// Batches that a full disk took back are acknowledged all the same.
    KeepTakenBack,
    /// After a full disk took a batch back, those behind it count.
    ForgetResend,
    /// A full disk takes finishes back too.
    ForgetFinishOnFull,
    /// A full disk takes nothing back in memory.
    KeepLotteryOnFull,
    /// A number that is stored already is acknowledged whatever the bets.
    IgnoreConflict,
    /// A lost agency is excluded although it came back.
    IgnoreReturn,
    /// Bytes that were deferred behind a reply are never decoded.
    ForgetHeld,
    /// A parked connection that ends is still counted.
    CountGone,
    /// A finish counts although a batch before it has to come again.
    FinishOverRejected,
    /// An agency is lost when the connection that spoke for it speaks for another.
    ForgetEarlierAgency,
    /// A list of winners is shared by connections of different agencies.
    ShareAcrossAgencies,
    /// Trusted connections that fill every turn leave nothing of the next one to others.
    ForgetDeficit,
    /// Deadlines act although connections wait to be accepted.
    JudgeUnaccepted,
    /// Deadlines act although sockets wait to be read.
    JudgeUnread,
    /// Deadlines act although sockets that take more were not written to.
    JudgeUnwritten,
    /// Whole frames that a turn had no room for are dropped when the peer ends its side.
    DropHeldBack,
    // Of hubs that share a draw:
    /// What other hubs have stored is taken over without rolling back what was staged.
    KeepLotteryOnMove,
    /// What other hubs have stored is not taken over.
    ForgetLearned,
    /// What follows a batch that was ended for its number is stored.
    ForgetMisnumbered,
    /// Requests are taken while the keeper finds out what other hubs have stored.
    StageWhileLooking,
    // The same, where several clients speak for one agency:
    /// A batch that repeats one in flight is acknowledged although other hubs have stored other bets under its number.
    ForgetDisplaced,
    /// A batch stays too late although the finish before it has not happened.
    KeepTooLate,
    /// A batch that another hub has stored is rejected as too late.
    TooLateThoughStored,
    // The ledger's:
    /// A turn counts as committed when it is executed, before the engine is ready for the next one.
    AnswerBeforeReady,
    /// A commit that was answered with a warning counts.
    TakeWarned,
    /// What turns read that write nothing is read without a commit.
    ReadWithoutCommit,
    /// A turn in doubt is sent again under a new number, whatever the fence has found.
    ResendInDoubt,
    /// A turn in doubt is rejected.
    RejectInDoubt,
    /// A hello is answered from what the hub knows.
    HelloFromCache,
    /// A notification of the draw is taken for the draw.
    FlushOnNotification,
    /// An engine that has forgotten turns is believed.
    IgnoreForgotten,
    /// Agencies are excluded by leases that could not be renewed.
    ExcludeAfterOutage,
    // Of the ledger's statements. The simulated PostgreSQL of the tests has them, for it does not read SQL:
    /// The fence reads the instance's row, and neither locks nor changes it.
    ReadFence,
    /// A turn need not be of the last epoch.
    IgnoreEpoch,
    /// A numbered batch is stored whatever its number.
    IgnoreNumbers,
    /// An agency that has finished still stores.
    BetAfterFinish,
    /// The draw is made although agencies are betting.
    DrawEarly,
    /// The draw is made although it was made, or is held.
    DrawAgain,
    // The store's:
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
    /// The hub's.
    pub const OF_HUB: [Mutant; 17] = [
        Mutant::ForgetDrawRecord,
        Mutant::KeepTakenBack,
        Mutant::ForgetResend,
        Mutant::ForgetFinishOnFull,
        Mutant::KeepLotteryOnFull,
        Mutant::IgnoreConflict,
        Mutant::IgnoreReturn,
        Mutant::ForgetHeld,
        Mutant::CountGone,
        Mutant::FinishOverRejected,
        Mutant::ForgetEarlierAgency,
        Mutant::ShareAcrossAgencies,
        Mutant::ForgetDeficit,
        Mutant::JudgeUnaccepted,
        Mutant::JudgeUnread,
        Mutant::JudgeUnwritten,
        Mutant::DropHeldBack,
    ];

    /// Of hubs that share a draw: what they do with what other hubs have stored.
    pub const OF_HUBS: [Mutant; 5] = [
        Mutant::KeepLotteryOnMove,
        Mutant::ForgetLearned,
        Mutant::ForgetMisnumbered,
        Mutant::StageWhileLooking,
        Mutant::IgnoreConflict,
    ];

    /// Of hubs that share a draw, where several clients speak for one agency.
    pub const OF_RIVALS: [Mutant; 3] = [Mutant::ForgetDisplaced, Mutant::KeepTooLate, Mutant::TooLateThoughStored];

    /// The ledger's, and those of its statements.
    pub const OF_LEDGER: [Mutant; 15] = [
        Mutant::AnswerBeforeReady,
        Mutant::TakeWarned,
        Mutant::ReadWithoutCommit,
        Mutant::ResendInDoubt,
        Mutant::RejectInDoubt,
        Mutant::HelloFromCache,
        Mutant::FlushOnNotification,
        Mutant::IgnoreForgotten,
        Mutant::ExcludeAfterOutage,
        Mutant::ReadFence,
        Mutant::IgnoreEpoch,
        Mutant::IgnoreNumbers,
        Mutant::BetAfterFinish,
        Mutant::DrawEarly,
        Mutant::DrawAgain,
    ];

    /// The store's.
    pub const OF_STORE: [Mutant; 11] = [
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
}

#[cfg(debug_assertions)]
thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// A mutant that is active in this thread until the value is dropped.
#[cfg(debug_assertions)]
#[derive(Debug)]
pub struct Introduced(());

/// Makes a mutant active in this thread; `None`: the program as it is meant to be.
#[cfg(debug_assertions)]
#[must_use = "the mutant is gone when this is dropped"]
pub fn introduce(mutant: Option<Mutant>) -> Introduced {
    ACTIVE.set(mutant);
    Introduced(())
}

#[cfg(debug_assertions)]
impl Drop for Introduced {
    fn drop(&mut self) {
        ACTIVE.set(None);
    }
}

/// Whether the program has this defect.
#[cfg(debug_assertions)]
#[inline]
pub fn is(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Without debug assertions the program has no defect on purpose.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}

// Known at compile time: what a mutant would do is not in the program.
#[cfg(not(debug_assertions))]
const _: () = assert!(!is(Mutant::OF_HUB[0]));
