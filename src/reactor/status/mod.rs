//! The status service's sockets, in the loop of the agencies and after them.
//!
//! Viewers are served at the end of a turn, within budgets of their own, and while agencies are served only for a small share
//! of the time ([`limits::STATUS_REST`]). They have slots of their own: agencies never wait for one of theirs.

mod doors;
mod local;
mod slots;
mod spare;
mod tokens;
mod view;
mod viewer;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use mio::event::Event;
use mio::{Interest, Registry};

pub use doors::StatusPlaces;
use doors::{Doors, Stream};
use slots::Slots;
use spare::Spare;
use tokens::{LOCAL, NETWORK, token_of, viewer_of};
use view::DiskView;
pub(super) use view::{LoopView, Traffic};
use viewer::Viewer;

use super::listener::is_the_connections;
use crate::hub::{Hub, Observer};
use crate::limits;
use crate::logging;
use crate::status::facts::{Door, Gauges, TurnTimes};
use crate::status::http::Response;
use crate::status::{Answer, Status};
use crate::storage::Keep;
use crate::system::host_name;
use crate::timers::Moment;

/// The status service on real sockets.
#[derive(Debug)]
pub struct StatusService {
    status: Status,
    doors: Doors,
    slots: Slots,
    spare: Spare,
    /// All viewers of events have been sent what is before this event; `None`: not all, or it is not known.
    sent_before: Option<u64>,
    /// Slots of viewers that may have something to do, each once.
    ready: VecDeque<usize>,
    names: Vec<String>,
    /// Viewers are not served before.
    rest_until: Moment,
    /// New viewers are not accepted before: the system has refused one.
    accept_at: Moment,
    /// No viewer's deadline is earlier.
    next_deadline: Moment,
    disk: DiskView,
    /// The request that a turn reads at most.
    scratch: Box<[u8]>,
}

/// What is left for viewers in a turn.
struct Budget {
    requests: usize,
    bytes: usize,
}

impl StatusService {
    /// Listens at `places`. A place that cannot be had is a warning; `None` where there is none at all. `store` is the bets'
    /// file.
    pub fn open(
        status: Status,
        places: &StatusPlaces,
        store: PathBuf,
        dead_peer_timeout: Duration,
    ) -> Option<StatusService> {
        let doors = Doors::open(places, dead_peer_timeout);
        if doors.is_none() {
            return None;
        }
        let mut names = places.names.clone();
        names.push(host_name());
        Some(StatusService {
            status,
            doors,
            slots: Slots::default(),
            spare: Spare::new(),
            sent_before: None,
            ready: VecDeque::new(),
            names,
            rest_until: Moment::default(),
            accept_at: Moment::default(),
            next_deadline: Moment::default(),
            disk: DiskView::new(store),
            scratch: vec![0; limits::STATUS_HEAD_BYTES_MAX + limits::STATUS_BODY_BYTES_MAX].into_boxed_slice(),
        })
    }

