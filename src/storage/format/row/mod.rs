//! Rows: bets as the course's CSV, `agency,first_name,last_name,document,YYYY-MM-DD,number` and CR LF.

mod fast;
pub(in crate::storage) mod parse;
mod reference;
pub(in crate::storage) mod rows;

pub use rows::{Appended, Rows};
