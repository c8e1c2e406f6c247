//! What must hold in a session, and how it ends.

use std::net::{Ipv4Addr, SocketAddr};

use loteria::hub::Hub;
use loteria::limits;
use loteria::lottery::{AgencyId, Lottery, Standing};
use loteria::storage::{CommitError, File, OpenError, Store};
use loteria::wire::Dialect;

use super::{BUFFERS_BYTES_MAX, Session, WAITS_MAX, WINNING_NUMBER, peer};

impl Session {
    /// What was committed is on the disk.
    pub(super) fn note_committed(&mut self) {
        let lottery = self.hub.lottery();
        let state = |id: &AgencyId| lottery.agency(*id).expect("an agency of the roster").clone();
        self.committed.agencies = self.roster.ids().iter().map(state).collect();
        self.committed.drawn = lottery.drawn();
        if self.hub.keeper().group() == std::mem::replace(&mut self.committed.group, self.hub.keeper().group()) {
            return;
        }
        // Whether they are durable, too, only a power cut shows: the disk may have them in the redo log.
        let bytes = self.disk.cache(File::Rows);
        assert!(bytes.len() >= self.committed.rows_bytes, "committed rows are gone");
        let added = bytes[self.committed.rows_bytes..].split_inclusive(|byte| *byte == b'\n');
        self.rows.extend(added.map(<[u8]>::to_vec));
        self.committed.rows_bytes = bytes.len();
    }

    /// Every bet and finish that was acknowledged is stored; bets before `from` have been looked up.
    pub(super) fn assert_stored(&self, from: usize) {
        for (agency, document) in &self.acknowledged.bets[from..] {
            let stored = match agency {
                Some(agency) => self.rows.contains(&peer::row(*agency, *document)),
                None => self.roster.ids().iter().any(|id| self.rows.contains(&peer::row(id.0, *document))),
            };
            assert!(stored, "bet {document} of agency {agency:?} was acknowledged, and is not stored");
        }
        for agency in &self.acknowledged.finishes {
            let standing = self.hub.lottery().agency(AgencyId(*agency)).expect("an agency of the roster").standing;
            assert_eq!(standing, Standing::Finished, "agency {agency} was told that it has finished");
        }
    }

    pub(super) fn assert_bounds(&self) {
        let connections = self.hub.connections();
        let held = self.peers.len() * 255 * 128;
        let buffers = self.hub.buffered_bytes();
        assert!(buffers <= connections * BUFFERS_BYTES_MAX + held, "{buffers} bytes for {connections} connections");
        let slots = self.hub.parked_slots();
        let wanted = 2 * self.hub.parked() + connections + limits::LEFTOVERS_MIN;
        assert!(slots <= wanted, "{slots} slots in the queue for the draw, of {wanted}");
        let reminders = self.hub.reminders();
        let wanted = 2 * limits::LEFTOVERS_MIN + 400 * (connections + 1);
        assert!(reminders <= wanted, "{reminders} reminders, of {wanted}");
    }

    /// The process dies, and with `power` the machine; another one starts, and must know what was committed.
    pub(super) fn restart(&mut self, power: bool) {
        self.starts += 1;
        self.peers.clear();
        if power {
            self.disk.power_cut()
        } else {
            self.disk.kill()
        }
        let opened = match Store::open(self.disk.mount(), self.options.clone()) {
            Err(OpenError::Io { .. }) => {
                // A disk that is full or fails may keep a hub from starting. Then it is mended.
                self.disk.set_space(None);
                self.disk.fail_sync(None);
                self.disk.kill();
                Store::open(self.disk.mount(), self.options.clone())
            }
            opened => opened,
        };
        let (store, recovered) = opened.unwrap_or_else(|error| panic!("what only a hub has written: {error}"));
        let mut lottery = Lottery::new(self.roster.clone(), recovered.drawn.unwrap_or(WINNING_NUMBER));
        for (agency, state) in recovered.agencies {
            lottery.restore(agency, state).expect("an agency of the roster");
        }
        if recovered.drawn.is_some() {
            lottery.restore_drawn();
        }
        self.assert_remembered(&lottery);
        self.torn = false;
        self.hub = Hub::new(self.policy.clone(), lottery, store, self.now);
        self.disk.fail_sync(None);
        self.rows.clear();
        (self.committed.rows_bytes, self.committed.group) = (0, 0);
        self.note_committed();
        self.assert_stored(0);
        self.turn();
    }