    /// Where the status is served, for a person.
    pub fn place(&self) -> String {
        let path = self.doors.path().map(|path| path.display().to_string());
        let address = self.doors.address().map(|address| format!("http://{address}/"));
        [address, path].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn observer(&self) -> Box<dyn Observer> {
        self.status.observer()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.doors.register(registry)
    }

    /// A turn begins, `uptime` after the start.
    pub(super) fn tick(&mut self, uptime: Duration) {
        self.status.tick(uptime, SystemTime::now());
    }

    /// Whether turns are traced, so that decoding is to be measured.
    pub(super) fn is_traced(&self) -> bool {
        self.status.is_traced()
    }

    /// A turn that did something has ended.
    pub(super) fn turn(&mut self, times: &TurnTimes) {
        self.status.turn(times);
    }

    /// Takes an event, if it is one of the service's.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        match event.token() {
            token @ (LOCAL | NETWORK) => self.doors.note(token),
            token => {
                let Some((slot, generation)) = viewer_of(token) else { return false };
                if let Some(viewer) = self.slots.get(slot).filter(|viewer| viewer.generation == generation) {
                    viewer.note(event);
                    self.queue(slot);
                }
            }
        }
        true
    }

    /// When the loop has to serve viewers again without an event.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        let accept_at = if self.may_use_spare() { self.rest_until } else { self.accept_at.max(self.rest_until) };
        let accepts = self.doors.is_pending().then_some(accept_at);
        let serves = (!self.ready.is_empty()).then_some(self.rest_until);
        let resting = (self.slots.streaming() > 0 && self.has_events()).then_some(self.rest_until);
        let expires = (!self.slots.is_empty()).then_some(self.next_deadline.max(self.rest_until));
        [accepts, serves, resting, expires].into_iter().flatten().min()
    }

    /// Serves viewers within this turn's budgets. `view`: what the answers say of the loop.
    pub(super) fn serve<K: Keep>(&mut self, hub: &Hub<K>, registry: &Registry, view: &LoopView<'_>, now: Moment) {
        if self.status.asks_for_free_bytes() {
            let free = self.disk.free_bytes_now();
            self.status.note_free_bytes(free);
        }
        if now < self.rest_until {
            return;
        }
        let accepts = self.doors.is_pending() && (self.accept_at <= now || self.may_use_spare());
        self.expire(now);
        self.queue_streaming();
        if self.ready.is_empty() && !accepts {
            return;
        }
        let began = Instant::now();
        let mut budget = Budget { requests: limits::STATUS_REQUESTS_PER_TURN, bytes: limits::STATUS_BYTES_PER_TURN };
        for _ in 0..self.ready.len().min(limits::STATUS_VIEWERS_PER_TURN) {
            let Some(slot) = self.ready.pop_front() else { break };
            self.visit(slot, hub, view, &mut budget, now);
        }
        while let Some(slot) = self.slots.slowest_where_too_much_is_unread() {
            self.status.viewer_dropped();
            self.close(slot);
        }
        if accepts {
            self.accept(registry, now);
        }
        if view.is_busy {
            let rest = began.elapsed().saturating_mul(limits::STATUS_REST);
            self.rest_until = now + rest.min(limits::STATUS_REST_MAX);
        }
    }

    /// Closes a viewer, so that an agency has its descriptor.
    pub(super) fn give_way(&mut self, now: Moment) {
        self.accept_at = now + limits::STATUS_ACCEPT_RETRY;
        if let Some(slot) = self.slots.first_to_go(self.spare.lent()) {
            self.close(slot);
        }
    }

    /// Ends it: what viewers have not taken is lost.
    pub(super) fn close_all(mut self) {
        self.slots.clear();
        if let Some(address) = self.doors.address() {
            log::info!("action: close_status | result: success | address: http://{address}/");
        }
        if let Some(path) = self.doors.path() {
            log::info!("action: close_status | result: success | socket: {}", logging::Value(path.display()));
        }
    }

    fn has_events(&self) -> bool {
        // A turn in which nothing happened asks no viewer.
        self.sent_before != Some(self.status.next_event())
            && self.slots.cursors().any(|cursor| self.status.has_events_since(cursor))
    }

    fn queue(&mut self, slot: usize) {
        if let Some(viewer) = self.slots.get(slot)
            && !std::mem::replace(&mut viewer.queued, true)
        {
            self.ready.push_back(slot);
        }
    }

    /// Acts on the deadlines that have passed. A viewer whose bytes have not been read yet is not late.
    fn expire(&mut self, now: Moment) {
        if now < self.next_deadline {
            return;
        }
        let mut next = now + limits::STATUS_IDLE_TIMEOUT;
        let mut due = Vec::new();
        for (slot, viewer) in self.slots.iter_mut() {
            if !viewer.queued {
                viewer.connection.expire(now);
                if viewer.has_work() {
                    due.push(slot);
                }
            }
            next = next.min(viewer.connection.deadline());
        }
        // One that is queued may be overdue: it is looked at again soon.
        self.next_deadline = next.max(now + limits::STATUS_LOOK);
        due.into_iter().for_each(|slot| self.queue(slot));
    }

    /// Queues the viewers of events that have not been sent all of them.
    fn queue_streaming(&mut self) {
        let next = self.status.next_event();
        if self.slots.streaming() == 0 || self.sent_before == Some(next) {
            return;
        }
        let status = &self.status;
        let behind = |viewer: &Viewer| viewer.cursor.as_ref().is_some_and(|cursor| status.has_events_since(cursor));
        let behind: Vec<usize> = self.slots.iter().filter(|(_, viewer)| behind(viewer)).map(|(slot, _)| slot).collect();
        self.sent_before = behind.is_empty().then_some(next);
        behind.into_iter().for_each(|slot| self.queue(slot));
    }

    /// Reads, answers and writes one viewer.
    fn visit<K: Keep>(&mut self, slot: usize, hub: &Hub<K>, view: &LoopView<'_>, budget: &mut Budget, now: Moment) {
        let (viewers, streaming) = (self.slots.len(), self.slots.streaming());
        let Some(viewer) = self.slots.get(slot) else { return };
        viewer.queued = false;
        viewer.read(&mut self.scratch, now);
        let (mut has_more, mut begins_to_stream) = (false, false);
        loop {
            if budget.requests == 0 && viewer.connection.has_input() {
                has_more = true;
                break;
            }
            let was_free = !viewer.connection.has_unsent();
            if !viewer.connection.read_request(&self.names, now) {
                // A refusal, too, is an answer.
                let is_refused = was_free && viewer.connection.has_unsent();
                budget.requests = budget.requests.saturating_sub(usize::from(is_refused));
            } else if let Some(request) = viewer.connection.request() {
                budget.requests = budget.requests.saturating_sub(1);
                let mut gauges = || Gauges { viewers, ..self.disk.add_to(view.gauges()) };
                let sockets = |id| view.socket(id, now);
                let door = viewer.stream.door();
                let answer = self.status.answer(&request, door, hub, now, &mut gauges, &sockets);
                let has_room = door == Door::Local || streaming < limits::STATUS_STREAMING_MAX;
                give(viewer, answer, has_room, now);
                begins_to_stream |= viewer.cursor.is_some();
            }
            if let Some(cursor) = &mut viewer.cursor
                && let Some(events) = viewer.connection.events()
            {
                let was_empty = events.is_empty();
                self.status.events_since(cursor, events);
                viewer.connection.events_added(was_empty, now);
            }
            let written = viewer.write(budget.bytes, now);
            budget.bytes -= written;
            if written == 0 || viewer.connection.has_unsent() || !viewer.connection.has_input() {
                break;
            }
        }
        self.next_deadline = self.next_deadline.min(viewer.connection.deadline());
        let (is_over, has_work) = (viewer.is_over(), viewer.has_work());
        let fell_behind = viewer.connection.is_behind();
        if begins_to_stream {
            self.slots.streams();
            self.sent_before = None;
        }
        if fell_behind {
            self.status.viewer_dropped();
        }
        if fell_behind || is_over {
            self.close(slot);
        } else if has_more || has_work {
            self.queue(slot);
        }
    }

    fn accept(&mut self, registry: &Registry, now: Moment) {
        if now < self.accept_at {
            if let Some(stream) = self.accept_by_the_spare() {
                self.admit(stream, true, registry, now);
                self.spare.keep();
            }
            return;
        }
        self.spare.keep();
        for _ in 0..limits::STATUS_ACCEPTS_PER_TURN {
            match self.doors.accept() {
                Ok(Some(stream)) => self.admit(stream, false, registry, now),
                Ok(None) => return,
                Err(error) if is_the_connections(&error) => {}
                Err(error) => {
                    // Descriptors have run out, which agencies need more. One is kept for the operator.
                    log::debug!("action: status | result: in_progress | reason: {error}");
                    self.accept_at = now + limits::STATUS_ACCEPT_RETRY;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut stream: Stream, by_the_spare: bool, registry: &Registry, now: Moment) {
        let (door, address) = (stream.door(), stream.address());
        if !self.slots.have_room(door) {
            // The newcomer is closed if no other can be.
            let Some(victim) = self.slots.evictable(door, address) else { return };
            self.close(victim);
        }
        let (slot, generation) = self.slots.next();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(stream.source(), token_of(slot, generation), interest) {
            log::debug!("action: status | result: in_progress | reason: {error}");
            self.accept_at = now + limits::STATUS_ACCEPT_RETRY;
            return;
        }
        let viewer = Viewer::new(stream, generation, now);
        self.next_deadline = self.next_deadline.min(viewer.connection.deadline());
        self.slots.insert(viewer);
        if by_the_spare {
            self.spare.lend(slot);
        }
        self.queue(slot);
    }

    /// Whether the operator may be waiting, and there is a descriptor for the operator.
    fn may_use_spare(&self) -> bool {
        self.doors.local_is_pending() && self.spare.is_kept()
    }

    /// The next connection at the Unix socket, with the descriptor that is kept for it.
    fn accept_by_the_spare(&mut self) -> Option<Stream> {
        if !self.may_use_spare() || !self.spare.free() {
            return None;
        }
        match self.doors.accept_local() {
            Ok(Some(stream)) => Some(stream),
            Ok(None) => {
                self.spare.keep();
                None
            }
            // Kept again when it is time to accept again: not to be tried in each turn until then.
            Err(_) => None,
        }
    }

    fn close(&mut self, slot: usize) {
        if self.slots.remove(slot) {
            self.spare.closed(slot);
            self.ready.retain(|queued| *queued != slot);
        }
    }
}

/// Hands an answer to the viewer that asked; `has_room`: there may be another viewer of events.
fn give(viewer: &mut Viewer, answer: Answer, has_room: bool, now: Moment) {
    match answer {
        Answer::Response(response) => viewer.connection.answer(response, now),
        Answer::Events(_) if !has_room => {
            viewer.connection.answer(Response::line(503, "there are too many viewers of events"), now);
        }
        Answer::Events(cursor) => viewer.cursor = viewer.connection.stream(now).then_some(cursor),
        Answer::LogLevel(level, response) => {
            logging::set_level(level);
            log::info!("action: log_level | result: success | logging_level: {level}");
            viewer.connection.answer(response, now);
        }
    }
}
