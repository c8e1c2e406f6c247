//! What the hub must be like, told by what was sent and what was committed, and by nothing that the hub says of
//! itself: a small, slow twin that is compared with it after every commit and every restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use loteria::hub::{Hub, OnAgencyLoss, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Lottery, Standing};
use loteria::storage::File;
use loteria::timers::Moment;
use loteria::wire::Dialect;

use crate::bets::{Batches, Kind};
use crate::net::{Ask, HubEnd, LinkId, Net};
use crate::reactor::{Keeper, Witness};
use crate::storage_kit::disk::SimDisk;
use crate::trace;

/// One agency, as its stored rows and its clients' requests make it.
#[derive(Debug)]
pub struct Agency {
    /// What its own clients speak.
    pub dialect: Dialect,
    pub standing: Standing,
    pub batches: u64,
    pub bets: u64,
    pub winners: Vec<String>,
    /// A finish was answered: it must never be forgotten.
    pub finish_answered: bool,
    /// Requests that finish it, and where their last bytes stand.
    pub finishes: Vec<(LinkId, usize)>,
    /// In `native`: how many batches it has before it finishes.
    pub whole: Option<u64>,
    /// When a connection of it was last seen.
    here_at: Moment,
    /// The live links of it that have been seen.
    seen: BTreeSet<LinkId>,
    /// It came back after its grace: the hub may not have noticed before it excludes it.
    late: bool,
    /// The hub has decided to exclude it, in a turn that may be in flight.
    given_up: bool,
    /// When bytes of it were last read; `None` since the hub's last start.
    read_at: Option<Moment>,
    /// Bytes read on its live links: now, and a turn ago.
    bytes_read: (usize, usize),
}

impl Agency {
    /// A connection of it is there.
    fn see(&mut self, link: LinkId, (grace, idle): (Duration, Duration), now: Moment) {
        if self.seen.is_empty() {
            let silence = if self.is_lost_by_silence() { idle } else { Duration::ZERO };
            self.late = self.here_at.until(now) >= grace + silence;
        }
        self.seen.insert(link);
        self.here_at = now;
    }

    /// Its clients may open a connection for each message.
    fn is_lost_by_silence(&self) -> bool {
        matches!(self.dialect, Dialect::Binary | Dialect::Text)
    }
}

/// The twin.
#[derive(Debug)]
pub struct Model {
    pub batches: Batches,
    pub agencies: BTreeMap<u32, Agency>,
    /// The agencies that connections without a number may be given.
    pub pool: Vec<u32>,
    pub policy: Policy,
    pub drawn: bool,
    /// Winners have left.
    pub winners_told: bool,
    pub now: Moment,
    /// Batches may be rejected for want of room.
    pub may_be_full: bool,
    /// The hub has been told to stop.
    pub stopping: bool,
    disk: SimDisk,
    /// The rows as of the last commit.
    file: Vec<u8>,
    /// What had been logged, and was stored, when the hub started.
    logged_before: trace::Logged,
    stored: u64,
    stored_before: u64,
    pub drawn_before: bool,
}

impl Model {
    pub fn new(disk: SimDisk, policy: Policy, agencies: impl Iterator<Item = (u32, Dialect)>) -> Model {
        let agency = |dialect: Dialect| Agency {
            dialect,
            standing: Standing::Betting,
            batches: 0,
            bets: 0,
            winners: Vec::new(),
            finish_answered: false,
            finishes: Vec::new(),
            whole: None,
            here_at: Moment::default(),
            seen: BTreeSet::new(),
            late: false,
            given_up: false,
            read_at: None,
            bytes_read: (0, 0),
        };
        Model {
            batches: Batches::default(),
            agencies: agencies.map(|(id, dialect)| (id, agency(dialect))).collect(),
            pool: policy.unnumbered_agencies.iter().map(|id| id.0).collect(),
            policy,
            drawn: false,
            winners_told: false,
            now: Moment::default(),
            may_be_full: false,
            stopping: false,
            disk,
            file: Vec::new(),
            logged_before: trace::Logged::default(),
            stored: 0,
            stored_before: 0,
            drawn_before: false,
        }
    }

