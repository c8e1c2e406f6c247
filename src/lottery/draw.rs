//! One draw: the agencies that bet and finished, and their winners.

use std::collections::VecDeque;

use super::agency::{Agency, CommittedAgency, Standing};
use super::bet::Bet;
use super::roster::{AgencyId, Roster};

/// What a turn has changed, while it is in hand or in flight.
#[derive(Clone, Debug, Default)]
struct Turn {
    /// Positions of agencies.
    touched: Vec<usize>,
    drawn_before: bool,
}

/// Why the lottery did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not of this draw's roster.
    #[error("the agency is not of this draw")]
    UnknownAgency,
    /// The agency has finished: no more bets.
    #[error("the agency has finished")]
    Finished,
    /// The draw has been: no more bets.
    #[error("the draw has been made")]
    Drawn,
    /// The agency was excluded from the draw.
    #[error("the agency was excluded from the draw")]
    Excluded,
}

/// The state of one draw. Changes are provisional until [`commit`](Self::commit): the turns that made them can be taken back
/// whole, because what cannot be stored must not have happened. Several turns may be in flight, ended and not committed.
#[derive(Clone, Debug)]
pub struct Lottery {
    roster: Roster,
    agencies: Vec<Agency>,
    winning_number: u32,
    betting: usize,
    finished: usize,
    drawn: bool,
    /// Turns in flight, oldest first, and the one in hand behind them.
    turns: VecDeque<Turn>,
    /// The number of the oldest of them.
    first_turn: u64,
}

impl Lottery {
    /// A draw among `roster` in which bets on `winning_number` win.
    pub fn new(roster: Roster, winning_number: u32) -> Lottery {
        let agencies = vec![Agency::default(); roster.ids().len()];
        let betting = agencies.len();
        Lottery {
            roster,
            agencies,
            winning_number,
            betting,
            finished: 0,
            drawn: false,
            turns: VecDeque::from([Turn::default()]),
            first_turn: 0,
        }
    }

    /// Takes over what a store remembers of `agency`.
    ///
    /// # Errors
    /// [`Refusal::UnknownAgency`] where the roster does not have it.
    pub fn restore(&mut self, agency: AgencyId, state: Agency) -> Result<(), Refusal> {
        let position = self.position(agency)?;
        self.count(position, -1);
        self.agencies[position] = state;
        self.count(position, 1);
        Ok(())
    }

    /// Takes over what is stored of `agency`, after the turns that are committed; other hubs have stored some of it. What the
    /// turns behind them do is done on top of that.
    ///
    /// # Errors
    /// [`Refusal::UnknownAgency`] where the roster does not have it.
    pub fn learn(&mut self, agency: AgencyId, standing: Standing, batches: u64, bets: u64) -> Result<(), Refusal> {
        let position = self.position(agency)?;
        self.count(position, -1);
        self.agencies[position].learn(CommittedAgency { standing, batches, bets, winners: 0 });
        self.count(position, 1);
        Ok(())
    }

    /// Takes over that another has made the draw, with these winners of each agency, and that this is stored.
    pub fn learn_draw(&mut self, winners: Vec<(AgencyId, Vec<Bet>)>) {
        for (agency, winners) in winners {
            if let Ok(position) = self.position(agency) {
                self.agencies[position].learn_winners(winners);
            }
        }
        self.restore_drawn();
    }

    /// Takes over that the draw has been.
    pub fn restore_drawn(&mut self) {
        self.drawn = true;
        self.turns.iter_mut().for_each(|turn| turn.drawn_before = true);
    }

    /// The agencies of this draw.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The number that wins.
    pub fn winning_number(&self) -> u32 {
        self.winning_number
    }

    /// Whether the draw has been.
    pub fn drawn(&self) -> bool {
        self.drawn
    }

    /// Whether the draw has been, and is stored.
    pub fn draw_is_committed(&self) -> bool {
        self.turns[0].drawn_before
    }

    /// What is known of `agency`.
    ///
    /// # Errors
    /// [`Refusal::UnknownAgency`].
    pub fn agency(&self, agency: AgencyId) -> Result<&Agency, Refusal> {
        Ok(&self.agencies[self.position(agency)?])
    }

