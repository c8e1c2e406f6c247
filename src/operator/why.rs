//! Why the draw has not been made: a sentence for each agency that it waits for.

use jiff::Timestamp;

use super::text::{clean, counted, rate, seconds};
use crate::status::report::{Agency, AgencyState, DrawState, REJECTED, Report};

/// An agency that is connected and has sent nothing for this long, in seconds, is said to be silent.
const SILENT: f64 = 5.0;

/// The sentences, one a line.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let draw = &report.draw;
    let mut told = match draw.state {
        DrawState::None => vec!["There is no draw: the roster of this hub is empty.".to_owned()],
        DrawState::Drawn => vec![made(report)],
        DrawState::Open if report.excludes_all() => {
            vec![
                "Every agency is excluded: there is no agency left to draw for. A new draw needs a new store."
                    .to_owned(),
            ]
        }
        DrawState::Open if draw.waiting_count == 0 => vec!["Every agency has finished: the draw is due.".to_owned()],
        DrawState::Open => waiting(report),
    };
    if let Some(engine) = report.engine.as_ref().filter(|engine| engine.held && draw.state == DrawState::Open) {
        let why = engine.held_because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        told.insert(0, format!("The draw is held until a person says that it may be made{why}."));
    }
    let excluded = report.agencies.iter().filter(|agency| agency.state == AgencyState::Excluded);
    told.extend(excluded.map(|agency| {
        let bets = counted(agency.bets, "bet", "bets");
        format!("Agency {} is excluded: it was lost after {bets}, and the draw does not wait for it.", agency.id)
    }));
    told.into_iter().map(clean).collect()
}

fn made(report: &Report) -> String {
    let draw = &report.draw;
    let when = match draw.drawn_ago {
        Some(ago) => format!("{}{} ago", at(draw.drawn_at.as_deref()), seconds(ago)),
        None => "in an earlier run of the hub".to_owned(),
    };
    let number = draw.winning_number.map(|number| format!(" on number {number}")).unwrap_or_default();
    let winners = draw.winners.map(|winners| format!("; {} won", counted(winners, "bet", "bets"))).unwrap_or_default();
    format!("The draw has been made{number}, {when}{winners}.")
}

/// A moment, where it can be read: `at 2024-08-21 22:11:15 UTC, `.
fn at(moment: Option<&str>) -> String {
    let moment: Option<Timestamp> = moment.and_then(|moment| moment.parse().ok());
    moment.map(|moment| format!("at {}, ", moment.strftime("%Y-%m-%d %H:%M:%S UTC"))).unwrap_or_default()
}

fn waiting(report: &Report) -> Vec<String> {
    let draw = &report.draw;
    let agencies = counted(draw.waiting_count as u64, "agency", "agencies");
    let parked = match (draw.parked, draw.waiting_since) {
        (0, _) | (_, None) => String::new(),
        (parked, Some(since)) => {
            let queries = counted(parked as u64, "query waits", "queries wait, the oldest");
            format!("; {queries} for {}", seconds(since))
        }
    };
    let mut told = vec![format!("The draw waits for {agencies}{parked}.")];
    let full = report.store.full || report.store.disk_free_bytes == Some(0);
    // What is wrong with the hub explains why agencies are silent.
    let fault = match &report.unhealthy {
        _ if full => Some("the hub's disk is full"),
        Some(_) => Some("the hub is not healthy"),
        None if report.trouble.is_some() => Some("the hub's PostgreSQL cannot be used"),
        None => None,
    };
    match &report.unhealthy {
        _ if full => told.push("The hub's disk is full: it rejects every batch until there is space.".to_owned()),
        Some(why) => told.push(format!("The hub is not healthy: {why}.")),
        None => {}
    }
    if let Some(trouble) = &report.trouble {
        told.push(format!("PostgreSQL cannot be used ({trouble}): nothing is acknowledged until it can."));
    }
    told.extend(draw.waiting_for.iter().map(|id| {
        report.agencies.iter().find(|agency| agency.id == *id).map_or_else(
            || format!("Agency {id} has not finished; the hub reports no more of it."),
            |agency| missing(agency, fault, report.trouble.is_some()),
        )
    }));
    let others = draw.waiting_count.saturating_sub(draw.waiting_for.len());
    if others > 0 {
        told.push(format!("{} not finished.", counted(others as u64, "more agency has", "more agencies have")));
    }
    told
}

