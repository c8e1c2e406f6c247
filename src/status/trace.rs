//! `/trace.json`: the last turns in the Chrome trace event format, which Perfetto and `chrome://tracing` open.
//!
//! The format is "Trace Event Format" of the Chromium project: complete events (`ph` `X`) with `ts` and `dur` in microseconds,
//! and a metadata event (`ph` `M`) for the name of each lane.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use super::facts::TurnTimes;
use crate::limits;

/// The sum of a turn's decoding is drawn from the beginning of its reading on, of which it is a part.
const LANES: [&str; 5] = ["poll", "read", "decode", "commit", "release"];

const NOTE: &str = "no turns yet: they are recorded from this request on, until a minute after the last one; ask again";

/// The last turns, while they are asked for.
#[derive(Debug, Default)]
pub struct Trace {
    turns: VecDeque<TurnTimes>,
    /// When it was last asked for; `None`: nothing is recorded.
    asked: Option<Duration>,
}

impl Trace {
    /// A turn has ended.
    pub fn note(&mut self, times: &TurnTimes) {
        if self.asked.is_none() {
            return;
        }
        if self.turns.len() == limits::TRACE_TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(*times);
    }

    /// Time passes: a trace that is not asked for ends.
    pub fn tick(&mut self, now: Duration) {
        if self.asked.is_some_and(|asked| now.saturating_sub(asked) > limits::TRACE_KEPT) {
            *self = Trace::default();
        }
    }

    /// Whether turns are recorded.
    pub fn is_recorded(&self) -> bool {
        self.asked.is_some()
    }

    /// It is asked for: turns are recorded from here on.
    pub fn ask(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    /// The answer; the first one has no turns.
    pub fn json(&self) -> String {
        let mut text = String::from("{\"displayTimeUnit\":\"ns\",\"otherData\":{");
        if self.turns.is_empty() {
            let _ = write!(text, "\"note\":\"{NOTE}\"");
        }
        text.push_str("},\"traceEvents\":[");
        for (lane, name) in LANES.iter().enumerate() {
            let comma = if lane == 0 { "" } else { "," };
            let _ = write!(
                text,
                "{comma}{{\"ph\":\"M\",\"pid\":1,\"tid\":{},\"name\":\"thread_name\",\"args\":{{\"name\":\"{name}\"}}}}",
                lane + 1
            );
        }
        self.turns.iter().for_each(|times| write_turn(&mut text, times));
        text.push_str("]}");
        text
    }
}

fn write_turn(text: &mut String, times: &TurnTimes) {
    let commit = times.began + times.read;
    let spans = [
        (times.began.saturating_sub(times.poll), times.poll),
        (times.began, times.read),
        (times.began, times.decode),
        (commit, times.commit),
        (commit + times.commit, times.release),
    ];
    for (lane, (name, (start, took))) in LANES.iter().zip(spans).enumerate() {
        if !took.is_zero() {
            let (start, took, lane) = (micros(start), micros(took), lane + 1);
            let _ = write!(
                text,
                ",{{\"ph\":\"X\",\"pid\":1,\"tid\":{lane},\"name\":\"{name}\",\"ts\":{start},\"dur\":{took}}}"
            );
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}
