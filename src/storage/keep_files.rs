//! The store of files as a keeper of turns: a turn is settled when its submission returns.

use super::error::{CommitError, MatchError};
use super::files::disk::Disk;
use super::keep::{Committed, Keep, Load, Match, Place, Settled, StagedBatch, TurnNumber};
use super::state::Store;
use crate::lottery::{AgencyId, BatchError, BetSource};

impl<D: Disk> Keep for Store<D> {
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        place: Place,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        Store::stage_batch(self, agency, place.expected(), bets)
    }

    fn stage_finish(&mut self, agency: AgencyId) {
        Store::stage_finish(self, agency);
    }

    fn stage_exclusion(&mut self, agency: AgencyId) {
        Store::stage_exclusion(self, agency);
    }

    fn stage_draw(&mut self, winning_number: u32) {
        Store::stage_draw(self, winning_number);
    }

    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError> {
        Ok(if Store::matches(self, agency, sequence, bets)? { Match::Same } else { Match::Other })
    }

    fn submit(&mut self, turn: TurnNumber) {
        self.settled = Some(match self.commit() {
            Ok(()) => Settled::Committed(Committed::new(turn)),
            Err(CommitError::Full(error)) => Settled::TakenBack { turn, error },
            Err(CommitError::Fatal(error)) => Settled::Failed(error),
        });
    }

    fn settled(&mut self) -> Option<Settled> {
        self.settled.take()
    }

    fn has_room(&self) -> bool {
        true
    }

    fn load(&self) -> Load {
        Load { staged_bytes: self.staged.rows.len(), read_bytes: self.journal.bytes_read }
    }

    fn waits(&self) -> bool {
        self.syncs()
    }

    fn group(&self) -> u64 {
        Store::group(self)
    }

    fn check(&mut self) -> Result<(), CommitError> {
        self.check_files()
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        Store::seal(self)
    }

    fn close(&mut self) -> Result<(), CommitError> {
        Store::close(self)
    }
}