    pub fn is_excluded(&self, agency: Option<u32>) -> bool {
        agency.and_then(|id| self.agencies.get(&id)).is_some_and(|agency| agency.standing == Standing::Excluded)
    }

    /// Whether the hub has read a request that finishes `agency`.
    pub fn may_have_finished(&self, net: &Net, agency: u32) -> bool {
        let read = |(link, end): &(LinkId, usize)| net.has_read(*link, *end);
        let ids = if self.pool.contains(&agency) { &self.pool[..] } else { std::slice::from_ref(&agency) };
        ids.iter().any(|id| self.agencies[id].finishes.iter().any(read))
    }

    /// The hub has started on what was left: what had been committed must be there, and nothing else but whole
    /// batches that somebody sent.
    pub fn recovered(&mut self, net: &Net, lottery: &Lottery) {
        self.stopping = false;
        let rows = self.disk.cache(File::Rows);
        let kept = self.file.len();
        assert!(rows.len() >= kept, "committed rows are lost: {} bytes are left of {kept}", rows.len());
        assert!(rows[..kept] == self.file[..], "committed rows have changed");
        self.take_rows(&rows, net);
        self.compare(net, lottery, true);
        self.logged_before = trace::logged();
        self.stored_before = self.stored;
        self.drawn_before = self.drawn;
        for agency in self.agencies.values_mut() {
            agency.here_at = self.now;
            agency.read_at = None;
        }
    }

    /// Takes in the rows behind those already known.
    fn take_rows(&mut self, rows: &[u8], net: &Net) {
        while self.file.len() < rows.len() {
            assert!(!self.drawn, "bets are stored after the draw");
            let rest = &rows[self.file.len()..];
            let Some((number, agency)) = self.batches.identify(rest) else {
                panic!("no batch starts at byte {} of the rows: {:?}", self.file.len(), text(rest));
            };
            let batch = &mut self.batches.all[number];
            let expected = batch.rows(agency);
            assert!(rest.starts_with(&expected), "batch {number} is not stored whole: {:?}", text(rest));
            assert_eq!(batch.kind, Kind::Good, "batch {number} is stored and must not be");
            assert!(batch.copies < batch.copies_max, "batch {number} is stored twice, or was rejected");
            let read = batch.sent.iter().any(|(link, end)| net.has_read(*link, *end));
            assert!(read, "batch {number} is stored before all of it was read");
            match batch.agency {
                Some(own) => assert_eq!(own, agency, "batch {number} is stored as another agency's"),
                None => assert!(self.pool.contains(&agency), "agency {agency} is not for connections without one"),
            }
            let state = self.agencies.get_mut(&agency).expect("an agency of the roster");
            if let Some(sequence) = batch.sequence {
                assert_eq!(sequence, state.batches, "batch {number} of agency {agency} is stored out of its order");
            }
            assert!(!state.finish_answered, "bets of agency {agency} are stored after its finish was answered");
            batch.agency = Some(agency);
            batch.copies += 1;
            state.batches += 1;
            state.bets += batch.bets.len() as u64;
            state.winners.extend(batch.winners().map(str::to_owned));
            self.stored += 1;
            trace::event("stored", &[("batch", number as u64), ("agency", u64::from(agency))]);
            self.file.extend(expected);
        }
    }

