//! Which answers the hub may give: each is looked at as the hub releases it, whether it arrives or not.

use loteria::hub::{EarlyQuery, Hub};
use loteria::lottery::{AgencyId, Standing};
use loteria::wire::{Answer, Cause, Dialect, Expecting, Unwelcome, WAITING_NAMED_MAX};

use crate::bets::Kind;
use crate::model::Model;
use crate::net::{Ask, HubEnd, Link, LinkId, Net, Request};
use crate::reactor::Keeper;
use crate::trace;

impl Model {
    /// Takes in `bytes` that the hub has released for a link.
    pub fn receive(&mut self, hub: &Hub<Keeper>, net: &mut Net, id: LinkId, bytes: &[u8]) {
        let link = &mut net.links[id];
        let start = link.tapped - link.untold.len();
        link.untold.extend_from_slice(bytes);
        if link.dialect == Dialect::Echo {
            return receive_echo(link);
        }
        let untold = std::mem::take(&mut net.links[id].untold);
        let mut told = 0;
        while told < untold.len() {
            let link = &net.links[id];
            if link.untrusted {
                // The decoder's own tests cover the replies to untrusted peers; the model sees that they have no effect.
                return;
            }
            let answer = link.dialect.read_answer(&untold[told..], expecting(link));
            let answer = match answer {
                Ok(Some((used, answer))) => {
                    told += used;
                    answer
                }
                Ok(None) => break,
                Err(_) if link.spoiled => return,
                Err(malformed) => panic!("link {id} is answered {untold:02x?}: {malformed}"),
            };
            trace::note(|| format!("hub answers | link: {id} | {answer:?}"));
            if link.dialect == Dialect::Native {
                self.check_native(hub, net, id, &answer);
            } else {
                self.check_in_order(hub, net, id, &answer);
            }
            net.links[id].answers.push_back((start + told, answer));
        }
        net.links[id].untold = untold[told..].to_vec();
    }

    /// Dialects whose requests are answered one after another.
    fn check_in_order(&mut self, hub: &Hub<Keeper>, net: &mut Net, id: LinkId, answer: &Answer) {
        let link = &mut net.links[id];
        let silent = |request: &Request| {
            link.dialect == Dialect::CaseId && matches!(request.ask, Ask::Batch { .. } | Ask::Empty)
        };
        let before = link.requests.iter().take_while(|request| silent(request)).count();
        let unanswered: Vec<Request> = link.requests.drain(..before).collect();
        let Some(Request { end, ask }) = link.requests.pop_front() else {
            assert!(link.spoiled, "link {id} is answered {answer:?} and asked nothing");
            return;
        };
        assert!(link.up_read >= end, "link {id} is answered {answer:?} before its request was read");
        let unsent = unanswered.iter().filter(|request| !self.is_stored(&request.ask)).count();
        link.rejected += unsent;
        let missing = link.rejected;
        let agency = link.agency;
        match (ask, answer) {
            (Ask::Nonsense, _) => net.links[id].spoiled = true,
            (Ask::Batch { batch, .. }, Answer::Stored) => {
                let batch_sent = &mut self.batches.all[batch];
                batch_sent.acknowledged += 1;
                assert!(batch_sent.acknowledged <= batch_sent.copies, "batch {batch} is acknowledged and not stored");
            }
            (Ask::Batch { batch, .. }, Answer::Rejected { .. }) => {
                self.check_rejected(net, batch);
                net.links[id].rejected += 1;
            }
            (Ask::Empty, Answer::Stored) => {}
            (Ask::Empty, Answer::Rejected { .. }) => {
                let legal = net.links[id].dialect == Dialect::Text || self.may_refuse(net, agency);
                assert!(legal, "link {id}: an empty batch is rejected");
            }
            (Ask::Finish, Answer::Finished { all_stored, .. }) => {
                self.check_finished(hub, net, id, *all_stored, missing);
            }
            (Ask::Finish, Answer::Error { .. }) => {
                assert!(self.is_excluded(agency), "link {id}: the finish is refused: {answer:?}");
            }
            (Ask::Query, Answer::Winners { documents, .. }) => self.check_winners(agency, documents),
            (Ask::Query, Answer::NotDrawn) => {
                let early = self.policy.early_query == EarlyQuery::Reject && !self.drawn;
                // The one byte of `binary` says either.
                let refused = self.is_excluded(agency) && net.links[id].dialect == Dialect::Binary;
                assert!(early || refused, "link {id}: there is no draw, says the hub");
            }
            (Ask::Query, Answer::Error { .. }) => {
                let unnumbered = net.links[id].dialect == Dialect::Csv;
                assert!(self.is_excluded(agency) || unnumbered, "link {id}: the query is refused: {answer:?}");
            }
            (ask, answer) => panic!("link {id}: {ask:?} is answered {answer:?}"),
        }
    }

