//! An upload whose bets come slowly, as those of a pipe.

use super::*;
use crate::agency::bet_reader::BetReaderError;
use crate::lottery::RawBet;

/// Bets of which the next one has come only at every third look.
#[derive(Debug)]
struct Slow {
    bets: BetList,
    looks: u32,
}

impl BetReader for Slow {
    fn is_ready(&mut self) -> bool {
        self.looks += 1;
        self.looks.is_multiple_of(3)
    }

    fn advance(&mut self) -> Result<bool, BetReaderError> {
        assert!(self.looks.is_multiple_of(3), "the next bet has not come");
        self.bets.advance()
    }

    fn current(&self) -> Option<RawBet<'_>> {
        self.bets.current()
    }

    fn line(&self) -> u64 {
        self.bets.line()
    }

    fn position(&self) -> u64 {
        self.bets.position()
    }

    fn extent(&self) -> u64 {
        self.bets.extent()
    }

    fn name(&self) -> &str {
        self.bets.name()
    }

    fn rewind(&mut self) -> Result<(), BetReaderError> {
        self.bets.rewind()
    }
}

#[test]
fn bets_that_come_slowly_make_the_same_batches() {
    let bets = bets(300);
    for dialect in dialects() {
        let cuts: &[usize] = if dialect == Dialect::Native { &[900, 2000, 3000, 700] } else { &[] };
        let slow = Slow { bets: BetList::new(bets.clone()), looks: 0 };
        let plan = Plan { agency: AGENCY, dialect, bets_max: 7, goal: Goal::Winners, empty: true };
        let (mut hub, mut run) = (Hub::new(dialect), Run { piece: 50, ..Run::cut(cuts) });
        // The upload starts over in the middle of a batch.
        hub.forget = Some((2, 0));
        assert_eq!(run.play(&mut Upload::new(plan, slow), &mut hub), done(winners(&bets)), "{dialect:?}");
        let mut other = Hub::new(dialect);
        Run::new().play(&mut upload(dialect, &bets, 7), &mut other);
        assert!(hub.batches == other.batches, "{dialect:?}");
    }
}

#[test]
fn no_reply_is_due_while_bets_are_awaited_and_none_is_on_its_way() {
    let plan = Plan { agency: AGENCY, dialect: Dialect::Binary, bets_max: 1, goal: Goal::Winners, empty: true };
    let mut upload = Upload::new(plan, Slow { bets: BetList::new(bets(2)), looks: 0 });
    upload.connected();
    assert!(!upload.awaits_answer() && upload.outgoing().is_empty());
    while upload.outgoing().is_empty() {
        upload.work();
    }
    upload.sent(upload.outgoing().len());
    assert!(upload.awaits_answer());
}