/// Why the draw waits for an agency, and what that agency last did. `fault`: what is wrong with the hub. `apart`: it does not learn
/// what other hubs store.
fn missing(agency: &Agency, fault: Option<&str>, apart: bool) -> String {
    let id = agency.id;
    let batches = counted(agency.batches, "batch", "batches");
    let bets = format!("{} in {batches}", counted(agency.bets, "bet", "bets"));
    let from = match (&agency.peer, &agency.dialect) {
        (Some(peer), Some(dialect)) => format!(" from {peer} ({dialect})"),
        (Some(peer), None) => format!(" from {peer}"),
        (None, _) => String::new(),
    };
    let heard = agency.last_heard.map(|heard| (heard, seconds(heard)));
    let was_rejected = agency.last_did.as_ref().is_some_and(|did| did.starts_with(REJECTED));
    let waits = match (fault, was_rejected) {
        (Some(fault), _) => fault,
        (None, true) => "its last batch was rejected",
        (None, false) => "its client may wait for its own file",
    };
    let why = match agency.state {
        AgencyState::NeverSeen => "has never been seen: no connection has spoken for it".to_owned(),
        AgencyState::Gone if agency.bets > 0 => {
            let heard = heard.map(|(_, heard)| format!(", and it was last heard {heard} ago")).unwrap_or_default();
            format!("has no connection now: its last one{from} ended after {bets}{heard}")
        }
        AgencyState::Gone => {
            let heard = heard.map(|(_, heard)| format!(", last heard {heard} ago")).unwrap_or_default();
            format!("was connected{from}, has no connection now, and no bet of it is stored{heard}")
        }
        AgencyState::Connected => {
            let silent = heard.map(|(_, heard)| format!(", silent for {heard}")).unwrap_or_default();
            format!("is connected{from}{silent}, and no bet of it is stored: {waits}")
        }
        AgencyState::Uploading => match heard {
            Some((silent, heard)) if silent >= SILENT && agency.connections > 0 => {
                format!("is connected{from} and silent for {heard} after {bets}: {waits}")
            }
            Some((_, heard)) => {
                let speed = rate(agency.bets_per_second);
                format!("is uploading{from}: {bets} so far, {speed}, last heard {heard} ago")
            }
            None => format!("has {bets} of an earlier run, and has not been heard since the hub started"),
        },
        // In this run it has done nothing: its connection was one to an earlier run.
        AgencyState::NotHere if apart => {
            format!("is not connected here: {bets} of it were known before, and other hubs may have stored more since")
        }
        AgencyState::NotHere if agency.bets > 0 => {
            format!("is betting, not connected here: {bets} so far by all hubs of this draw, it may be at another one")
        }
        AgencyState::NotHere => "is not connected here, and no bet of it is stored by any hub of this draw".to_owned(),
        AgencyState::Lost if heard.is_none() && agency.peer.is_none() => {
            format!("has {bets} of an earlier run, and has not been heard since the hub started")
        }
        AgencyState::Lost => {
            let lost = agency.lost_for.map(|lost| format!(" {} ago", seconds(lost))).unwrap_or_default();
            format!("was lost{lost}: its last connection{from} ended after {bets} and before its finish")
        }
        AgencyState::Finished | AgencyState::Parked => format!("has finished with {bets}"),
        AgencyState::Excluded => "is excluded".to_owned(),
    };
    let did = agency.last_did.as_ref().map(|did| format!("; it last did: {did}")).unwrap_or_default();
    let refused = match &agency.last_refusal {
        Some(reason) => {
            let batches = counted(agency.refused, "batch was", "batches were");
            format!("; {batches} rejected, the last one because: {reason}")
        }
        None => String::new(),
    };
    format!("Agency {id} {why}{did}{refused}.")
}
