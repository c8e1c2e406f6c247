//! What holds between two calls, whatever happened before: checked by the simulation after every turn.

use super::Hub;
use super::connection::Connection;
use crate::session::Phase;
use crate::storage::Disk;

impl<D: Disk> Hub<D> {
    /// Counts again what is kept as a sum. Slow: it looks at every connection.
    ///
    /// # Panics
    /// Where a sum is wrong.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let connections = || self.connections.iter().map(|(_, connection)| connection);
        let buffered: usize = connections().map(|connection| connection.buffered()).sum();
        assert_eq!(self.buffered_bytes, buffered, "bytes of all buffers");
        let parked = connections().filter(|connection| connection.parked).count();
        assert_eq!(self.parked_count, parked, "parked connections");
        for connection in connections() {
            let (session, phase) = (&connection.session, connection.session.phase);
            assert_eq!(connection.owed, 0, "nothing is owed between turns");
            assert!(!connection.parked || matches!(phase, Phase::Waiting(_)), "a parked connection is {phase:?}");
            assert!(
                session.inbox.is_empty() || !matches!(phase, Phase::Closing(_)),
                "a closing connection keeps no frame"
            );
        }
        assert!(self.turn.is_empty(), "a turn leaves nothing behind");
        self.unnumbered.assert_counts(&self.lottery, &self.presence);
        let spoken_for = |connection: &Connection| Some((connection.session.agency?, connection.is_agency()));
        self.presence.assert_counts(connections().filter_map(spoken_for));
    }
}
