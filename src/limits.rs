//! Every bound of the server that is not configured, and the relations between the bounds. Those of a shared PostgreSQL and those of
//! viewers have files of their own, and are used by the same path.

mod engine;
mod viewers;

use std::time::Duration;

pub use engine::*;
pub use viewers::*;

/// The longest line that the echo exchange sends back, in bytes.
pub const ECHO_LINE_BYTES_MAX: usize = 64 * 1024;

/// How much of an echoed line the log shows, in bytes: any peer can send long lines.
pub const ECHO_LOGGED_BYTES_MAX: usize = 256;

/// The silence after which an unfinished echo line is sent back: some netcats neither end the line nor half-close.
pub const ECHO_SILENCE: Duration = Duration::from_millis(200);

/// The silence that decides the dialect of first bytes that fit two dialects.
pub const DETECT_SILENCE: Duration = Duration::from_secs(1);

/// The longest first line that can be a `text` length, in bytes: nine digits and a line feed.
pub const TEXT_LENGTH_LINE_BYTES_MAX: usize = 10;

/// How often the agencies that the draw waits for are logged while queries are parked.
pub const PENDING_LOG_PERIOD: Duration = Duration::from_secs(10);

/// How often the log says of an agency that two clients speak for it.
pub const RIVALS_LOG_PERIOD: Duration = Duration::from_secs(60);

/// How often a connection that asked for it is told whom the draw waits for.
pub const WAITING_PERIOD: Duration = Duration::from_secs(10);

/// How soon after its request it is told first: short for a person, long enough for agencies that finish together.
pub const WAITING_FIRST_AFTER: Duration = Duration::from_secs(1);

/// How many of them one turn tells; each costs a short frame and one write.
pub const WAITING_TOLD_PER_TURN: usize = 64;

/// The pause before the next turn that tells some.
pub const WAITING_PAUSE: Duration = Duration::from_millis(5);

/// How often the log says what the agencies do that the draw waits for, from the first of them on.
pub const MISSING_LOG_PERIOD: Duration = Duration::from_secs(60);

/// How many agencies a signal's list of the hub's state names, in lines of the log.
pub const AGENCIES_LOGGED: usize = 100;

/// How often one line stands for those of all batches, where these have none.
pub const SUMMARY_LOG_PERIOD: Duration = Duration::from_secs(1);

/// The longest header of a frame with a length, in bytes: where a frame is known to need more, its length is known.
pub const HEADER_BYTES_MAX: usize = 16;

/// Connections that tables have capacity for from the start. Until they are used they cost address space, not memory.
/// A table that grows leaves its old allocation behind, half as much again.
pub const CONNECTIONS_RESERVED: usize = 16 * 1024;

/// Bytes of the journal that one turn may read to compare batches that are sent again.
pub const TURN_JOURNAL_READ_BYTES: usize = 1024 * 1024;

/// The shared buffer that sockets are read into, in bytes; larger ones gained nothing.
pub const READ_BYTES: usize = 256 * 1024;

/// The budget of all connections together in one turn, in bytes. The turn then commits and replies; the rest of the read
/// queue is read in the next turn.
///
/// With many connections this bounds a turn. It is low enough that their peers work while the next ones are read,
/// and that the input is still in the processor's cache when it is written. It is high enough that many batches share a
/// sync. A thousand peers in lockstep, 6 KiB each, are four turns.
pub const TURN_BYTES: usize = 1536 * 1024;

/// The budget of one connection in one turn, in bytes, where few others are read.
pub const TURN_BYTES_PER_CONNECTION: usize = 1024 * 1024;

/// The budget of one connection where its share of [`TURN_BYTES`] would be lower: one read still takes a frame of a
/// common client, 8 KiB.
pub const TURN_BYTES_PER_CONNECTION_MIN: usize = 16 * 1024;

