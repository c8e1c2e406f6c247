//! The end of a turn: it is submitted, and what the keeper has settled is ready to be answered.

use std::collections::HashMap;

use super::Hub;
use super::connections::ConnectionId;
use super::events::Event;
use super::turn::{CommittedTurn, Entry};
use crate::mutants::{self, Mutant};
use crate::storage::{CommitError, Keep, Settled, TurnNumber};
use crate::timers::Moment;

impl<K: Keep> Hub<K> {
    /// Submits the turn in hand, if the keeper has room for it, and begins the next one. What comes back is what has become
    /// durable since the last call, of this turn and those before it: [`release`](Self::release) answers it.
    ///
    /// # Errors
    /// The disk failed: nothing may be acknowledged any more, and the hub must stop.
    pub fn commit(&mut self, now: Moment) -> Result<CommittedTurn, CommitError> {
        let mut committed = CommittedTurn::default();
        let mut retried = false;
        if self.keeping.keeper.trouble().is_some() {
            self.answer_unstored(&mut committed);
        }
        self.submit(&committed);
        while let Some(settled) = self.keeping.keeper.settled() {
            match settled {
                Settled::Committed(proof) => {
                    let is_settled = |turn: &mut (TurnNumber, _)| turn.0 <= proof.through();
                    while let Some((_, entries)) = self.keeping.in_flight.pop_front_if(is_settled) {
                        self.lottery.commit();
                        if self.keeping.was_full && entries.iter().any(Entry::is_stored_batch) {
                            self.keeping.was_full = false;
                            self.emit(&Event::StoreHasSpace);
                        }
                        if committed.entries.is_empty() {
                            committed.entries = entries;
                        } else {
                            committed.entries.extend(entries);
                        }
                    }
                    committed.proof = Some(proof);
                }
                Settled::TakenBack { turn, error } => {
                    debug_assert!(self.keeping.is_oldest(turn), "turns settle in their order");
                    // Space for all but batches is reserved: a disk that has not kept it is asked once more.
                    let in_vain = !self.keeping.has_batches() && std::mem::replace(&mut retried, true);
                    if in_vain {
                        return Err(CommitError::Full(error));
                    }
                    self.take_back_batches(&error, now);
                }
                Settled::Moved { turn, learned } => {
                    debug_assert!(self.keeping.is_oldest(turn), "turns settle in their order");
                    self.decide_again(*learned, now);
                }
                Settled::Learned(learned) => self.learn(*learned, &mut committed),
                Settled::Failed(error) => return Err(CommitError::Fatal(error)),
            }
            // What was taken back, or had no room before.
            self.submit(&committed);
        }
        self.settle_late(&mut committed.entries);
        Ok(committed)
    }

    /// While nothing can be committed: replies that depend on nothing which may still change do not wait for that, where their
    /// connections wait for nothing else. The proof of an earlier turn will do for them.
    fn answer_unstored(&mut self, committed: &mut CommittedTurn) {
        let Some(proof) = self.parked.take_proof() else { return };
        let is_drawn = self.lottery.draw_is_committed();
        let is_certain = |entry: &Entry| entry.outcome.is_certain(is_drawn);
        let mut certain: HashMap<ConnectionId, u32> = HashMap::new();
        for id in self.turn.entries.iter().filter(|entry| is_certain(entry)).filter_map(|entry| entry.id) {
            *certain.entry(id).or_default() += 1;
        }
        let waits_alone = |id: ConnectionId| {
            self.connections.by_id(id).is_some_and(|connection| Some(&connection.pending) == certain.get(&id))
        };
        let is_free = |entry: &mut Entry| is_certain(entry) && entry.id.is_some_and(waits_alone);
        let free: Vec<Entry> = self.turn.entries.extract_if(.., is_free).collect();
        *committed = CommittedTurn { entries: free, proof: Some(proof) };
    }

    /// Makes the draw where it is due, and submits the turn in hand where there is something to commit.
    fn submit(&mut self, committed: &CommittedTurn) {
        if !self.keeping.keeper.has_room() {
            return;
        }
        let drawn = self.lottery.due() && self.keeping.keeper.draws_here();
        if drawn {
            self.lottery.draw();
            if !mutants::is(Mutant::ForgetDrawRecord) {
                self.keeping.keeper.stage_draw(self.lottery.winning_number());
            }
        }
        // The proof of a draw that an earlier run made is that of a turn of this one.
        let proof_is_missing = self.lottery.drawn() && !self.parked.is_released() && committed.proof.is_none();
        if self.turn.entries.is_empty() && !drawn && (!proof_is_missing || !self.keeping.has_none_in_flight()) {
            return;
        }
        let entries = std::mem::take(&mut self.turn.entries);
        self.lottery.end_turn();
        self.keeping.keeper.submit(self.keeping.next);
        self.keeping.in_flight.push_back((self.keeping.next, entries));
        self.keeping.next = self.keeping.next.next();
    }

    /// The keeper's descriptor was ready, or its time has come.
    pub fn go_on(&mut self, now: Moment) {
        if self.keeping.keeper.wants_leases(now) {
            let here = self.agencies_here(now);
            self.keeping.keeper.lease(here);
        }
        self.keeping.keeper.go_on(now);
    }
}
