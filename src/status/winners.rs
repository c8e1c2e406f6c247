//! `/winners.json`: who won, for the operator only.

use super::report::{VERSION, Winner, Winners};
use crate::hub::Hub;
use crate::limits;
use crate::lottery::AgencyId;
use crate::storage::Keep;

/// What a query asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The winners of this agency only.
    pub agency: Option<AgencyId>,
    /// Without the first ones.
    pub from: usize,
}

impl Wanted {
    /// Reads `agency=N&from=N`, both optional.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn parse(query: Option<&str>) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("agency", id)) => wanted.agency = Some(AgencyId(number("agency", id)?)),
                Some(("from", count)) => wanted.from = number("from", count)?,
                Some(_) | None => return Err("the query may have agency=N and from=N".to_owned()),
            }
        }
        Ok(wanted)
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} must be a number"))
}

/// The winners that are `wanted`, after the draw.
pub fn winners<K: Keep>(hub: &Hub<K>, wanted: Wanted) -> Winners {
    let ids = hub.lottery().roster().ids().iter().copied();
    let ids = ids.filter(|id| wanted.agency.is_none_or(|agency| agency == *id));
    let of = |id| hub.winners_of(id).unwrap_or_default();
    let all: usize = ids.clone().map(|id| of(id).len()).sum();
    let listed = ids.flat_map(|id| of(id).iter().map(move |bet| (id, bet))).skip(wanted.from);
    let listed = listed.take(limits::WINNERS_REPORTED_MAX);
    let winners: Vec<Winner> = listed.map(|(id, bet)| Winner::new(id, bet)).collect();
    let left_out = all.saturating_sub(wanted.from).saturating_sub(winners.len());
    Winners { version: VERSION, winning_number: hub.lottery().winning_number(), winners, left_out }
}