/// Untrusted connections that one turn reads, and as many that run deferred work. It bounds how long thousands of them
/// delay an agency's reply. The rest of them follow in the next turns. A turn that reads more trusted connections than
/// this reads as many untrusted ones, because these may be agencies that have just connected.
pub const UNTRUSTED_PER_TURN: usize = 4;

/// The budget of all untrusted connections in one turn, in bytes.
pub const UNTRUSTED_TURN_BYTES: usize = 64 * 1024;

/// Rows staged in one turn, in bytes, after which it commits.
pub const TURN_ROWS_BYTES: usize = 16 * 1024 * 1024;

/// Requests in one turn after which it commits: small requests cost more than their bytes.
pub const TURN_REQUESTS: usize = 16 * 1024;

/// Requests of one connection that one turn takes; later ones are deferred until after their replies.
pub const TURN_REQUESTS_PER_CONNECTION: u32 = 4096;

/// Requests of one untrusted connection that one turn takes. It is also the budget of all untrusted connections
/// together, once for deferred requests and once for requests that are read.
pub const UNTRUSTED_TURN_REQUESTS: u32 = 64;

/// Unsent bytes of a connection above which the hub stops reading it.
pub const OUTBOX_BYTES_HIGH: usize = 256 * 1024;

/// Bytes that a peer with unsent replies must read in each `WRITE_TIMEOUT`, unless it reads all: a byte now and then must
/// not extend the time-out.
pub const WRITE_STEP_BYTES: usize = 16 * 1024;

/// Bytes that are buffered after a parked query.
pub const PARKED_INBOX_BYTES: usize = 16 * 1024;

/// How long a stopping server sends replies of committed turns and waits for its peers to half-close.
pub const SHUTDOWN_FLUSH: Duration = Duration::from_millis(500);

/// How long a stopping server waits for turns in flight, where another machine stores them.
pub const SHUTDOWN_SETTLE: Duration = Duration::from_secs(5);

/// How long after a first SIGTERM or SIGINT another one is ignored: wrappers and shells deliver a signal twice, within
/// milliseconds. Less than [`SHUTDOWN_FLUSH`], so that a person can cut the flush short.
pub const SIGNAL_REPEAT: Duration = Duration::from_millis(200);

/// Refused connections at one time; further ones are closed without a reply.
pub const REFUSALS_MAX: usize = 64;

/// The longest PROXY header of version 2 with all that is in it, in bytes: what the protocol promises to fit into the first
/// segment of any connection (section 2.2), and more than haproxy sends.
pub const PROXY_HEADER_BYTES_MAX: usize = 536;

/// The longest PROXY header of version 1, its line end included, in bytes (section 2.1).
pub const PROXY_LINE_BYTES_MAX: usize = 107;

/// Connections of balancers whose PROXY header is not whole, at one time; the one that has waited longest goes for a newcomer.
/// A balancer sends the header as soon as it is connected.
pub const UNANNOUNCED_MAX: usize = 256;

/// Headers of balancers' connections that one turn looks at, each of which is two system calls.
pub const UNANNOUNCED_PER_TURN: usize = 64;

/// How long a connection without a known dialect is safe from eviction. The first bytes of an honest client show its
/// dialect.
pub const UNDECIDED_GRACE: Duration = Duration::from_secs(2);

/// Connections that an agency may always have. Above this number and its share of all slots, its connections can be
/// evicted.
pub const AGENCY_CONNECTIONS: usize = 8;

/// Agencies that one connection keeps connected. If it sends requests of more, the earliest no longer counts as connected
/// by it. An agency costs four bytes.
pub const AGENCIES_PER_CONNECTION: usize = 4096;

/// Slots that are searched for a connection to evict, or for one that uses much memory.
pub const SLOTS_EXAMINED: usize = 64;

/// Plaintext bytes of one TLS record (RFC 8446, 5.1). No more are encrypted before a socket has taken them.
pub const TLS_RECORD_BYTES: usize = 16 * 1024;

/// The longest encrypted TLS record, with its header and what encryption adds (RFC 8446, 5.2).
pub const TLS_RECORD_WIRE_BYTES: usize = 5 + TLS_RECORD_BYTES + 256;

