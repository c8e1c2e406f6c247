//! The lottery itself: bets, agencies and the draw.
//!
//! Defines valid bets, the roster, the standing of each agency, and the winners. Knows nothing of bytes on a
//! wire, sockets, files, clocks or dialects.

mod agency;
mod batch;
mod bet;
mod birthdate;
mod digits;
mod draw;
mod roster;

pub use agency::{Agency, CommittedAgency, Standing};
pub use batch::{BatchError, BetSink, BetSource};
pub use bet::{Bet, BetError, DOCUMENT_DIGITS_MAX, NAME_BYTES_MAX, RawBet, Text, opens_a_formula, parse_number};
pub use birthdate::{Birthdate, is_date, parse_yyyymmdd};
pub use digits::{digits_of_pairs, eight_digits, leading_digits, pairs};
pub use draw::{Lottery, Refusal};
pub use roster::{AgencyId, Roster, RosterError};
