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
        if let Some(mut listener) = self.listener.take() {
            let _ = self.poll.registry().deregister(&mut listener.socket);
            log::info!("action: close_listener | result: success | address: {}", listener.address());
        }
        for balancer in self.unannounced.close_all() {
            log::info!("action: close_connection | result: success | ip: {}", balancer.ip());
        }
        let peers: Vec<(ConnectionId, _)> = self.hub.peers().collect();
        // What was received before the signal has been committed and answered; what is under way is not.
        self.hub.shut_down(began);
        self.end_turn(began)?;
        self.serve_viewers(began);
        self.part(events, began + limits::SHUTDOWN_FLUSH)?;
        let now = self.clock.now();
        for (id, peer) in peers {
            self.close(id, now);
            log::info!("action: close_connection | result: success | ip: {peer}");
            self.log.flush();
        }
        if let Some(status) = self.status.take() {
            status.close_all();
        }
        self.hub.close_store()?;
        log::info!("action: close_store | result: success");
        log::info!("action: shutdown | result: success");
        Ok(())
    }

    /// Sends what is left, and waits until every peer has ended its side too, but not past `until`. What peers still
    /// send is read and dropped: to close a socket with bytes in it resets the connection, and a reset destroys the
    /// answers that are still on their way.
    fn part(&mut self, events: &mut Events, until: Moment) -> Result<(), RunError> {
        let mut now = self.clock.now();
        let mut is_over = false;
        while (self.hub.connections() > 0 || !self.hub.is_settled()) && !is_over {
            // The time is judged as of a poll's beginning: the hub may be stopped while it waits.
            let settle = if self.hub.is_settled() { Duration::ZERO } else { limits::SHUTDOWN_SETTLE };
            is_over = now >= until + settle;
            let next = self.hub.keeper().next_wake().into_iter().chain((now < until).then_some(until)).min();
            let wait = next.map_or(limits::POLL_MAX, |at| now.until(at));
            let timeout = if self.is_busy() { Duration::ZERO } else { wait };
            now = self.poll(events, timeout)?;
            self.note_events(events, now);
            self.handshakes_left = limits::TLS_HANDSHAKES_PER_TURN;
            self.read_all(now);
            self.go_on(now);
            self.end_turn(now)?;
            self.serve_viewers(now);
        }
        Ok(())
    }
}