/// Steps of TLS handshakes in one turn, each of which costs as much as a thousand bets; others stay in the queue.
pub const TLS_HANDSHAKES_PER_TURN: usize = 16;

/// Bytes buffered of an incomplete TLS record or handshake message: more than any certificate chain.
pub const TLS_INCOMING_BYTES_MAX: usize = 32 * 1024;

/// Memory of the TLS library for a connection besides buffers: its keys, its state and the peer's certificate.
/// Measured on a thousand connections and rounded up; `tests/hub_tls.rs` fails if it grows.
pub const TLS_CONNECTION_BYTES: usize = 8 * 1024;

/// Connections accepted in one turn, each of which may cost an eviction: some 25 µs.
pub const ACCEPT_PER_TURN: usize = 4;

/// Rejected requests of an untrusted connection that are logged each; after them only the 128th, the 256th and so on
/// are. A rejected request is a dozen bytes, and the log may be on the disk of the store.
pub const REFUSALS_LOGGED: u32 = 100;

/// A turn that takes longer, or a poll that exceeds its time-out by more, has stalled: its disk was slow, it had no
/// processor, or the program was stopped. No time-out counts more than this of a stall.
pub const STALL: Duration = Duration::from_millis(100);

/// The longest poll while any deadline is set, and so the most that a pause of the program counts towards time-outs: a
/// pause cannot be told apart from the time that a poll was asked to wait.
pub const POLL_MAX: Duration = Duration::from_secs(1);

/// How soon after a lost agency's grace period its return is checked again, while a connection that has not named its
/// agency may be this agency's.
pub const RETURN_RETRY: Duration = Duration::from_millis(500);

/// By how much later than it arrived a connection, or a frame, may have begun to be read, a pause of the program included.
pub const RETURN_LATENESS: Duration = Duration::from_secs(2);

/// How often the hub checks the names and lengths of the store's files: nothing is acknowledged when the last check is
/// longer ago.
pub const STORE_CHECK_PERIOD: Duration = Duration::from_millis(250);

/// How soon the hub writes again to a standard output that has no reader or whose disk is full.
pub const LOG_RETRY: Duration = Duration::from_millis(250);

/// The pause before the hub accepts again after it ran out of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How long a draining connection may take to end its own side. Closing at once would reset a connection with unread
/// bytes, and a reset can destroy the last reply.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long after its last bytes a peer with a parked query may half-close and still wait for the reply, as
/// `printf … | nc -N` does. A later half-close counts as a close and frees the slot. A pause of the hub counts for at most
/// as much.
pub const HALF_CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Bytes that the peer of a draining connection may still send: twice what a client has in flight, 64 batches of 8 KiB,
/// which it sends until it has received the last reply.
pub const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of all inboxes and outboxes together; above it, a connection that uses more than most is closed.
/// Memory that the allocator cannot return at once is additional, some 120 MiB under attack; `make hostile` checks that
/// the hub stays under 384 MiB in all.
pub const BUFFERS_BYTES_MAX: usize = 224 * 1024 * 1024;

/// The largest `MAX_FRAME`: a frame is buffered whole.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Parked connections that one turn answers after the draw; the rest follow in the next turns.
pub const FLUSH_PER_TURN: usize = 256;

/// Bytes of winners that one turn encodes or copies for parked connections.
pub const FLUSH_BYTES_PER_TURN: usize = 4 * 1024 * 1024;

/// The shortest list of winners that is encoded once and shared by all queries for it, in bytes; shorter lists are copied.
pub const SHARED_LIST_BYTES_MIN: usize = 4 * 1024;

/// Bytes of shared lists of winners above which no more are encoded: queries wait until others are read.
pub const LISTS_BYTES_HIGH: usize = BUFFERS_BYTES_MAX / 4;

/// The same for trusted connections: lists that untrusted peers do not read must not delay agencies' winners.
pub const LISTS_BYTES_HIGH_OF_AGENCIES: usize = BUFFERS_BYTES_MAX / 2;