    /// Compares the hub's memory with what the rows add up to, and follows finishes, exclusions and the draw.
    fn compare(&mut self, net: &Net, lottery: &Lottery, restarted: bool) {
        let ids: Vec<u32> = self.agencies.keys().copied().collect();
        for id in ids {
            let agency = lottery.agency(AgencyId(id)).expect("an agency of the roster");
            let seen = agency.committed();
            let state = &self.agencies[&id];
            assert_eq!(seen.batches, state.batches, "batches of agency {id}, in memory and in the rows");
            assert_eq!(seen.bets, state.bets, "bets of agency {id}, in memory and in the rows");
            let winners = agency.winners[..seen.winners].iter().map(|bet| bet.document());
            assert!(winners.eq(state.winners.iter().map(String::as_str)), "winners of agency {id}");
            if seen.standing == state.standing {
                continue;
            }
            assert_eq!(state.standing, Standing::Betting, "agency {id} is {:?} no more", state.standing);
            match seen.standing {
                Standing::Finished => self.check_finish(net, id),
                // Decided when the turn began, and checked then; or in the turn that a crash cut off.
                Standing::Excluded => assert!(restarted || self.agencies[&id].given_up, "agency {id} is excluded"),
                Standing::Betting => {}
            }
            trace::event("standing", &[("agency", u64::from(id)), ("now", seen.standing as u64)]);
            self.agencies.get_mut(&id).expect("it is there").standing = seen.standing;
        }
        if lottery.draw_is_committed() != self.drawn {
            assert!(!self.drawn, "the draw is forgotten");
            let betting = self.agencies.values().any(|agency| agency.standing == Standing::Betting);
            assert!(!betting, "the draw is made before every agency has finished");
            let finished = self.agencies.values().any(|agency| agency.standing == Standing::Finished);
            assert!(finished, "the draw is made among nobody");
            self.drawn = true;
            trace::event("drawn", &[]);
        }
    }

    fn check_finish(&self, net: &Net, id: u32) {
        assert!(self.may_have_finished(net, id), "agency {id} has finished, and never said so");
        if let Some(whole) = self.agencies[&id].whole {
            assert_eq!(self.agencies[&id].batches, whole, "agency {id} has finished without its last batches");
        }
    }

    /// Checks what the hub has decided in turns that are not committed.
    fn check_decisions(&mut self, lottery: &Lottery) {
        let ids: Vec<u32> = self.agencies.keys().copied().collect();
        for id in ids {
            let state = lottery.agency(AgencyId(id)).expect("an agency of the roster");
            let given_up = state.standing == Standing::Excluded;
            if given_up && !self.agencies[&id].given_up && self.agencies[&id].standing == Standing::Betting {
                self.check_exclusion(id, state.batches);
            }
            self.agencies.get_mut(&id).expect("it is there").given_up = given_up;
        }
    }

    fn check_exclusion(&self, id: u32, batches: u64) {
        let agency = &self.agencies[&id];
        assert_eq!(self.policy.on_agency_loss, OnAgencyLoss::Exclude, "agency {id} is excluded");
        assert!(batches > 0, "agency {id} is excluded and has not begun");
        let needed = self.policy.loss_grace;
        let gone = agency.here_at.until(self.now);
        assert!(gone >= needed || agency.late, "agency {id} is excluded after {gone:?}, its grace is {needed:?}");
        if let (Some(read_at), true) = (agency.read_at, agency.is_lost_by_silence()) {
            let (quiet, needed) = (read_at.until(self.now), needed + self.policy.idle_timeout);
            assert!(
                quiet >= needed || agency.late,
                "agency {id} is excluded after a silence of {quiet:?}, not {needed:?}"
            );
        }
    }

