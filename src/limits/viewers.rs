//! Bounds of the status service and of what asks it, and of the operator's commands.

use std::time::Duration;

use super::{BUFFERS_BYTES_MAX, FULL_DISK_PAUSE, READ_BYTES, TURN_ROWS_BYTES};

/// How long `loteria` waits for a whole answer of the hub. The hub answers within a turn, or is stopped.
pub const OPERATOR_PATIENCE: Duration = Duration::from_secs(10);

/// How often `loteria status --watch` asks.
pub const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// The longest head of an answer that `loteria` reads, in bytes; the hub's has a few hundred.
pub const ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most headers of an answer.
pub const ANSWER_HEADERS_MAX: usize = 64;

/// The longest body of an answer, in bytes: some hundred thousand winners.
pub const ANSWER_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most winners that `loteria winners` takes from a hub, which tells them in parts; each takes some 200 bytes.
pub const WINNERS_ASKED_MAX: usize = 1_000_000;

/// The longest line of an event stream, in bytes.
pub const EVENT_LINE_BYTES_MAX: usize = 64 * 1024;

/// How far `loteria verify --against` looks for a bet on either side before it counts a pair as different: several
/// batches that are missing in a row are told as missing.
pub const COMPARED_AHEAD: usize = 1024;

/// Differences that `loteria verify --against` shows of one agency; the others are counted.
pub const DIFFERENCES_SHOWN: usize = 20;

/// The longest head of a request at the status service, in bytes, as most HTTP servers have it.
pub const STATUS_HEAD_BYTES_MAX: usize = 8 * 1024;

/// The most header fields of a request at the status service; browsers send some twenty.
pub const STATUS_HEADERS_MAX: usize = 64;

/// The longest body of a request at the status service, in bytes: the name of a log level.
pub const STATUS_BODY_BYTES_MAX: usize = 1024;

/// From the first byte of a request at the status service to its last.
pub const STATUS_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection of the status service waits for a request: longer than a scraper's or a page's period, so that these
/// keep theirs.
pub const STATUS_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a viewer may read nothing of what it was sent.
pub const STATUS_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take to be read: a byte now and then must not hold a slot.
pub const STATUS_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Unread events of one viewer, in bytes, above which it is dropped: more than a second's worth in the kernel and here.
pub const STATUS_EVENTS_BYTES_MAX: usize = 128 * 1024;

/// Bytes of all answers that viewers have not read to their end, above which those are dropped that have read the longest: an
/// answer that many viewers share counts once. Each can be a megabyte, and slow viewers can keep hundreds of them.
pub const STATUS_ANSWERS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that a viewer may send which are dropped: after its last answer, or while it is sent events.
pub const STATUS_DISCARD_BYTES_MAX: usize = 256 * 1024;

/// Connections of the status service's Unix socket: operators and their scripts.
pub const STATUS_LOCAL_MAX: usize = 64;

/// Connections of the status service's TCP port: a class of viewers.
pub const STATUS_NETWORK_MAX: usize = 256;

/// Viewers of events at the TCP port: these never make room for a newcomer, so that some slots are left for a scraper, a load
/// balancer and pages, which ask for the rest every second.
pub const STATUS_STREAMING_MAX: usize = STATUS_NETWORK_MAX / 4 * 3;

/// Connections of one TCP address at the status service, once all of them are taken.
pub const STATUS_ADDRESS_SHARE: usize = STATUS_NETWORK_MAX / 4;

/// Connections of the status service that one turn accepts.
pub const STATUS_ACCEPTS_PER_TURN: usize = 8;

/// Requests at the status service that one turn answers: an answer with every connection and agency in it takes most of a
/// millisecond.
pub const STATUS_REQUESTS_PER_TURN: usize = 2;

/// Connections of the status service that one turn reads or writes.
pub const STATUS_VIEWERS_PER_TURN: usize = 32;

/// Bytes that one turn writes to viewers.
pub const STATUS_BYTES_PER_TURN: usize = 256 * 1024;

/// Bytes that one viewer is written in a turn.
pub const STATUS_BYTES_PER_VIEWER: usize = 64 * 1024;

/// While agencies are served, viewers are served again after so many times as long as serving them has taken: they get no more
/// than this share of the loop.
pub const STATUS_REST: u32 = 100;

/// The longest such pause: a stall while viewers were served is not theirs.
pub const STATUS_REST_MAX: Duration = Duration::from_millis(250);

/// How soon the status service accepts again after the system refused a connection: agencies go first.
pub const STATUS_ACCEPT_RETRY: Duration = Duration::from_millis(250);

/// How soon deadlines of viewers are looked at again that could not be judged: bytes of theirs wait to be read.
pub const STATUS_LOOK: Duration = Duration::from_millis(100);