/// How long a peer may read nothing of its winners while others wait for the memory. It may query again.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Deadlines that one turn acts on; the rest follow in the next turns.
pub const DUE_PER_TURN: usize = 16;

/// Stale queue entries (the connection is gone, or has no deferred work) that one turn skips besides.
pub const LEFTOVERS_PER_TURN: usize = 256;

/// Stale reminders and queue entries are removed once there are more of them than this and more than of the others.
pub const LEFTOVERS_MIN: usize = 1024;

/// How long batches are rejected without a write after the disk was full.
pub const FULL_DISK_PAUSE: Duration = Duration::from_millis(250);

/// How long the store is idle before it is sealed.
pub const SEAL_AFTER: Duration = Duration::from_secs(1);

// A read fits the budget of its connection, this budget that of all connections, and the input of a turn its rows.
const _: () = assert!(READ_BYTES <= TURN_BYTES_PER_CONNECTION);
const _: () = assert!(TURN_BYTES_PER_CONNECTION_MIN <= TURN_BYTES_PER_CONNECTION);
const _: () = assert!(UNTRUSTED_TURN_BYTES <= TURN_BYTES);
const _: () = assert!(TURN_BYTES_PER_CONNECTION <= TURN_BYTES && TURN_BYTES <= TURN_ROWS_BYTES);
const _: () = assert!((TURN_REQUESTS_PER_CONNECTION as usize) <= TURN_REQUESTS);
const _: () = assert!(UNTRUSTED_TURN_REQUESTS <= TURN_REQUESTS_PER_CONNECTION);
const _: () = assert!(4 * (UNTRUSTED_TURN_REQUESTS as usize) <= TURN_REQUESTS);
// An echoed line, and the bytes after a parked query, fit one read.
const _: () = assert!(ECHO_LINE_BYTES_MAX <= READ_BYTES && PARKED_INBOX_BYTES <= READ_BYTES);
// Shared lists leave half of the buffers to the connections, and one turn exceeds their limit by little.
const _: () = assert!(LISTS_BYTES_HIGH < LISTS_BYTES_HIGH_OF_AGENCIES);
const _: () = assert!(LISTS_BYTES_HIGH_OF_AGENCIES + FLUSH_BYTES_PER_TURN < BUFFERS_BYTES_MAX / 4 * 3);
// The unsent bytes of one connection, and a frame of any size, never fill the buffers of all.
const _: () = assert!(OUTBOX_BYTES_HIGH < BUFFERS_BYTES_MAX / 4 && WRITE_STEP_BYTES < OUTBOX_BYTES_HIGH);
const _: () = assert!(SHARED_LIST_BYTES_MIN < OUTBOX_BYTES_HIGH);
// A client's whole window may follow its last reply.
const _: () = assert!(2 * 64 * 8 * 1024 <= DISCARD_BYTES_MAX);
// A whole record always fits the buffer of an incomplete one.
const _: () = assert!(TLS_RECORD_BYTES + 1024 < TLS_INCOMING_BYTES_MAX && TLS_INCOMING_BYTES_MAX < READ_BYTES);
const _: () = assert!(TLS_RECORD_BYTES <= WRITE_STEP_BYTES);
// A silence decides before a time-out ends the connection.
const _: () = assert!(ECHO_SILENCE.as_millis() < DETECT_SILENCE.as_millis());
const _: () = assert!(STALL.as_millis() < ECHO_SILENCE.as_millis());
const _: () = assert!(DETECT_SILENCE.as_millis() < UNDECIDED_GRACE.as_millis());
// A pause of the program never makes a returning agency, or a half-close, late.
const _: () = assert!(POLL_MAX.as_millis() + STALL.as_millis() < RETURN_LATENESS.as_millis());
const _: () = assert!(POLL_MAX.as_millis() + STALL.as_millis() < HALF_CLOSE_GRACE.as_millis());
