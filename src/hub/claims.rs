//! Which agency a connection speaks for, and whether that agency is known to be behind it.

use super::Hub;
use super::connections::{Connection, ConnectionId};
use super::events::{Event, Peer};
use crate::lottery::{AgencyId, Refusal};
use crate::storage::Keep;
use crate::wire::{Rejection, Speaker};

impl<K: Keep> Hub<K> {
    /// Which agency a request speaks for, if it may.
    pub(super) fn speaker(&mut self, slot: usize, speaker: Speaker) -> Result<AgencyId, Rejection> {
        let agency = match (speaker, self.connections[slot].session.agency) {
            (Speaker::Named(agency), _) => agency,
            (Speaker::Connection, Some(agency)) => agency,
            (Speaker::Connection, None) => self.free_agency(slot).ok_or(Refusal::UnknownAgency)?,
        };
        self.claim(slot, agency)?;
        Ok(agency)
    }

    /// The first agency that an unnumbered connection may be: neither a connection nor a stored bet has
    /// claimed it.
    fn free_agency(&self, slot: usize) -> Option<AgencyId> {
        self.connections[slot].session.certified.or_else(|| self.liveness.unnumbered.first())
    }

    /// The connection speaks for `agency` from here on.
    pub(super) fn claim(&mut self, slot: usize, agency: AgencyId) -> Result<(), Rejection> {
        let session = &mut self.connections[slot].session;
        if session.agency == Some(agency) {
            return Ok(());
        }
        if session.certified.is_some_and(|certified| certified != agency) {
            self.emit(&Event::WrongCertificate { peer: self.peer_in(slot), agency });
            return Err(Rejection::Credentials);
        }
        if !self.lottery.roster().contains(agency) {
            return Err(Refusal::UnknownAgency.into());
        }
        let again = session.agency.replace(agency).and_then(|before| {
            self.speaks_for_another(slot, before);
            self.liveness.presence.speaks_again(self.connections.id(slot), agency)
        });
        self.liveness.unnumbered.claimed(agency);
        let known = self.connections[slot].is_agency();
        self.connections[slot].trust.greets = again.is_none_or(|earlier| earlier.greets);
        if again.is_some() {
            if known {
                self.liveness.presence.known(agency);
            }
        } else if self.liveness.presence.joined(agency, known) {
            self.emit(&Event::AgencyReturned(agency));
        }
        Ok(())
    }

    /// Notes that an agency is known now to be behind the connection, as `note` has it.
    pub(super) fn know(&mut self, slot: usize, note: impl FnOnce(&mut Connection)) {
        let connection = &mut self.connections[slot];
        let known = connection.is_agency();
        note(connection);
        if let Some(agency) = connection.session.agency
            && !known
            && connection.is_agency()
        {
            self.liveness.presence.known(agency);
        }
    }

    /// Whether an agency is known to be behind the connection: it has a certificate, or a batch or the finish of it is stored.
    /// Other connections wait for trusted ones.
    pub fn is_agency(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_some_and(Connection::is_agency)
    }

    /// The peer of the connection in a slot.
    pub(super) fn peer_in(&self, slot: usize) -> Peer {
        self.connections[slot].peer(self.connections.id(slot))
    }
}
