//! What happened in a run: always folded into one number, told in words where somebody wants to read it.
//!
//! A run stays on one thread, so that its trace lives there: the hub's log lines reach it too.

use std::cell::RefCell;

use crate::storage_kit::disk::SimDisk;

thread_local! {
    static TRACE: RefCell<Trace> = const { RefCell::new(Trace::new()) };
}

/// What the lines have that say that a connection was timed out.
const TIMEOUTS: [&str; 4] = ["HANDSHAKE_TIMEOUT", "FRAME_TIMEOUT", "IDLE_TIMEOUT", "WRITE_TIMEOUT"];

/// Log lines of the hub that the simulation counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// `sorteo | result: success`.
    pub draws: u32,
    /// `apuesta_recibida | result: success`.
    pub stored: u64,
    /// `close_connection` for want of bytes, or of a reader.
    pub timeouts: u32,
}

struct Trace {
    hash: u64,
    told: bool,
    on: bool,
    logged: Logged,
    line: String,
}

impl Trace {
    const fn new() -> Trace {
        Trace {
            hash: 0,
            told: false,
            on: false,
            logged: Logged { draws: 0, stored: 0, timeouts: 0 },
            line: String::new(),
        }
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

/// Starts a run's trace.
pub fn start(told: bool) {
    TRACE.with_borrow_mut(|trace| {
        *trace = Trace::new();
        (trace.told, trace.on) = (told, true);
    });
}

/// Ends it; returns the run's number.
pub fn end() -> u64 {
    TRACE.with_borrow_mut(|trace| {
        trace.on = false;
        trace.hash
    })
}

/// Whether somebody reads it.
pub fn is_told() -> bool {
    TRACE.with_borrow(|trace| trace.told)
}

/// What the hub has logged since the start.
pub fn logged() -> Logged {
    TRACE.with_borrow(|trace| trace.logged)
}

/// Something happened.
pub fn event(what: &'static str, details: &[(&'static str, u64)]) {
    TRACE.with_borrow_mut(|trace| {
        trace.mix(what.len() as u64 ^ u64::from(what.as_bytes()[0]) << 8);
        details.iter().for_each(|(_, number)| trace.mix(*number));
        if trace.told {
            let details: String = details.iter().map(|(name, number)| format!(" | {name}: {number}")).collect();
            println!("{what}{details}");
        }
    });
}

/// These bytes were sent or stored.
pub fn bytes(bytes: &[u8]) {
    TRACE.with_borrow_mut(|trace| trace.mix(u64::from(crc32c::crc32c(bytes))));
}

/// A line for the reader only.
pub fn note(words: impl FnOnce() -> String) {
    if is_told() {
        println!("{}", words());
    }
}

/// What the disk did since the last time.
pub fn disk(disk: &SimDisk) {
    TRACE.with_borrow_mut(|trace| trace.mix(disk.trace()));
    if is_told() {
        disk.take_told().iter().for_each(|line| println!("    disk: {line}"));
    }
}

/// Takes the hub's log lines.
pub struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        TRACE.with_borrow_mut(|trace| {
            if !trace.on {
                return;
            }
            let mut line = std::mem::take(&mut trace.line);
            line.clear();
            let _ = std::fmt::write(&mut line, *record.args());
            trace.logged.draws += u32::from(line == "action: sorteo | result: success");
            trace.logged.stored += u64::from(line.starts_with("action: apuesta_recibida | result: success"));
            trace.logged.timeouts += u32::from(TIMEOUTS.iter().any(|reason| line.ends_with(reason)));
            trace.mix(u64::from(crc32c::crc32c(line.as_bytes())));
            if trace.told {
                println!("    log: {line}");
            }
            trace.line = line;
        });
    }

    fn flush(&self) {}
}
