//! The status service without its sockets: the answer to each request.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::assemble::{self, Latencies};
use super::facts::{Door, Facts, Gauges, SocketFacts, TurnTimes};
use super::feed::Cursor;
use super::http::{HTML, JSON, Method, Request, Response};
use super::metrics::{self, Format};
use super::observer::Follower;
use super::page::PAGE;
use super::route::Route;
use super::snapshot::{Snapshot, not_ready, unhealthy};
use super::tally::Tally;
use super::trace::Trace;
use super::winners::{self, Wanted};
use crate::hub::{ConnectionId, Hub, Observer};
use crate::limits;
use crate::logging::LogLevel;
use crate::storage::Keep;
use crate::timers::Moment;

const EVENTS: &str = "text/event-stream";

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// This.
    Response(Response),
    /// Every event from here on, as `text/event-stream`: [`Status::events_since`].
    Events(Cursor),
    /// This, and the log has another level from here on.
    LogLevel(LogLevel, Response),
}

/// What the hub says of itself.
#[derive(Debug)]
pub struct Status {
    facts: Facts,
    page: Rc<[u8]>,
    tally: Rc<RefCell<Tally>>,
    latencies: Latencies,
    trace: Trace,
    kept: Option<Kept>,
}

/// The answers of one moment, which are given again for [`limits::STATUS_KEPT`].
#[derive(Debug)]
struct Kept {
    at: Duration,
    snapshot: Rc<Snapshot>,
    bodies: [Option<Rc<[u8]>>; KINDS],
}

/// The answers that are kept.
#[derive(Clone, Copy, Debug)]
enum Kind {
    LocalReport,
    NetworkReport,
    OpenMetrics,
    TextMetrics,
    Connections,
    Trace,
}

const KINDS: usize = Kind::Trace as usize + 1;

/// What an answer is made of.
struct Asked<'a, K: Keep> {
    hub: &'a Hub<K>,
    now: Moment,
    gauges: &'a mut dyn FnMut() -> Gauges,
}

impl Status {
    /// The status of a hub that has just started.
    pub fn new(facts: Facts) -> Status {
        let mut tally = Tally::default();
        tally.feed.clock = Some(facts.started);
        Status {
            facts,
            page: Rc::from(PAGE),
            tally: Rc::new(RefCell::new(tally)),
            latencies: Latencies::default(),
            trace: Trace::default(),
            kept: None,
        }
    }

    /// The part that follows the hub: for [`Hub::add_observer`].
    pub fn observer(&self) -> Box<dyn Observer> {
        Box::new(Follower(Rc::clone(&self.tally)))
    }

    /// Whether turns are traced, so that decoding is to be measured.
    pub fn is_traced(&self) -> bool {
        self.trace.is_recorded()
    }

    /// A turn that did something has ended.
    pub fn turn(&mut self, times: &TurnTimes) {
        self.latencies.turns.note(times.read + times.commit + times.release);
        if times.committed {
            self.latencies.commits.note(times.commit);
        }
        self.trace.note(times);
    }

    /// A turn begins, `uptime` after the start, at `clock` by the wall clock.
    pub fn tick(&mut self, uptime: Duration, clock: SystemTime) {
        self.tally.borrow_mut().tick(uptime, clock);
        self.trace.tick(uptime);
        // A trace is a megabyte, which is not kept for longer than it is given again.
        if self.kept.as_ref().is_some_and(|kept| uptime.saturating_sub(kept.at) >= limits::STATUS_KEPT) {
            self.kept = None;
        }
    }

    /// The answer to a request that came in by `door`.
    #[allow(clippy::too_many_arguments, reason = "each comes from another part of the loop")]
    pub fn answer<K: Keep>(
        &mut self,
        request: &Request<'_>,
        door: Door,
        hub: &Hub<K>,
        now: Moment,
        gauges: &mut dyn FnMut() -> Gauges,
        sockets: &dyn Fn(ConnectionId) -> SocketFacts,
    ) -> Answer {
        let route = match Route::of(request, door) {
            Ok(route) => route,
            Err(response) => return Answer::Response(response),
        };
        if door == Door::Local {
            // The operator is told what has just ended; scrapers and pages share answers.
            self.kept = None;
        }
        let asked = Asked { hub, now, gauges };
        Answer::Response(match route {
            Route::Page => Response::new(200, HTML, Rc::clone(&self.page)),
            // Neither is kept: a signal to stop is said at once.
            Route::Healthy => {
                let gauges = (asked.gauges)();
                self.note_free_bytes(gauges.disk_free_bytes);
                verdict(unhealthy(&gauges, self.tally.borrow().store_is_full()), "healthy")
            }
            Route::Ready => verdict(not_ready(&(asked.gauges)()), "ready"),
            Route::Metrics => self.metrics(asked, Format::accepted(request.accept)),
            Route::Status => self.report(asked, door),
            Route::Connections => {
                let list = |_: &Status, _: &Snapshot| json_text(&assemble::connection_list(hub, now, sockets));
                Response::new(200, JSON, self.kept(Kind::Connections, asked, list))
            }
            Route::Events if request.method == Method::Head => Response::new(200, EVENTS, Vec::new()),
            Route::Events => return Answer::Events(self.tally.borrow().feed.cursor()),
            Route::Trace => self.trace(asked),
            Route::Winners => winners_of(hub, request.query),
            Route::LogLevel => return log_level(request.body),
        })
    }

