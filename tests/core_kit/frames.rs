//! The frames that a client writes.

#![allow(dead_code, reason = "each test file uses its own part")]

use loteria::lottery::{AgencyId, Bet};
use loteria::wire::Dialect;

/// A batch of one bet.
pub fn batch(dialect: Dialect, agency: u32, sequence: u64) -> Vec<u8> {
    let bet = Bet::from_text(b"Ana", b"Paz", b"30904465", b"1999-03-17", b"7574").expect("a valid bet");
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    dialect.put_bet(AgencyId(agency), 0, &bet.as_raw(), &mut body);
    dialect.put_batch(AgencyId(agency), sequence, 1, &body, &mut frame);
    frame
}

/// The hello of `native`.
pub fn hello(agency: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    Dialect::Native.put_hello(AgencyId(agency), &mut frame);
    frame
}

/// A finish.
pub fn finish(dialect: Dialect, agency: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    dialect.put_finish(AgencyId(agency), &mut frame);
    frame
}

/// A query.
pub fn query(dialect: Dialect, agency: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    dialect.put_query(AgencyId(agency), &mut frame);
    frame
}
