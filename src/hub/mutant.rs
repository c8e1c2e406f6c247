//! Defects on purpose, to test the tests: a simulation that lets one of these pass is worth nothing.

/// One thing that a hub does wrong. Only builds with debug assertions can: elsewhere the compiler removes it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HubMutant {
    /// Nothing: the hub as it is meant to be.
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

impl HubMutant {
    /// All of them.
    pub const ALL: [HubMutant; 17] = [
        HubMutant::ForgetDrawRecord,
        HubMutant::KeepTakenBack,
        HubMutant::ForgetResend,
        HubMutant::ForgetFinishOnFull,
        HubMutant::KeepLotteryOnFull,
        HubMutant::IgnoreConflict,
        HubMutant::IgnoreReturn,
        HubMutant::ForgetHeld,
        HubMutant::CountGone,
        HubMutant::FinishOverRejected,
        HubMutant::ForgetEarlierAgency,
        HubMutant::ShareAcrossAgencies,
        HubMutant::ForgetDeficit,
        HubMutant::JudgeUnaccepted,
        HubMutant::JudgeUnread,
        HubMutant::JudgeUnwritten,
        HubMutant::DropHeldBack,
    ];

    /// Whether the hub has this defect.
    #[inline]
    pub(super) fn is(self, other: HubMutant) -> bool {
        cfg!(debug_assertions) && self == other
    }
}
