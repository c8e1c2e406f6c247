//! What holds after the reads of each turn.

use loteria::timers::Moment;

use super::Reactor;
use crate::net::{HubEnd, Net};

impl Reactor {
    /// A socket that may be read is read within a few turns for each connection that there is, whichever of them fill the turns.
    /// Turns that were cut short do not count: many of them in a row may end before they come to the sockets that wait the
    /// longest.
    pub(super) fn check_fairness(&mut self, net: &Net, is_whole: bool) {
        let most = 20 + 5 * net.live.len();
        for socket in self.sockets.iter_mut().flatten() {
            let HubEnd::Open(id) = net.links[socket.link].hub else { continue };
            let waits = socket.readable && self.hub.wants_read(id) && !self.hub.is_stalled();
            // By the most connections that there were since it began to wait.
            (socket.waits, socket.patience) =
                if waits { (socket.waits + usize::from(is_whole), socket.patience.max(most)) } else { (0, most) };
            assert!(socket.waits < socket.patience, "link {} is not read for {} turns", socket.link, socket.patience);
        }
    }

    /// Nothing that had arrived by the moment at which deadlines are judged waits to be accepted or read, and no room that
    /// a peer had made by then is left.
    pub(super) fn check_watermark(&mut self, net: &mut Net, now: Moment) {
        let judged = self.hub.watermark().at();
        for id in &net.live {
            let link = &mut net.links[*id];
            let waits = match link.hub {
                HubEnd::Backlog => true,
                HubEnd::Open(id) => self.hub.wants_read(id),
                HubEnd::Closed => false,
            };
            if !waits {
                // What the hub does not want now, behind a full inbox, counts from when it wants it.
                link.unread_since = link.unread_since.map(|_| now);
            }
            let early = link.unread_since.filter(|since| waits && !link.reset && *since < judged);
            assert!(
                early.is_none(),
                "time is judged at {judged:?}, and what link {id} has brought since {early:?} is unread"
            );
            let HubEnd::Open(open) = link.hub else { continue };
            let early = link.room_since.filter(|since| !link.reset && *since < judged);
            assert!(
                early.is_none() || self.hub.outgoing(open).is_empty(),
                "time is judged at {judged:?}, and the room that link {id} has had since {early:?} is not used"
            );
        }
    }
}
