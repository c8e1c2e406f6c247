//! Stepping aside: while the keeper cannot commit, newcomers are refused, so that a balancer sends them to another hub.

use std::time::Duration;

use mio::Interest;

use super::{Accept, LISTENER, Reactor};
use crate::limits;
use crate::logging::Value;
use crate::storage::Keep;
use crate::timers::Moment;

impl<K: Keep> Reactor<K> {
    /// Has the hub refuse new connections once the keeper has been in trouble for `after`.
    #[must_use]
    pub fn step_aside_after(mut self, after: Duration) -> Reactor<K> {
        self.incoming.aside.after = Some(after);
        self
    }

    /// Closes the listener, or opens it again, by what the keeper says. After the draw nothing changes any more, and the hub can
    /// answer without it.
    pub(super) fn step_aside(&mut self, now: Moment) {
        let Some(after) = self.incoming.aside.after else { return };
        let trouble = self.hub.keeper().trouble().filter(|_| !self.hub.lottery().draw_is_committed());
        let Some(trouble) = trouble else { return self.step_back(now) };
        if now < trouble.since + after {
            return;
        }
        if let Some(mut listener) = self.incoming.listener.take() {
            let _closing_removes_it_anyhow = self.poll.registry().deregister(&mut listener.socket);
            let (address, why) = (listener.address(), Value(&trouble.why));
            log::warn!(
                "action: step_aside | result: success | address: {address} | reason: {why}, new connections are refused until it works"
            );
            self.incoming.aside.closed = Some((listener.close(), now));
            self.incoming.next = Accept::Idle;
        }
        if now >= self.incoming.aside.part_at.unwrap_or(trouble.since + after.max(limits::ASIDE_PARTS_AFTER)) {
            self.incoming.aside.part_at = Some(now + limits::ASIDE_RETRY);
            self.hub.part_with_resumable(now);
        }
    }

    fn step_back(&mut self, now: Moment) {
        self.incoming.aside.part_at = None;
        let Some((closed, at)) = self.incoming.aside.closed.take() else { return };
        if now < at {
            self.incoming.aside.closed = Some((closed, at));
            return;
        }
        match closed.listen() {
            Ok(mut listener) => {
                let address = listener.address();
                match self.poll.registry().register(&mut listener.socket, LISTENER, Interest::READABLE) {
                    Ok(()) => log::info!("action: step_back | result: success | address: {address}"),
                    Err(error) => {
                        log::error!("action: step_back | result: fail | address: {address} | reason: {error}")
                    }
                }
                self.incoming.listener = Some(listener);
                self.incoming.next = Accept::Pending;
            }
            Err((closed, error)) => {
                let address = closed.address();
                log::error!("action: step_back | result: fail | address: {address} | reason: {error}, tried again");
                self.incoming.aside.closed = Some((closed, now + limits::ASIDE_RETRY));
            }
        }
    }
}