    /// Whether a batch of `agency` may be stored now.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, agency: AgencyId) -> Result<(), Refusal> {
        match self.agency(agency)?.standing {
            Standing::Excluded => Err(Refusal::Excluded),
            Standing::Betting | Standing::Finished if self.drawn => Err(Refusal::Drawn),
            Standing::Finished => Err(Refusal::Finished),
            Standing::Betting => Ok(()),
        }
    }

    /// Counts one more stored batch of `agency`, with those of its bets that are on the winning number.
    ///
    /// # Errors
    /// As [`admits`](Self::admits); nothing has changed then.
    pub fn store(&mut self, agency: AgencyId, bets: u32, winners: Vec<Bet>) -> Result<(), Refusal> {
        self.admits(agency)?;
        let position = self.touch(agency)?;
        let state = &mut self.agencies[position];
        state.batches += 1;
        state.bets += u64::from(bets);
        state.winners.extend(winners);
        Ok(())
    }

    /// Marks `agency` as finished; says whether that is news.
    ///
    /// # Errors
    /// [`Refusal::UnknownAgency`], [`Refusal::Excluded`].
    pub fn finish(&mut self, agency: AgencyId) -> Result<bool, Refusal> {
        match self.agency(agency)?.standing {
            Standing::Excluded => Err(Refusal::Excluded),
            Standing::Finished => Ok(false),
            Standing::Betting => self.set_standing(agency, Standing::Finished),
        }
    }

    /// Excludes a lost `agency`; says whether that is news. One that has finished stays in.
    ///
    /// # Errors
    /// [`Refusal::UnknownAgency`], [`Refusal::Finished`].
    pub fn exclude(&mut self, agency: AgencyId) -> Result<bool, Refusal> {
        match self.agency(agency)?.standing {
            Standing::Finished => Err(Refusal::Finished),
            Standing::Excluded => Ok(false),
            Standing::Betting => self.set_standing(agency, Standing::Excluded),
        }
    }

    /// Whether the draw is due: no agency is betting, at least one has finished, and the draw has not been.
    pub fn due(&self) -> bool {
        !self.drawn && self.betting == 0 && self.finished > 0
    }

    /// Makes the draw. It happens once.
    pub fn draw(&mut self) {
        assert!(self.due(), "the draw is made once, and only when every agency has finished");
        self.drawn = true;
    }

    /// The winners of `agency`; `None` before the draw.
    ///
    /// # Errors
    /// [`Refusal::UnknownAgency`], [`Refusal::Excluded`].
    pub fn winners(&self, agency: AgencyId) -> Result<Option<&[Bet]>, Refusal> {
        let state = self.agency(agency)?;
        match state.standing {
            Standing::Excluded => Err(Refusal::Excluded),
            Standing::Betting | Standing::Finished => Ok(self.drawn.then_some(state.winners.as_slice())),
        }
    }

    /// The agencies that the draw still waits for, ascending.
    pub fn pending(&self) -> impl Iterator<Item = AgencyId> {
        let states = self.roster.ids().iter().zip(&self.agencies);
        states.filter(|(_, state)| state.standing == Standing::Betting).map(|(id, _)| *id)
    }

    /// As [`pending`](Self::pending), by what is stored: turns that are not committed may still be taken back.
    pub fn pending_by_commit(&self) -> impl Iterator<Item = AgencyId> {
        let states = self.roster.ids().iter().zip(&self.agencies);
        states.filter(|(_, state)| state.committed().standing == Standing::Betting).map(|(id, _)| *id)
    }

    /// The turn in hand is in flight from here on, and the next one begins.
    pub fn end_turn(&mut self) {
        self.turns.push_back(Turn { drawn_before: self.drawn, ..Turn::default() });
    }

    /// What the oldest turn in flight did is stored: it stays.
    ///
    /// # Panics
    /// Where no turn is in flight.
    pub fn commit(&mut self) {
        assert!(self.turns.len() > 1, "a turn is in flight before it is committed");
        let turn = self.turns.pop_front().unwrap_or_default();
        for position in turn.touched {
            self.agencies[position].forget_oldest_savepoint();
        }
        self.first_turn += 1;
    }

    /// What all turns did that are not committed could not be stored: it has not happened.
    pub fn roll_back(&mut self) {
        self.drawn = self.draw_is_committed();
        for turn in std::mem::take(&mut self.turns) {
            for position in turn.touched {
                self.count(position, -1);
                self.agencies[position].roll_back();
                self.count(position, 1);
            }
        }
        self.turns.push_back(Turn { drawn_before: self.drawn, ..Turn::default() });
    }

    fn position(&self, agency: AgencyId) -> Result<usize, Refusal> {
        self.roster.position(agency).ok_or(Refusal::UnknownAgency)
    }

    fn set_standing(&mut self, agency: AgencyId, standing: Standing) -> Result<bool, Refusal> {
        let position = self.touch(agency)?;
        self.count(position, -1);
        self.agencies[position].standing = standing;
        self.count(position, 1);
        Ok(true)
    }

    /// Keeps `agency` as it was before the turn in hand, once a turn.
    fn touch(&mut self, agency: AgencyId) -> Result<usize, Refusal> {
        let position = self.position(agency)?;
        let in_flight = self.turns.len() - 1;
        let turn = self.first_turn + in_flight as u64;
        if self.agencies[position].save(turn) {
            self.turns[in_flight].touched.push(position);
        }
        Ok(position)
    }

    /// Adds an agency to the count of its standing, or takes it out.
    fn count(&mut self, position: usize, by: isize) {
        let counter = match self.agencies[position].standing {
            Standing::Betting => &mut self.betting,
            Standing::Finished => &mut self.finished,
            Standing::Excluded => return,
        };
        *counter = counter.checked_add_signed(by).expect("as many agencies leave a standing as entered it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lottery(agencies: &str) -> Lottery {
        Lottery::new(Roster::parse(agencies).unwrap(), 7574)
    }

    fn bet(document: &str) -> Bet {
        Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"1999-03-17", b"7574").unwrap()
    }

    const A: AgencyId = AgencyId(1);
    const B: AgencyId = AgencyId(2);

    #[test]
    fn what_others_have_stored_moves_what_is_in_flight_behind_it() {
        let mut lottery = lottery("2");
        lottery.store(A, 3, vec![]).unwrap();
        lottery.end_turn();
        lottery.store(A, 2, vec![]).unwrap();
        lottery.finish(A).unwrap();
        lottery.commit();
        lottery.learn(A, Standing::Betting, 5, 103).unwrap();
        let state = lottery.agency(A).unwrap();
        assert_eq!((state.committed().batches, state.committed().bets), (5, 103));
        assert_eq!((state.batches, state.bets, state.standing), (6, 105, Standing::Finished));
        lottery.roll_back();
        let state = lottery.agency(A).unwrap();
        assert_eq!((state.batches, state.bets, state.standing), (5, 103, Standing::Betting));
        assert_eq!(lottery.pending().collect::<Vec<_>>(), [A, B]);
    }

    #[test]
    fn a_finish_elsewhere_counts_and_so_does_a_draw() {
        let mut lottery = lottery("2");
        lottery.store(A, 3, vec![]).unwrap();
        lottery.learn(A, Standing::Finished, 7, 70).unwrap();
        lottery.learn(B, Standing::Finished, 1, 1).unwrap();
        assert_eq!(lottery.admits(A), Err(Refusal::Finished));
        assert_eq!(lottery.pending().count(), 0);
        lottery.learn_draw(vec![(A, vec![bet("11"), bet("12")])]);
        assert!(lottery.draw_is_committed());
        lottery.roll_back();
        assert_eq!(lottery.winners(A).unwrap().unwrap(), [bet("11"), bet("12")]);
        assert_eq!(lottery.winners(B).unwrap().unwrap(), []);
    }

    #[test]
    fn what_was_told_and_is_not_stored_any_more_is_forgotten() {
        let mut lottery = lottery("1");
        lottery.learn(A, Standing::Finished, 7, 70).unwrap();
        lottery.learn(A, Standing::Betting, 5, 50).unwrap();
        let state = lottery.agency(A).unwrap();
        assert_eq!((state.batches, state.bets, state.standing), (5, 50, Standing::Betting));
    }

    #[test]
    fn draws_once_when_all_have_finished_and_each_sees_its_own() {
        let mut lottery = lottery("2");
        lottery.store(A, 3, vec![bet("11")]).unwrap();
        lottery.store(B, 1, vec![]).unwrap();
        assert_eq!(lottery.finish(A), Ok(true));
        assert_eq!(lottery.finish(A), Ok(false), "a repeated finish is harmless");
        assert!(!lottery.due());
        assert_eq!(lottery.winners(A), Ok(None));
        assert_eq!(lottery.pending().collect::<Vec<_>>(), [B]);
        assert_eq!(lottery.finish(B), Ok(true));
        assert!(lottery.due());
        lottery.draw();
        assert!(!lottery.due());
        assert_eq!(lottery.winners(A).unwrap().unwrap(), [bet("11")]);
        assert_eq!(lottery.winners(B).unwrap().unwrap(), []);
    }

    #[test]
    fn bets_too_late_or_of_unknown_agencies_are_refused() {
        let mut lottery = lottery("2");
        assert_eq!(lottery.store(AgencyId(3), 1, vec![]), Err(Refusal::UnknownAgency));
        lottery.finish(A).unwrap();
        assert_eq!(lottery.store(A, 1, vec![]), Err(Refusal::Finished));
        lottery.finish(B).unwrap();
        lottery.draw();
        assert_eq!(lottery.store(B, 1, vec![]), Err(Refusal::Drawn));
    }

    #[test]
    fn excluding_completes_the_draw_unless_no_agency_finished() {
        let mut lottery = lottery("2");
        lottery.exclude(B).unwrap();
        assert!(!lottery.due());
        lottery.finish(A).unwrap();
        assert!(lottery.due());
        lottery.draw();
        assert_eq!(lottery.winners(B), Err(Refusal::Excluded));
        assert_eq!(lottery.admits(B), Err(Refusal::Excluded));
        assert_eq!(lottery.exclude(A), Err(Refusal::Finished));

        let mut abandoned = super::tests::lottery("1");
        abandoned.exclude(A).unwrap();
        assert!(!abandoned.due(), "a draw needs an agency that finished");
        assert!(!super::tests::lottery("0").due());
    }

    #[test]
    fn a_turn_rolls_back_whole() {
        let mut lottery = lottery("2");
        lottery.store(A, 2, vec![bet("11")]).unwrap();
        lottery.end_turn();
        lottery.commit();
        lottery.store(A, 2, vec![bet("12")]).unwrap();
        lottery.finish(A).unwrap();
        lottery.finish(B).unwrap();
        lottery.draw();
        lottery.roll_back();
        let state = lottery.agency(A).unwrap();
        assert_eq!((state.batches, state.bets, state.winners.len()), (1, 2, 1));
        assert_eq!(state.standing, Standing::Betting);
        assert_eq!(lottery.pending().collect::<Vec<_>>(), [A, B]);
        assert!(!lottery.drawn() && !lottery.due());
    }

    #[test]
    fn turns_in_flight_are_committed_one_by_one_and_taken_back_together() {
        let mut lottery = lottery("2");
        let committed = |lottery: &Lottery| {
            let of = |agency| lottery.agency(agency).unwrap().committed();
            (of(A).batches, of(B).batches, of(B).standing, lottery.draw_is_committed())
        };
        for document in ["11", "12"] {
            lottery.store(A, 1, vec![bet(document)]).unwrap();
            lottery.end_turn();
        }
        lottery.store(B, 1, vec![]).unwrap();
        lottery.finish(B).unwrap();
        lottery.end_turn();
        lottery.finish(A).unwrap();
        lottery.draw();
        assert_eq!(committed(&lottery), (0, 0, Standing::Betting, false));
        lottery.commit();
        assert_eq!(committed(&lottery), (1, 0, Standing::Betting, false));
        let mut stored = lottery.clone();
        lottery.roll_back();
        let state = lottery.agency(A).unwrap();
        assert_eq!((state.batches, state.bets, state.winners.len(), state.standing), (1, 1, 1, Standing::Betting));
        assert_eq!(lottery.agency(B).unwrap().batches, 0);
        assert!(!lottery.drawn() && !lottery.due());
        assert_eq!(lottery.pending().collect::<Vec<_>>(), [A, B]);

        stored.end_turn();
        stored.commit();
        assert_eq!(committed(&stored), (2, 0, Standing::Betting, false));
        stored.commit();
        assert_eq!(committed(&stored), (2, 1, Standing::Finished, false));
        stored.commit();
        assert_eq!(committed(&stored), (2, 1, Standing::Finished, true));
        stored.roll_back();
        assert!(stored.drawn(), "what is committed stays");
    }
}
