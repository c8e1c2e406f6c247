//! Defects on purpose, to test the tests: a simulation that lets one of these pass is worth nothing.

/// One thing that an engine does wrong. Only builds with debug assertions can: elsewhere the compiler removes it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EngineMutant {
    /// Nothing: the engine as it is meant to be.
    #[default]
    None,
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
    /// Bytes that were held behind a reply are not gone on with.
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
}

impl EngineMutant {
    /// All of them.
    pub const ALL: [EngineMutant; 17] = [
        EngineMutant::ForgetDrawRecord,
        EngineMutant::KeepTakenBack,
        EngineMutant::ForgetResend,
        EngineMutant::ForgetFinishOnFull,
        EngineMutant::KeepLotteryOnFull,
        EngineMutant::IgnoreConflict,
        EngineMutant::IgnoreReturn,
        EngineMutant::ForgetHeld,
        EngineMutant::CountGone,
        EngineMutant::FinishOverRejected,
        EngineMutant::ForgetEarlierAgency,
        EngineMutant::ShareAcrossAgencies,
        EngineMutant::ForgetDeficit,
        EngineMutant::JudgeUnaccepted,
        EngineMutant::JudgeUnread,
        EngineMutant::JudgeUnwritten,
        EngineMutant::DropHeldBack,
    ];

    /// Whether the engine has this defect.
    #[inline]
    pub(super) fn is(self, other: EngineMutant) -> bool {
        cfg!(debug_assertions) && self == other
    }
}