    /// Appends to `out` what has happened since `cursor`, and moves the cursor behind it: some
    /// [`limits::EVENTS_BYTES`] at most, so that there may be more.
    pub fn events_since(&mut self, cursor: &mut Cursor, out: &mut Vec<u8>) {
        self.tally.borrow().feed.read(cursor, out);
    }

    /// The number of the next event: where it is what it was, nothing has happened.
    pub fn next_event(&self) -> u64 {
        self.tally.borrow().feed.next()
    }

    /// Whether something has happened since `cursor`.
    pub fn has_events_since(&self, cursor: &Cursor) -> bool {
        self.tally.borrow().feed.has_more(cursor)
    }

    /// Whether [`note_free_bytes`](Self::note_free_bytes) is to be called now: the disk has been found full.
    pub fn asks_for_free_bytes(&self) -> bool {
        self.tally.borrow().asks_for_free_bytes()
    }

    /// So many bytes of the store's file system are free, where the system says.
    pub fn note_free_bytes(&mut self, free: Option<u64>) {
        self.tally.borrow_mut().note_free_bytes(free);
    }

    /// A viewer was dropped because it did not read.
    pub fn viewer_dropped(&mut self) {
        self.tally.borrow_mut().viewers_dropped += 1;
    }

    fn metrics<K: Keep>(&mut self, asked: Asked<'_, K>, format: Format) -> Response {
        let kind = match format {
            Format::OpenMetrics => Kind::OpenMetrics,
            Format::Text => Kind::TextMetrics,
        };
        let text = |status: &Status, snapshot: &Snapshot| {
            metrics::metrics(&status.facts, snapshot, &status.tally.borrow(), &status.latencies, format)
        };
        Response::new(200, format.content_type(), self.kept(kind, asked, text))
    }

    fn report<K: Keep>(&mut self, asked: Asked<'_, K>, door: Door) -> Response {
        let kind = match door {
            Door::Local => Kind::LocalReport,
            Door::Network => Kind::NetworkReport,
        };
        let text = |status: &Status, snapshot: &Snapshot| {
            json_text(&assemble::report(&status.facts, snapshot, &status.tally.borrow(), &status.latencies, door))
        };
        Response::new(200, JSON, self.kept(kind, asked, text))
    }

    fn trace<K: Keep>(&mut self, asked: Asked<'_, K>) -> Response {
        // Asked for, even where the answer is a kept one.
        self.trace.ask(self.tally.borrow().now());
        Response::new(200, JSON, self.kept(Kind::Trace, asked, |status, _| status.trace.json()))
    }

    fn snapshot<K: Keep>(&mut self, asked: Asked<'_, K>) -> Rc<Snapshot> {
        let at = self.tally.borrow().now();
        let tally = &self.tally;
        let kept = self.kept.get_or_insert_with(|| {
            let gauges = (asked.gauges)();
            tally.borrow_mut().note_free_bytes(gauges.disk_free_bytes);
            let snapshot = Snapshot::new(asked.hub, asked.now, gauges);
            Kept { at, snapshot: Rc::new(snapshot), bodies: Default::default() }
        });
        Rc::clone(&kept.snapshot)
    }

    /// The kept answer of this `kind`, or a new one.
    fn kept<K: Keep>(
        &mut self,
        kind: Kind,
        asked: Asked<'_, K>,
        text: impl FnOnce(&Status, &Snapshot) -> String,
    ) -> Rc<[u8]> {
        let snapshot = self.snapshot(asked);
        if let Some(body) = self.kept.as_ref().and_then(|kept| kept.bodies[kind as usize].clone()) {
            return body;
        }
        let body: Rc<[u8]> = text(self, &snapshot).into_bytes().into();
        if let Some(kept) = &mut self.kept {
            kept.bodies[kind as usize] = Some(Rc::clone(&body));
        }
        body
    }
}

fn verdict(why_not: Option<&str>, good: &str) -> Response {
    why_not.map_or_else(|| Response::line(200, good), |why| Response::line(503, why))
}

fn json_text(value: &impl Serialize) -> String {
    // Structures of numbers, texts and lists cannot fail to be written.
    serde_json::to_string(value).unwrap_or_default()
}

fn winners_of<K: Keep>(hub: &Hub<K>, query: Option<&str>) -> Response {
    let wanted = match Wanted::parse(query) {
        Ok(wanted) => wanted,
        Err(why) => return Response::line(400, &why),
    };
    if let Some(agency) = wanted.agency.filter(|agency| !hub.lottery().roster().contains(*agency)) {
        return Response::line(404, &format!("agency {agency} is not of this draw"));
    }
    if !hub.lottery().draw_is_committed() {
        return Response::line(409, "the draw has not been made yet");
    }
    Response::new(200, JSON, json_text(&winners::winners(hub, wanted)).into_bytes())
}

fn log_level(body: &[u8]) -> Answer {
    let name = std::str::from_utf8(body).unwrap_or("").trim();
    match LogLevel::from_name(name) {
        Some(level) => Answer::LogLevel(level, Response::line(200, level.name())),
        None => {
            let names = LogLevel::ALL.map(LogLevel::name).join(", ");
            Answer::Response(Response::line(400, &format!("the body must be one of {names}")))
        }
    }
}