/// How long an answer about the file system's free space is used again.
pub const STATUS_DISK_PERIOD: Duration = Duration::from_secs(1);

/// How long an answer of the status service is given again: many viewers that ask every second cost what few cost.
pub const STATUS_KEPT: Duration = Duration::from_millis(200);

/// How long the status service says that the disk is full after it last was, if nothing has been stored since: longer than
/// agencies wait before they try again, so that it does not say so by turns.
pub const STORE_FULL_SAID: Duration = Duration::from_secs(10);

/// By how many bytes the free space of the store's file system must grow for the status service to say no longer that the disk
/// is full: more than a turn that was taken back gives back to a file system that frees late.
pub const STORE_FULL_FREED: u64 = 2 * TURN_ROWS_BYTES as u64;

/// Agencies that `/status.json` lists: those without a finish that have been seen, then others without one, then the rest. One
/// takes some 400 bytes, and a draw can have a hundred thousand.
pub const AGENCIES_REPORTED_MAX: usize = 1000;

/// How long the status service says that an agency without a connection is uploading: clients may open a connection for each
/// message.
pub const UPLOADING_SAID: Duration = Duration::from_secs(5);

/// Connections that `/connections.json` lists, those of agencies first: some 250 bytes each.
pub const CONNECTIONS_REPORTED_MAX: usize = 1000;

/// Winning bets of one `/winners.json`: a megabyte or two. A reader of more asks for them in parts.
pub const WINNERS_REPORTED_MAX: usize = 10_000;

/// Agencies with labels of their own in `/metrics`, the first ones of the roster; the others are summed. A time series
/// costs Prometheus some kilobytes.
pub const METRICS_AGENCIES_MAX: usize = 1000;

/// Events that are kept for viewers, of some 150 bytes each: a viewer that reads more slowly than they come misses some.
pub const EVENTS_KEPT: usize = 1024;

/// Events of one kind in one second, once for those with an agency and once for those without: hostile peers can cause any
/// number, and no person reads more. Further ones are only counted.
pub const EVENTS_PER_SECOND: u32 = 32;

/// As [`EVENTS_PER_SECOND`], for what agencies seldom do: finishes, losses and returns, and what they stored before these.
pub const EVENTS_PER_SECOND_RARE: u32 = 256;

/// Agencies with a `stored` event of their own in one second; the others share one.
pub const STORED_EVENTS_PER_SECOND: usize = 64;

/// Bytes of events that one call hands to a viewer; the rest follows in the next one.
pub const EVENTS_BYTES: usize = 64 * 1024;

/// How long a viewer of events is sent nothing: a comment then shows the viewer, and what lies between, that the hub is
/// there.
pub const EVENTS_SILENCE: Duration = Duration::from_secs(15);

/// Reasons of closings that are kept until the connection ends: as many connections can be draining.
pub const CLOSINGS_KEPT: usize = 1024;

/// Turns of `/trace.json`: some 300 bytes each in the answer.
pub const TRACE_TURNS: usize = 4096;

/// How long after the last request for a trace turns are no longer recorded.
pub const TRACE_KEPT: Duration = Duration::from_secs(60);

/// The longest turn that is told apart from longer ones, in the percentiles.
pub const LATENCY_MAX: Duration = Duration::from_secs(3600);

// The disk is tried again while it is still said to be full.
const _: () = assert!(FULL_DISK_PAUSE.as_millis() < STORE_FULL_SAID.as_millis());
// What hostile peers cause in one second (four kinds of events, with and without an agency) leaves most of the ring to others,
// and so does what is stored.
const _: () = assert!((EVENTS_PER_SECOND as usize) * 8 <= EVENTS_KEPT / 4);
const _: () = assert!(STORED_EVENTS_PER_SECOND < EVENTS_PER_SECOND_RARE as usize);
const _: () = assert!((EVENTS_PER_SECOND_RARE as usize) <= EVENTS_KEPT / 4);
// What a viewer may send is read in one piece, and an answer ends before the viewer's time does.
const _: () = assert!(STATUS_HEAD_BYTES_MAX + STATUS_BODY_BYTES_MAX <= READ_BYTES);
const _: () = assert!(STATUS_WRITE_TIMEOUT.as_millis() < STATUS_ANSWER_TIMEOUT.as_millis());
const _: () = assert!(EVENTS_BYTES < STATUS_EVENTS_BYTES_MAX);
// The unread events of all viewers are a fraction of the agencies' buffers.
const _: () = assert!((STATUS_LOCAL_MAX + STATUS_NETWORK_MAX) * STATUS_EVENTS_BYTES_MAX < BUFFERS_BYTES_MAX / 4);
