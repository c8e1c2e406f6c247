//! The orderly end: nothing new, what is committed is sent, every resource is closed and logged.

use mio::Events;

use super::{Reactor, RunError};
use crate::engine::ConnectionId;
use crate::limits;
use crate::storage::Disk;

impl<D: Disk> Reactor<D> {
    pub(super) fn shut_down(mut self, events: &mut Events) -> Result<(), RunError> {
        let began = self.clock.now();
        if let Some(mut listener) = self.listener.take() {
            let _ = self.poll.registry().deregister(&mut listener.socket);
            log::info!("action: close_listener | result: success | address: {}", listener.address());
        }
        // What was received before the signal has been committed and answered; what is under way is not.
        self.engine.shut_down(began);
        self.end_turn(began)?;
        let until = began + limits::SHUTDOWN_FLUSH;
        while self.owes_bytes() && self.clock.now() < until {
            self.poll(events, Some(self.clock.until(until)))?;
            let now = self.clock.now();
            self.note_events(events, now);
            self.write_all(now);
        }
        let now = self.clock.now();
        let peers: Vec<(ConnectionId, _)> = self.engine.peers().collect();
        for (id, peer) in peers {
            self.close(id, now);
            log::info!("action: close_connection | result: success | ip: {peer}");
            self.log.flush();
        }
        self.engine.close_store()?;
        log::info!("action: close_store | result: success");
        log::info!("action: shutdown | result: success");
        Ok(())
    }

    fn owes_bytes(&self) -> bool {
        self.engine.peers().any(|(id, _)| !self.engine.outgoing(id).is_empty())
    }
}
