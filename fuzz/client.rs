//! Any bytes as a hub's answers to a whole upload, in every dialect. The body of the fuzz target `client`, and of its
//! short run in the tests.
//!
//! The upload must not panic, nor work without end, nor hold more than it may; and without an answer that says so it
//! is not done.

use std::time::Duration;

use loteria::agency::BetList;
use loteria::agency::upload::{Goal, Next, Outcome, Plan, Upload};
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::Dialect;

/// Steps that one byte of the hub may cause: the byte is received, the connection is lost and made anew, and batches
/// are passed over on the next one.
const STEPS_PER_BYTE: usize = 3;
/// And some more, at the beginning and at the end.
const STEPS_BESIDES: usize = 100;
/// More than it has to say in one go.
const OUTGOING_BYTES_MAX: usize = 512 * 1024;

/// Runs one input: the plan, then pieces of what the hub says, each behind its length.
pub fn run(input: &[u8]) {
    let [choices, bets, rest @ ..] = input else { return };
    let mut rest = rest;
    let dialects = Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Echo);
    let dialect = *dialects.cycle().nth(usize::from(choices % 8)).expect("there is no end of them");
    let goal = if choices & 0x80 == 0 { Goal::Winners } else { Goal::Confirmed };
    let plan = Plan { agency: AgencyId(1), dialect, bets_max: u32::from(choices >> 4 & 7) + 1, goal, empty: true };
    let bets = (0..*bets % 32).map(|number| {
        let document = (20_000_000 + u32::from(number)).to_string();
        Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"1999-03-17", b"7574").expect("a good bet")
    });
    let mut upload = Upload::new(plan, BetList::new(bets.collect()));
    let mut received = Vec::new();
    let steps_max = STEPS_PER_BYTE * input.len() + STEPS_BESIDES;
    for _ in 0..steps_max {
        while upload.take_event().is_some() {}
        assert!(upload.outgoing().len() < OUTGOING_BYTES_MAX, "{} bytes wait", upload.outgoing().len());
        match upload.next() {
            Next::Connect { .. } if rest.is_empty() => return,
            Next::Connect { .. } => {
                upload.connected();
                received.clear();
            }
            Next::Work => upload.work(),
            Next::Over => return done(&upload, goal, &received),
            Next::Pause(_) => {
                if !talk(&mut upload, dialect, &mut rest, &mut received) {
                    return;
                }
                upload.pause_over();
            }
            Next::Talk => {
                if !talk(&mut upload, dialect, &mut rest, &mut received) {
                    return;
                }
            }
        }
    }
    panic!("{steps_max} steps, and no end");
}

/// Carries bytes both ways; says whether there were any more of the hub's.
fn talk(upload: &mut Upload<BetList>, dialect: Dialect, rest: &mut &[u8], received: &mut Vec<u8>) -> bool {
    let [step, tail @ ..] = rest else { return false };
    let (said, behind) = tail.split_at(usize::from(step & 0x3f).min(tail.len()));
    *rest = behind;
    let taken = if step & 0x40 == 0 { upload.outgoing().len() } else { upload.outgoing().len().min(1) };
    upload.sent(taken);
    let said = if dialect == Dialect::Native && step & 0x80 != 0 { framed(said) } else { said.to_vec() };
    received.extend(&said);
    if said.is_empty() || upload.received(&said).is_err() {
        // The hub has closed, or is of no more use.
        upload.lost(Duration::from_secs(u64::from(step & 7)));
    }
    true
}

/// A frame of `native` under the checksum that it should have.
fn framed(said: &[u8]) -> Vec<u8> {
    let length = u32::try_from(said.len() + 4).expect("a short frame").to_be_bytes();
    [&length, said, &crc32c::crc32c(said).to_be_bytes()].concat()
}

/// Nothing is done that no hub has said.
fn done(upload: &Upload<BetList>, goal: Goal, received: &[u8]) {
    match upload.outcome().expect("it is over") {
        Outcome::Done { .. } if goal == Goal::Winners => assert!(!received.is_empty(), "winners out of nowhere"),
        Outcome::Done { winners, .. } => assert!(winners.is_empty(), "the winners were not queried"),
        Outcome::Failed(_) => {}
    }
}
