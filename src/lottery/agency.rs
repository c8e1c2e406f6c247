//! One agency in a draw, and what of it is stored.

use super::bet::Bet;

/// How an agency stands in the draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its bets are still welcome; the draw waits for it.
    Betting,
    /// It has finished, and waits for the draw or its winners.
    Finished,
    /// It was lost and not waited for: no part in the draw, no winners.
    Excluded,
}

/// What the lottery knows of one agency. Its size does not depend on how many bets were placed.
#[derive(Clone, Debug)]
pub struct Agency {
    /// How it stands.
    pub standing: Standing,
    /// Batches stored, which is also the sequence number of its next one.
    pub batches: u64,
    /// Bets stored.
    pub bets: u64,
    /// Those of its bets that are on the winning number, in the order in which they were stored.
    pub winners: Vec<Bet>,
    /// One for each turn that has changed it and is not committed, oldest first.
    savepoints: Vec<Savepoint>,
}

impl Default for Agency {
    fn default() -> Self {
        Agency { standing: Standing::Betting, batches: 0, bets: 0, winners: Vec::new(), savepoints: Vec::new() }
    }
}

impl Agency {
    /// What of it is stored: turns that are not committed may still be taken back.
    pub fn committed(&self) -> CommittedAgency {
        self.savepoints.first().map_or_else(|| self.now(), |savepoint| savepoint.before)
    }

    /// Keeps its winners only where the draw is made and it has a part in that.
    pub fn keep_winners_of_draw(&mut self, is_drawn: bool) {
        if !is_drawn || self.standing == Standing::Excluded {
            self.winners.clear();
        }
    }

    /// Keeps it as it is before turn `turn` changes it; says whether that turn had not kept it yet.
    pub(super) fn save(&mut self, turn: u64) -> bool {
        let is_first = self.savepoints.last().is_none_or(|savepoint| savepoint.turn < turn);
        if is_first {
            self.savepoints.push(Savepoint { turn, before: self.now() });
        }
        is_first
    }

    /// What the oldest turn that changed it did is stored.
    pub(super) fn forget_oldest_savepoint(&mut self) {
        self.savepoints.remove(0);
    }

    /// What all turns did that are not committed has not happened.
    pub(super) fn roll_back(&mut self) {
        let CommittedAgency { standing, batches, bets, winners } = self.committed();
        (self.standing, self.batches, self.bets) = (standing, batches, bets);
        self.winners.truncate(winners);
        self.savepoints.clear();
    }

    /// What is stored of it is what `stored` says, where other hubs store, too. What turns did that are not committed stands
    /// on that: their batches are behind those that others have stored.
    pub(super) fn learn(&mut self, stored: CommittedAgency) {
        let before = self.committed();
        let moved = |count: u64, from: u64, to: u64| (count + to).saturating_sub(from);
        let learn = |standing: &mut Standing, batches: &mut u64, bets: &mut u64| {
            if *standing == before.standing || stored.standing != Standing::Betting {
                *standing = stored.standing;
            }
            *batches = moved(*batches, before.batches, stored.batches);
            *bets = moved(*bets, before.bets, stored.bets);
        };
        for Savepoint { before, .. } in &mut self.savepoints {
            learn(&mut before.standing, &mut before.batches, &mut before.bets);
        }
        learn(&mut self.standing, &mut self.batches, &mut self.bets);
    }

    /// The draw has been made elsewhere, with these winners.
    pub(super) fn learn_winners(&mut self, winners: Vec<Bet>) {
        self.savepoints.iter_mut().for_each(|savepoint| savepoint.before.winners = winners.len());
        self.winners = winners;
    }

    fn now(&self) -> CommittedAgency {
        let Agency { standing, batches, bets, .. } = *self;
        CommittedAgency { standing, batches, bets, winners: self.winners.len() }
    }
}

/// What is stored of an agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedAgency {
    /// How it stands.
    pub standing: Standing,
    /// Batches.
    pub batches: u64,
    /// Bets.
    pub bets: u64,
    /// How many of [`Agency::winners`], the first ones.
    pub winners: usize,
}

impl CommittedAgency {
    /// How many of its bets win where the draw is made: none of an excluded agency.
    pub fn won(&self) -> usize {
        if self.standing == Standing::Excluded { 0 } else { self.winners }
    }
}

/// An agency as it was before a turn.
#[derive(Clone, Copy, Debug)]
struct Savepoint {
    turn: u64,
    before: CommittedAgency,
}