    fn check_native(&mut self, hub: &Hub<Keeper>, net: &mut Net, id: LinkId, answer: &Answer) {
        let link = &mut net.links[id];
        let agency = link.agency.expect("native links are somebody's");
        let stored = self.agencies[&agency].batches;
        let greeted = link.requests.front().is_none_or(|request| request.ask != Ask::Hello);
        match answer {
            Answer::Welcome { next } => {
                assert!(!greeted, "link {id} is welcomed again");
                assert_eq!(*next, stored, "link {id} is welcomed to the wrong batch");
                link.requests.pop_front();
            }
            Answer::StoredBelow { next } => {
                assert!(greeted, "link {id} is acknowledged before it is welcomed");
                assert!(*next <= stored, "link {id}: {next} batches are acknowledged, and {stored} stored");
                // It covers what came on this link, and nothing of it that is not stored; other bets under a number that
                // was passed already are mischief.
                let mut passed = 0;
                let covered = link.requests.iter().any(|request| {
                    let Ask::Batch { batch, sequence } = request.ask else { return false };
                    let again = sequence < passed;
                    passed = passed.max(sequence + 1);
                    let batch = &self.batches.all[batch];
                    let stored = batch.copies > 0 && batch.sequence.is_none_or(|own| own == sequence);
                    sequence < *next && !again && !stored
                });
                assert!(
                    !covered || link.rejected > 0,
                    "link {id}: a batch below {next} is acknowledged and not stored"
                );
            }
            Answer::Rejected { sequence, cause, .. } => {
                let sequence = sequence.expect("native says which");
                self.check_native_rejection(net, id, sequence, *cause);
            }
            Answer::Finished { bets, .. } => {
                assert_eq!(*bets, Some(self.agencies[&agency].bets), "link {id}: bets of the finished agency");
                pop_through(link, &Ask::Finish);
                self.check_finished(hub, net, id, true, 0);
            }
            Answer::Winners { documents, .. } => {
                pop_through(link, &Ask::Query);
                self.check_winners(Some(agency), documents);
            }
            Answer::Error { cause: Cause::ShuttingDown, .. } => {
                assert!(self.stopping, "link {id}: the hub stops, it says");
            }
            Answer::Error { cause: Cause::Late, .. } => {
                assert!(self.is_excluded(Some(agency)), "link {id} is refused: {answer:?}");
            }
            Answer::Error { cause: Cause::Stream, .. } => {
                // A conflict with what a full disk took back is told as that, and what was behind it as a gap.
                let shifted = link.requests.iter().any(|request| match request.ask {
                    Ask::Batch { batch, sequence } => self.batches.all[batch].sequence != Some(sequence),
                    Ask::Hello | Ask::Empty | Ask::Finish | Ask::Query | Ask::Nonsense => false,
                });
                let behind = link.rejected > 0 && (link.overtaking || shifted);
                let legal = link.spoiled || link.in_conflict || behind;
                assert!(legal, "link {id} is told that its stream is broken: {answer:?}");
                link.spoiled = true;
            }
            Answer::Waiting { missing, named } => {
                let asks = link.requests.iter().any(|request| request.ask == Ask::Query);
                assert!(greeted && asks, "link {id} is told whom the draw waits for, and waits for nothing");
                self.check_waiting(id, *missing, named);
            }
            Answer::Unwelcome(Unwelcome::UnknownAgency) => {
                assert!(self.is_excluded(Some(agency)), "link {id} is not welcome");
            }
            Answer::Unwelcome(Unwelcome::Busy) => assert!(link.refused, "link {id} is told that the hub is busy"),
            Answer::Unwelcome(Unwelcome::Credentials) | Answer::Stored | Answer::NotDrawn | Answer::Error { .. } => {
                panic!("link {id} is answered {answer:?}")
            }
        }
    }

    /// Whom the draw waits for is told by what is stored: agencies that finish in the turn of the frame are still among them.
    fn check_waiting(&self, id: LinkId, missing: u32, named: &[AgencyId]) {
        assert!(!self.drawn_before, "link {id} is told whom the draw waits for, and it was made");
        let betting = self.agencies.values().filter(|agency| agency.standing == Standing::Betting).count();
        assert!(missing > 0 && missing as usize >= betting, "link {id}: {missing} agencies are missing, not {betting}");
        assert!(missing as usize <= self.agencies.len(), "link {id}: {missing} agencies are missing");
        assert_eq!(named.len(), WAITING_NAMED_MAX.min(missing as usize), "link {id}: agencies that are named");
        assert!(named.is_sorted() && named.iter().all(|agency| self.agencies.contains_key(&agency.0)));
    }