    /// Notes which agencies are here, as far as the hub can know.
    fn look_around(&mut self, hub: &Hub<Keeper>, net: &Net) {
        for agency in self.agencies.values_mut() {
            agency.bytes_read.0 = 0;
        }
        let grace = (self.policy.loss_grace, self.policy.idle_timeout);
        for (number, link) in net.live.iter().map(|id| (*id, &net.links[*id])).filter(|(_, link)| !link.refused) {
            if let Some((earlier, named_at)) = link.earlier
                && link.up_read >= named_at
                && let HubEnd::Open(id) = link.hub
                && !hub.is_closing(id)
            {
                self.agencies.get_mut(&earlier).expect("an agency of the roster").see(number, grace, self.now);
            }
            let Some(agency) = link.agency.and_then(|id| self.agencies.get_mut(&id)) else { continue };
            if link.named_at.is_none_or(|end| link.up_read < end) {
                // Nobody can know yet whose it is.
                continue;
            }
            // What comes after the hub has closed its side is read and thrown away.
            if let HubEnd::Open(id) = link.hub
                && !hub.is_closing(id)
            {
                agency.see(number, grace, self.now);
                // A connection in a dialect that keeps its connection says nothing of a silence.
                if link.dialect == agency.dialect {
                    agency.bytes_read.0 += link.up_read;
                }
            }
        }
        for agency in self.agencies.values_mut() {
            let is_live = |id: &LinkId| net.live.contains(id) && matches!(net.links[*id].hub, HubEnd::Open(_));
            agency.seen.retain(is_live);
            let (now, before) = agency.bytes_read;
            if now > before {
                agency.read_at = Some(self.now);
            }
            agency.bytes_read.1 = now;
        }
    }

    /// Every whole frame that came before the peer's end is answered.
    fn check_ended(&self, net: &Net) {
        for id in &net.live {
            let link = &net.links[*id];
            let Some(owed) = link.owed_bytes.filter(|_| link.ended_in_order && !link.refused) else { continue };
            assert!(link.tapped == owed || self.stopping, "link {id}: {} of {owed} frames are answered", link.tapped);
        }
    }

    fn check_parked(&self, hub: &Hub<Keeper>, net: &Net) {
        if hub.has_work() || !hub.is_settled() || self.stopping {
            return;
        }
        let mut waiting = Vec::new();
        for id in &net.live {
            let link = &net.links[*id];
            let HubEnd::Open(connection) = link.hub else { continue };
            let query = link.requests.iter().find(|request| request.ask == Ask::Query);
            let asks = query.is_some_and(|query| link.up_read >= query.end);
            if asks && !hub.is_closing(connection) {
                waiting.push(*id);
            }
        }
        assert_eq!(hub.parked(), waiting.len(), "queries wait by the hub's count, and by what was asked: {waiting:?}");
        let waiting = waiting.len();
        assert!(!self.drawn || waiting == 0, "{waiting} queries wait after the draw");
    }
}

impl Witness for Model {
    fn machine_has_stopped(&self) -> bool {
        self.disk.crashed()
    }

    fn committed(&mut self, hub: &Hub<Keeper>, net: &Net) {
        self.look_around(hub, net);
        let disk = self.disk.clone();
        let known = self.file.len();
        let rows = disk.peek(File::Rows, |rows| {
            assert!(rows.len() >= known, "committed rows were cut off");
            (rows.len() > known).then(|| rows.to_vec())
        });
        if let Some(rows) = rows {
            self.take_rows(&rows, net);
        }
        self.check_decisions(hub.lottery());
        self.compare(net, hub.lottery(), false);
    }

    fn released(&mut self, hub: &Hub<Keeper>, net: &mut Net, link: LinkId, bytes: &[u8]) {
        self.receive(hub, net, link, bytes);
    }

    fn turn_ended(&mut self, hub: &Hub<Keeper>, net: &Net) {
        let logged = trace::logged();
        let stored = self.stored - self.stored_before;
        assert_eq!(logged.stored - self.logged_before.stored, stored, "stored batches, by the log and by the rows");
        let draws = u32::from(self.drawn && !self.drawn_before);
        assert_eq!(logged.draws - self.logged_before.draws, draws, "draws in the log");
        assert!(hub.buffered_bytes() <= limits::BUFFERS_BYTES_MAX, "buffers over their limit");
        hub.assert_invariants();
        self.check_parked(hub, net);
        self.check_ended(net);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}
