//! `/events`: what the hub does, as server-sent events.
//!
//! The format is that of the HTML standard, "Server-sent events": an `id`, an `event` and a `data` line, and an empty line.
//! The data are one line of JSON, without names and documents. The ring has the text of the last events ready, so that a
//! viewer costs a copy.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::time::rfc_3339;
use crate::limits;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection speaks for an agency.
    Hello,
    /// Batches are stored.
    Stored,
    /// A batch was rejected.
    Rejected,
    /// An agency has finished.
    Finished,
    /// An agency is lost.
    Lost,
    /// A lost agency is back.
    Returned,
    /// A lost agency takes no part in the draw.
    Excluded,
    /// The draw waits for agencies that have not finished.
    Waits,
    /// The draw was made.
    Drawn,
    /// A connection has ended.
    Ended,
    /// A request was refused.
    Refused,
}

/// How many kinds there are.
const KINDS: usize = Kind::Refused as usize + 1;

impl Kind {
    /// The name in the field `event`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hello => "hello",
            Kind::Stored => "stored",
            Kind::Rejected => "rejected",
            Kind::Finished => "finished",
            Kind::Lost => "lost",
            Kind::Returned => "returned",
            Kind::Excluded => "excluded",
            Kind::Waits => "waits",
            Kind::Drawn => "drawn",
            Kind::Ended => "ended",
            Kind::Refused => "refused",
        }
    }

    fn per_second_max(self) -> u32 {
        match self {
            Kind::Hello | Kind::Rejected | Kind::Ended | Kind::Refused => limits::EVENTS_PER_SECOND,
            Kind::Stored | Kind::Finished | Kind::Lost | Kind::Returned | Kind::Excluded | Kind::Waits => {
                limits::EVENTS_PER_SECOND_RARE
            }
            // There is one.
            Kind::Drawn => u32::MAX,
        }
    }
}

/// What is said of an event: what is not known, or has no meaning there, is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Data {
    /// When, in seconds since the start.
    pub at: f64,
    /// The same as a time: RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The agency that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agency: Option<u32>,
    /// The dialect of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<&'static str>,
    /// How many bets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bets: Option<u64>,
    /// In how many batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
    /// How many agencies it is about beside `agency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<usize>,
    /// The agencies that the draw waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agencies: Option<Vec<u32>>,
    /// Whether the draw waits for more than `agencies`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
    /// The peer, with its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a viewer has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the next event for it.
    next: u64,
    /// It has been sent something.
    greeted: bool,
}

/// The last events.
#[derive(Debug, Default)]
pub struct Feed {
    /// What the wall clock says, which may be set while the hub runs.
    pub clock: Option<SystemTime>,
    ring: VecDeque<Box<str>>,
    /// The number of the first event in the ring.
    first: u64,
    /// How many there were of each kind in `second`, without and with an agency.
    counts: [[u32; 2]; KINDS],
    second: u64,
    /// When the last one was kept.
    kept: Duration,
    dropped: u64,
}

impl Feed {
    /// An event of `kind` at `now`. `data` is only made where the event is kept; `of_agency`: whether it has an agency, which
    /// is counted apart, so that peers of no agency push out nothing of agencies.
    pub fn push(&mut self, now: Duration, kind: Kind, of_agency: bool, data: impl FnOnce() -> Data) {
        if now.as_secs() != self.second {
            (self.second, self.counts) = (now.as_secs(), Default::default());
        }
        let count = &mut self.counts[kind as usize][usize::from(of_agency)];
        if *count >= kind.per_second_max() {
            self.dropped += 1;
            return;
        }
        *count += 1;
        let time = self.clock.map(rfc_3339);
        let data = Data { at: (now.as_secs_f64() * 1e3).round() / 1e3, time, ..data() };
        // A structure of numbers and texts cannot fail to be written.
        let Ok(data) = serde_json::to_string(&data) else { return };
        self.keep(now, format!("id: {}\nevent: {}\ndata: {data}\n\n", self.next(), kind.name()));
    }

    /// Time passes: a feed in which nothing happens still shows that it is there.
    pub fn tick(&mut self, now: Duration) {
        if now.saturating_sub(self.kept) >= limits::EVENTS_SILENCE {
            self.keep(now, ": nothing happens\n\n".to_owned());
        }
    }

    fn keep(&mut self, now: Duration, text: String) {
        if self.ring.len() == limits::EVENTS_KEPT {
            self.ring.pop_front();
            self.first += 1;
        }
        self.ring.push_back(text.into());
        self.kept = now;
    }

    /// Events that were only counted.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the next event.
    pub fn next(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// A viewer that is sent what happens from here on.
    pub fn cursor(&self) -> Cursor {
        Cursor { next: self.next(), greeted: false }
    }

    /// Whether there is something for `cursor`.
    pub fn has_more(&self, cursor: &Cursor) -> bool {
        !cursor.greeted || cursor.next < self.next()
    }

    /// Appends to `out` what is new to `cursor`: [`limits::EVENTS_BYTES`], and one event more, at most. What the viewer missed
    /// is a `gap`.
    pub fn read(&self, cursor: &mut Cursor, out: &mut Vec<u8>) {
        let start = out.len();
        if !std::mem::replace(&mut cursor.greeted, true) {
            // What a browser waits before it connects again, in milliseconds.
            out.extend_from_slice(b"retry: 1000\n\n");
        }
        if cursor.next < self.first {
            let mut gap = String::new();
            let _ = write!(gap, "event: gap\ndata: {{\"missed\":{}}}\n\n", self.first - cursor.next);
            out.extend_from_slice(gap.as_bytes());
            cursor.next = self.first;
        }
        let skipped = usize::try_from(cursor.next - self.first).unwrap_or(usize::MAX);
        for text in self.ring.iter().skip(skipped) {
            if out.len() - start >= limits::EVENTS_BYTES {
                return;
            }
            out.extend_from_slice(text.as_bytes());
            cursor.next += 1;
        }
    }
}
