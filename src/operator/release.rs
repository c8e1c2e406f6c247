//! `loteria release-draw`: a draw that is held is made again when it is due.

use std::io::Write;

use super::failure::Failure;
use super::text::clean;
use crate::storage::{Reader, Waiting, held, release};

/// Says why the draw is held, and with `yes` ends that.
///
/// # Errors
/// It is held, and `yes` is not given; the engine refuses.
pub fn release_draw<N: Waiting>(reader: &mut Reader<N>, yes: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let draw = reader.options().draw;
    let Some(why) = held(reader)? else {
        return writeln!(out, "draw {draw} is not held").map_err(Failure::Output);
    };
    if !yes {
        let why = clean(why);
        return Err(Failure::Answer(format!(
            "draw {draw} is held: {why}; find out which bets are missing first (loteria verify), then release it with --yes"
        )));
    }
    release(reader, &why)?;
    let why = clean(why);
    if let Some(now) = held(reader)? {
        let now = clean(now);
        return Err(Failure::Answer(format!(
            "draw {draw} was held: {why}; it is held still, for a hub or a person has said more meanwhile: {now}"
        )));
    }
    writeln!(out, "draw {draw} was held: {why}\nit is released: hubs make it when all agencies have finished")
        .map_err(Failure::Output)
}
