//! `loteria verify`: whether stored bets are sound, what it has, and whether that is what the agencies' files have.

use std::io::Write;
use std::path::Path;

use super::compare::{Comparison, Differences, file_of};
use super::failure::Failure;
use super::place::no_folder;
use super::source::Source;
use super::text::{clean, grouped};
use crate::lottery::{AgencyId, Standing};
use crate::storage::{Checked, CheckedDraw, Waiting, check, check_draw};

/// Checks the source without changing it, and prints what it has. With `against`, compares every bet with the files
/// `agency-N.csv` of that folder. Returns whether all are the same.
///
/// # Errors
/// The stored bets are damaged or cannot be read; a file cannot be read.
pub fn verify<N: Waiting>(source: Source<N>, against: Option<&Path>, out: &mut dyn Write) -> Result<bool, Failure> {
    let mut comparison = against.map(Comparison::with_files_of).transpose()?;
    let name = source.name();
    let mut held = None;
    let take = |agency, bet: &_| {
        if let Some(comparison) = &mut comparison {
            comparison.stored(agency, bet);
        }
    };
    let checked = match source {
        Source::Files(store) => {
            no_folder(&store)?;
            check(&store, take)?
        }
        Source::Engine(mut reader, _) => {
            let CheckedDraw { checked, held: why } = check_draw(&mut reader, take)?;
            held = why;
            checked
        }
    };
    let mut text = told(&name, &checked);
    if let Some(why) = held {
        let why = clean(why);
        text.push_str(&format!("the draw is held, until loteria release-draw: {why}\n"));
    }
    let mut same = true;
    if let (Some(comparison), Some(folder)) = (comparison, against) {
        for (id, found) in comparison.end()? {
            same &= found.none();
            text.push_str(&compared(folder, id, &found));
        }
        text.push_str(if same {
            "every bet is stored as its file has it\n"
        } else {
            "the bets are not those of the files\n"
        });
    }
    out.write_all(text.as_bytes()).map_err(Failure::Output)?;
    Ok(same)
}

fn told(name: &str, checked: &Checked) -> String {
    let in_use = if checked.in_use { "; a hub uses it, and this is what the hub has committed" } else { "" };
    let mut text = format!("{}: sound{in_use}\n", clean(name));
    if checked.unfinished_bytes > 0 {
        let bytes = grouped(checked.unfinished_bytes);
        text.push_str(&format!(
            "{bytes} bytes at its end are of a turn that was never acknowledged; the next start cuts them off\n"
        ));
    }
    match checked.drawn {
        Some(number) => text.push_str(&format!("draw: made, on number {number}\n")),
        None => text.push_str("draw: not made\n"),
    }
    text.push_str(&format!("{:>8} {:>13} {:>11} {:>9}  state\n", "agency", "bets", "batches", "winners"));
    let (mut bets, mut batches, mut winners) = (0, 0, 0);
    let won = |count: usize| checked.drawn.map_or("-".to_owned(), |_| grouped(count as u64));
    for (id, agency) in &checked.agencies {
        let state = match agency.standing {
            Standing::Betting => "betting",
            Standing::Finished => "finished",
            Standing::Excluded => "excluded",
        };
        let (agency_bets, agency_batches) = (grouped(agency.bets), grouped(agency.batches));
        let agency_winners = won(agency.winners.len());
        text.push_str(&format!("{id:>8} {agency_bets:>13} {agency_batches:>11} {agency_winners:>9}  {state}\n"));
        bets += agency.bets;
        batches += agency.batches;
        winners += agency.winners.len();
    }
    text.push_str(&format!("{:>8} {:>13} {:>11} {:>9}\n", "total", grouped(bets), grouped(batches), won(winners)));
    text
}

fn compared(folder: &Path, id: AgencyId, found: &Differences) -> String {
    let file = clean(file_of(folder, id).display());
    if found.none() {
        return format!("{file}: the same {} bets\n", grouped(found.same));
    }
    let Differences { same, missing, extra, different, shown } = found;
    let mut text =
        format!("{file}: {same} bets are the same, {missing} missing, {extra} extra, {different} different\n");
    for line in shown {
        text.push_str(&format!("  {}\n", clean(line)));
    }
    let others = (missing + extra + different).saturating_sub(shown.len() as u64);
    if others > 0 {
        text.push_str(&format!("  and {others} more\n"));
    }
    text
}
