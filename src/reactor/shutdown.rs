//! The orderly end: nothing new, what is committed reaches its peers, every resource is closed and logged.

use std::time::Duration;

use mio::Events;
use sd_notify::NotifyState;

use super::{Reactor, RunError, tell_manager};
use crate::hub::ConnectionId;
use crate::limits;
use crate::storage::Keep;
use crate::timers::Moment;

impl<K: Keep> Reactor<K> {
    pub(super) fn shut_down(mut self, events: &mut Events) -> Result<(), RunError> {
        tell_manager(&[NotifyState::Stopping]);
        self.stopping = true;
        let began = self.clock.now();
        if let Some(mut listener) = self.incoming.listener.take() {
            let _ = self.poll.registry().deregister(&mut listener.socket);
            log::info!("action: close_listener | result: success | address: {}", listener.address());
        }
        for balancer in self.incoming.unannounced.close_all() {
            log::info!("action: close_connection | result: success | ip: {}", balancer.ip());
        }
        let peers: Vec<(ConnectionId, _)> = self.hub.peers().collect();
        // What was received before the signal has been committed and answered; what is under way is not.
        self.hub.shut_down(began);
        self.end_turn(began)?;
        self.serve_viewers(began);
        self.part(events, began)?;
        let now = self.clock.now();
        for (id, peer) in peers {
            self.close(id, now);
            log::info!("action: close_connection | result: success | ip: {peer}");
            self.log.output.flush();
        }
        if let Some(status) = self.status.take() {
            status.close_all();
        }
        self.hub.close_store()?;
        log::info!("action: close_store | result: success");
        log::info!("action: shutdown | result: success");
        Ok(())
    }

    /// Waits until turns in flight are settled, sends what is left, and waits until every peer has ended its side too, but not
    /// for longer than [`Parting`] says. What peers still send is read and dropped: to close a socket with bytes in it resets the
    /// connection, and a reset destroys the answers that are still on their way.
    fn part(&mut self, events: &mut Events, began: Moment) -> Result<(), RunError> {
        let mut now = self.clock.now();
        let mut parting = Parting::begin(began);
        let mut is_over = false;
        while (self.hub.connections() > 0 || !self.hub.owes_nothing()) && !is_over {
            // The time is judged as of a poll's beginning: the hub may be stopped while it waits.
            let until = parting.until(self.hub.owes_nothing(), now);
            is_over = now >= until;
            let next = self.hub.keeper().next_wake().map_or(until, |wake| wake.min(until));
            let timeout = if self.is_busy() { Duration::ZERO } else { now.until(next) };
            now = self.poll(events, timeout)?;
            self.note_events(events, now);
            self.encryption.handshakes_left = limits::TLS_HANDSHAKES_PER_TURN;
            self.read_all(now);
            self.go_on(now);
            self.end_turn(now)?;
            self.serve_viewers(now);
        }
        Ok(())
    }
}

/// How long a hub that stops waits: for the keeper, and then for its peers.
#[derive(Debug)]
struct Parting {
    began: Moment,
    /// Since when the keeper owes nothing.
    settled: Option<Moment>,
}

impl Parting {
    fn begin(began: Moment) -> Parting {
        Parting { began, settled: None }
    }

    /// Until when to wait, as of `now`. Answers that come late have as long to reach their peers as any.
    fn until(&mut self, is_settled: bool, now: Moment) -> Moment {
        if !is_settled {
            self.settled = None;
            return self.began + limits::SHUTDOWN_SETTLE;
        }
        *self.settled.get_or_insert(now) + limits::SHUTDOWN_FLUSH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_hub_that_stops_waits_for_turns_no_longer_than_it_may_and_then_for_its_peers() {
        let began = Moment::after_origin(SECOND);
        let settles_until = began + limits::SHUTDOWN_SETTLE;
        let mut parting = Parting::begin(began);
        assert_eq!(parting.until(false, began), settles_until);
        assert_eq!(parting.until(false, settles_until), settles_until, "it is over then");
        let settled = began + SECOND;
        assert_eq!(parting.until(true, settled), settled + limits::SHUTDOWN_FLUSH);
        assert_eq!(parting.until(true, settled + SECOND), settled + limits::SHUTDOWN_FLUSH, "it began before");
    }
}
