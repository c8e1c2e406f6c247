//! The ledger as a keeper of turns.

use std::os::fd::RawFd;

use super::keeper::{HubTurn, Ledger};
use super::network::Network;
use super::work::Ask;
use crate::lottery::{AgencyId, BatchError, BetSource};
use crate::mutants::{self, Mutant};
use crate::storage::error::{CommitError, MatchError};
use crate::storage::keep::{EngineView, Keep, Load, Match, Place, Settled, StagedBatch, Trouble, TurnNumber};
use crate::timers::Moment;

impl<N: Network> Keep for Ledger<N> {
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        place: Place,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        self.staging.stage(agency, place, bets)
    }

    fn stage_finish(&mut self, agency: AgencyId) {
        self.staging.work.add_finish(agency);
    }

    /// The engine's clock decides: see [`lease`](Self::lease).
    fn stage_exclusion(&mut self, _agency: AgencyId) {}

    /// The engine decides that the draw is due, and makes it.
    fn stage_draw(&mut self, _winning_number: u32) {}

    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError> {
        let came = self.staging.encode(agency, bets)?;
        let works = self.turns.iter().map(|turn| &turn.work).chain([&self.staging.work]);
        let found = works.into_iter().find_map(|work| work.find(agency, sequence));
        if let Some(batch) = found {
            let same = (batch.bets, batch.checksum) == (came.bets, came.checksum);
            return Ok(if same { Match::Same } else { Match::Other });
        }
        self.staging.ask(Ask { agency, sequence, bets: came.bets, checksum: came.checksum });
        Ok(Match::Asked)
    }

    fn submit(&mut self, turn: TurnNumber) {
        let work = self.staging.take();
        self.turns.push_back(HubTurn { number: turn, engine: None, work });
        self.send();
    }

    fn settled(&mut self) -> Option<Settled> {
        let settled = self.settled.pop_front()?;
        match &settled {
            Settled::Moved { .. } => {
                self.staging.keep(self.turns.drain(..).map(|turn| turn.work));
                self.course.untold = false;
            }
            Settled::TakenBack { .. } => {
                self.staging.drop_batches(self.turns.drain(..).map(|turn| turn.work));
                self.course.untold = false;
            }
            Settled::Committed(_) | Settled::Learned(_) | Settled::Failed(_) => {}
        }
        Some(settled)
    }

    fn has_room(&self) -> bool {
        self.turns.len() < self.options.in_flight.max(1) && !self.course.untold && !self.is_looking()
    }

    fn load(&self) -> Load {
        Load { staged_bytes: self.staging.work.rows.len(), read_bytes: 0 }
    }

    fn waits(&self) -> bool {
        true
    }

    fn group(&self) -> u64 {
        self.group
    }

    fn look(&mut self, agency: AgencyId) -> bool {
        self.staging.work.add_look(agency);
        !mutants::is(Mutant::HelloFromCache)
    }

    fn stage_again(&mut self, place: Option<Place>) -> Option<StagedBatch> {
        self.staging.stage_again(place)
    }

    fn draws_here(&self) -> bool {
        false
    }

    fn is_looking(&self) -> bool {
        self.finds_out()
    }

    fn wants_leases(&self, now: Moment) -> bool {
        self.is_connected() && self.survey.due <= now
    }

    fn lease(&mut self, here: Vec<AgencyId>) {
        self.leases.here = here;
    }

    fn owes(&self) -> bool {
        !self.course.holds.is_empty()
    }

    fn go_on(&mut self, now: Moment) {
        self.drive(now);
    }

    fn next_wake(&self) -> Option<Moment> {
        self.wake()
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.network.descriptor()
    }

    fn trouble(&self) -> Option<Trouble> {
        self.why_not().map(|(since, why)| Trouble { since, why })
    }

    fn engine(&self) -> Option<EngineView> {
        Some(self.view())
    }

    fn close(&mut self) -> Result<(), CommitError> {
        self.warn_of_holds();
        for link in [self.links.main.take(), self.links.second.take()].into_iter().flatten() {
            link.close(&mut self.network);
        }
        Ok(())
    }
}
