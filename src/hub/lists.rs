//! Lists of winners, each encoded once for all connections that ask for it.

use std::collections::HashMap;
use std::rc::Rc;

use super::connections::List;
use crate::lottery::{AgencyId, Bet, Refusal};
use crate::wire::{After, Dialect, Reply};

/// Lists of winners that are on their way. They do not change after the draw, so that each is encoded once, however many
/// connections ask for it.
#[derive(Debug, Default)]
pub(super) struct Lists {
    known: HashMap<(AgencyId, Dialect), Rc<List>>,
    /// Memory that they hold, in bytes.
    pub(super) bytes: usize,
    /// What was encoded last, where it is too short to be shared.
    short: Vec<u8>,
}

/// The reply to a query.
pub(super) enum Encoded<'a> {
    /// `fresh`: it was not encoded before.
    Shared { list: Rc<List>, fresh: bool },
    /// Too short to be shared.
    Own { bytes: &'a [u8], after: After },
}

impl Lists {
    /// The winners of an agency in a dialect, shared where they are `shared_bytes_min` bytes or more.
    pub(super) fn of<'b>(
        &mut self,
        key: (AgencyId, Dialect),
        winners: impl FnOnce() -> Result<Option<&'b [Bet]>, Refusal>,
        shared_bytes_min: usize,
    ) -> Encoded<'_> {
        if let Some(list) = self.known.get(&key) {
            return Encoded::Shared { list: Rc::clone(list), fresh: false };
        }
        let (agency, dialect) = key;
        let reply = match winners() {
            Ok(winners) => Reply::Winners { agency, bets: winners.expect("parked queries are flushed after the draw") },
            Err(refusal) => Reply::Refused(refusal),
        };
        self.short.clear();
        let after = dialect.encode(&reply, &mut self.short);
        if self.short.len() < shared_bytes_min {
            return Encoded::Own { bytes: &self.short, after };
        }
        let mut bytes = std::mem::take(&mut self.short);
        bytes.shrink_to_fit();
        self.bytes += bytes.capacity();
        let list = Rc::new(List { bytes, after });
        self.known.insert(key, Rc::clone(&list));
        Encoded::Shared { list, fresh: true }
    }

    /// Drops lists that no connection waits for.
    pub(super) fn drop_unused(&mut self) {
        self.known.retain(|_, list| Rc::strong_count(list) > 1);
        self.bytes = self.known.values().map(|list| list.bytes.capacity()).sum();
    }
}
