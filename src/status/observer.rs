//! The tally as an observer of the hub.

use std::cell::RefCell;
use std::rc::Rc;

use super::feed::Kind;
use super::reasons;
use super::tally::Tally;
use crate::hub::{Event, Observer};

/// Adds up what the hub does. The hub and the service are of one thread, and neither calls the other while it is called.
#[derive(Debug)]
pub struct Follower(pub Rc<RefCell<Tally>>);

impl Observer for Follower {
    fn observe(&mut self, event: &Event<'_>) {
        let mut tally = self.0.borrow_mut();
        match *event {
            Event::Stored { agency, peer, dialect, bets, .. } => tally.stored(peer, agency, dialect, bets),
            Event::Hello { peer, agency, dialect } => tally.hello(peer, agency, dialect),
            Event::Rejected { agency, peer, count, why, .. } => tally.rejected(peer, agency, count, why),
            Event::Finished { agency, peer, dialect, .. } => tally.finished(peer, agency, dialect),
            Event::Refused { peer, why, .. } => {
                tally.refused(peer, reasons::of_refused(why), || reasons::words_of_refused(why));
            }
            Event::Broken { peer, why } => tally.will_end(peer, reasons::of_broken(why)),
            Event::Closing { peer, why } => tally.will_end(peer, reasons::of_closing(why)),
            Event::CutShort { peer } => tally.will_end(peer, reasons::CUT_SHORT),
            Event::Unrepresentable { peer } => tally.will_end(peer, reasons::UNREPRESENTABLE),
            Event::Echoed { peer, .. } => tally.will_end(peer, reasons::ECHOED),
            Event::ConnectionEnded { peer, dialect, agency } => tally.ended(peer, dialect, agency),
            Event::AgencyLost(agency) => tally.befell(Kind::Lost, agency),
            Event::AgencyReturned(agency) => tally.befell(Kind::Returned, agency),
            Event::AgencyExcluded(agency) => tally.befell(Kind::Excluded, agency),
            Event::DrawWaits { agencies, more } => tally.waits(agencies.iter().copied(), more),
            Event::DrawMisses { missing, more } => tally.waits(missing.iter().map(|missing| missing.agency), more),
            Event::Drawn => tally.drawn(),
            Event::StoreFull { .. } => tally.store_full(),
            // The request that follows a wrong certificate, or meets an unreadable store, is rejected or refused; the summary and
            // two clients of one agency are the log's; a disk that has space again is known by its batch.
            Event::StoreHasSpace
            | Event::StoreUnreadable { .. }
            | Event::TwoClients { .. }
            | Event::WrongCertificate { .. }
            | Event::SummaryDue => {}
        }
    }
}