    fn assert_remembered(&self, lottery: &Lottery) {
        for (id, before) in self.roster.ids().iter().zip(&self.committed.agencies) {
            let after = lottery.agency(*id).expect("an agency of the roster");
            let grown = after.batches >= before.batches && after.bets >= before.bets;
            assert!(grown, "agency {id} had {before:?}, and has {after:?}");
            assert!(after.winners.starts_with(&before.winners), "agency {id} had {before:?}, and has {after:?}");
            assert!(before.standing == Standing::Betting || after.standing == before.standing, "agency {id}");
            let same = after.batches == before.batches
                && (after.bets, after.standing, after.winners.len())
                    == (before.bets, before.standing, before.winners.len());
            assert!(same || self.torn, "agency {id} had {before:?}, and has {after:?}");
        }
        assert!(lottery.drawn() == self.committed.drawn || (self.torn && lottery.drawn()), "the draw");
    }

    /// An orderly end, and a new start.
    pub(super) fn stop(&mut self) {
        self.hub.shut_down(self.now);
        if self.turn() {
            if let Err(error) = self.hub.close_store() {
                assert!(matches!(error, CommitError::Fatal(_)), "a seal is no promise");
                self.torn = true;
            }
            self.restart(self.options.sync);
        }
    }

    /// No more faults. Connections without a parked query end by themselves, and the other agencies can still finish
    /// and get their winners.
    pub(super) fn end(&mut self) {
        self.disk.set_space(None);
        self.disk.fail_sync(None);
        self.disk.crash_at_call(None);
        self.peers.iter_mut().for_each(|peer| peer.arrives(usize::MAX));
        self.settle();
        for peer in &self.peers {
            let lacks = peer.lacks_an_answer(self.hub.lottery().drawn()) && !self.hub.is_closing(peer.id);
            assert!(!lacks, "{:?} waits for an answer, and the hub for nothing", peer.id);
        }
        for waits in 0.. {
            self.settle();
            if self.hub.connections() == self.hub.parked() {
                break;
            }
            assert!(waits < WAITS_MAX, "{} connections do not end", self.hub.connections());
            self.now = self.hub.next_deadline().expect("a connection that is not parked has a deadline");
        }
        while !self.peers.is_empty() {
            self.lose(0);
        }
        assert_eq!((self.hub.connections(), self.hub.buffered_bytes()), (0, 0), "no connection is left");
        self.finish_and_ask();
        self.settle();
        self.stop();
        self.stop();
    }

    fn finish_and_ask(&mut self) {
        self.pass(limits::FULL_DISK_PAUSE);
        let ids: Vec<AgencyId> = self.roster.ids().to_vec();
        let excluded = |session: &Session, id| session.hub.lottery().agency(id).unwrap().standing == Standing::Excluded;
        let (mut asking, mut waiting) = (0, Vec::new());
        for id in ids {
            // Agencies that come late may be excluded while others query.
            if excluded(self, id) {
                continue;
            }
            asking += 1;
            let mut words = Vec::new();
            Dialect::Native.put_hello(id, &mut words);
            Dialect::Native.put_finish(id, &mut words);
            Dialect::Native.put_query(id, &mut words);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
            let connection = self.hub.open(address, self.now).or_else(|_| {
                // Where there are fewer slots than agencies, parked queries can be answered later.
                let first = waiting.remove(0);
                self.hub.closed(first, self.now);
                self.hub.open(address, self.now)
            });
            let connection = connection.expect("there is room");
            self.hub.receive(connection, &words, self.now);
            self.settle();
            waiting.push(connection);
        }
        if asking > 0 {
            assert!(self.hub.lottery().drawn(), "every agency has finished");
            assert_eq!(self.hub.parked(), 0, "every query is answered after the draw");
        }
        for connection in waiting {
            assert!(self.hub.unsent(connection).len() >= 13 + 25 + 13, "welcome, finish and winners");
            self.hub.closed(connection, self.now);
        }
    }
}

/// Takes every log line, so that what makes them runs, too: whatever peers say, each is one line.
pub(super) fn listen_to_the_log() {
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = record.args().to_string();
            assert!(
                line.starts_with("action: ") && !line.bytes().any(|byte| byte.is_ascii_control()),
                "a log line: {line:?}"
            );
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Listener).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}