    fn check_native_rejection(&self, net: &mut Net, id: LinkId, sequence: u64, cause: Cause) {
        let link = &net.links[id];
        let agency = link.agency.expect("native links are somebody's");
        let sent = link.requests.iter().filter_map(|request| match request.ask {
            Ask::Batch { batch, sequence: number } if number == sequence => Some(&self.batches.all[batch]),
            Ask::Hello | Ask::Batch { .. } | Ask::Empty | Ask::Finish | Ask::Query | Ask::Nonsense => None,
        });
        let sent: Vec<_> = sent.collect();
        assert!(!sent.is_empty(), "link {id}: batch {sequence} is rejected and was not sent");
        // Where two connections speak for the agency, the other's batch may have been stored in the same turn.
        let stored = sequence < self.agencies[&agency].batches;
        let other = sent.iter().any(|batch| batch.sequence != Some(sequence));
        let legal = match cause {
            Cause::Conflict => stored && other,
            Cause::Permanent => sent.iter().any(|batch| batch.kind == Kind::Bad),
            Cause::Late => self.may_have_finished(net, agency) || self.is_excluded(Some(agency)),
            Cause::StorageFull => self.may_be_full,
            Cause::Unsaid | Cause::ShuttingDown | Cause::Stream => false,
        };
        assert!(legal, "link {id}: batch {sequence} is rejected for {cause:?}");
        let link = &mut net.links[id];
        link.rejected += 1;
        link.in_conflict |= cause == Cause::Conflict;
    }

    /// A batch was rejected: was there a reason, and is it really not stored?
    fn check_rejected(&mut self, net: &Net, number: usize) {
        let batch = &mut self.batches.all[number];
        assert!(batch.copies < batch.copies_max, "batch {number} is rejected and stored");
        batch.copies_max -= 1;
        let batch = &self.batches.all[number];
        if batch.kind == Kind::Good {
            assert!(self.may_refuse(net, batch.agency), "batch {number} is rejected for no reason");
        }
    }

    /// Whether good bets of `agency` may be refused now.
    fn may_refuse(&self, net: &Net, agency: Option<u32>) -> bool {
        let Some(id) = agency else {
            // There may be no agency left to give it.
            return true;
        };
        self.may_be_full || self.is_excluded(agency) || self.may_have_finished(net, id)
    }

    fn check_finished(&mut self, hub: &Hub<Keeper>, net: &Net, id: LinkId, all_stored: bool, missing: usize) {
        let link = &net.links[id];
        if link.dialect == Dialect::CaseId {
            let refused = self.is_excluded(link.agency);
            assert!(
                all_stored == (missing == 0) || (refused && !all_stored),
                "link {id}: {missing} batches are missing"
            );
            if !all_stored && missing == 0 {
                return;
            }
            // A finish that no batch went before is nobody's yet.
            let nobody = link.batches_sent == 0 || missing == link.batches_sent;
            if nobody {
                return;
            }
        }
        let Some(agency) = link.agency else { return };
        let standing = hub.lottery().agency(AgencyId(agency)).map(|agency| agency.standing);
        assert_eq!(standing, Ok(Standing::Finished), "link {id}: the finish is answered");
        self.agencies.get_mut(&agency).expect("it is there").finish_answered = true;
    }

    fn check_winners(&mut self, agency: Option<u32>, documents: &[String]) {
        assert!(self.drawn, "winners are told before the draw");
        self.winners_told = true;
        match agency {
            Some(id) => {
                let agency = &self.agencies[&id];
                assert_eq!(agency.standing, Standing::Finished, "agency {id} is told winners");
                assert_eq!(documents, agency.winners, "winners of agency {id}");
            }
            None => {
                let mut pool = self.pool.iter().map(|id| &self.agencies[id]);
                assert!(pool.any(|agency| agency.winners == documents), "nobody's winners: {documents:?}");
            }
        }
    }

    fn is_stored(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Batch { batch, .. } => self.batches.all[*batch].copies > 0,
            Ask::Empty | Ask::Hello | Ask::Finish | Ask::Query | Ask::Nonsense => true,
        }
    }
}

/// The request was answered, and so were those before it.
fn pop_through(link: &mut Link, ask: &Ask) {
    let place = link.requests.iter().position(|request| request.ask == *ask);
    let place = place.unwrap_or_else(|| panic!("{ask:?} is answered and was not asked"));
    let end = link.requests[place].end;
    assert!(link.up_read >= end, "{ask:?} is answered before it was read");
    link.requests.drain(..=place);
}

/// What a client that waits for the oldest answer expects.
fn expecting(link: &Link) -> Expecting {
    let asks = link.requests.iter().map(|request| &request.ask);
    let asked = |ask: &Ask| match ask {
        Ask::Hello => Expecting::Welcome,
        Ask::Batch { .. } | Ask::Empty | Ask::Nonsense => Expecting::Stored,
        Ask::Finish => Expecting::Finished,
        Ask::Query => Expecting::Winners,
    };
    if link.dialect != Dialect::CaseId {
        return asks.map(asked).next().unwrap_or(Expecting::Stored);
    }
    asks.map(asked).find(|expecting| *expecting != Expecting::Stored).unwrap_or(Expecting::Finished)
}

/// An echo is what was sent, up to the first line feed, or less where the line was not whole.
fn receive_echo(link: &Link) {
    let HubEnd::Open(_) = link.hub else { panic!("an echo on a closed link") };
    let line = link.up.iter().position(|&byte| byte == b'\n').map_or(link.up.len(), |end| end + 1);
    assert!(link.untold.len() <= line.min(link.up_read), "more is sent back than was sent");
    assert_eq!(link.untold, link.up[..link.untold.len()], "an echo is not what was sent");
}
