//! Every bound of the server that is not configured, in one place, and how they relate.

use std::time::Duration;

/// The longest line that the echo exchange sends back, in bytes.
pub const ECHO_LINE_BYTES_MAX: usize = 64 * 1024;

/// How much of a line that is echoed the log shows, in bytes. Anyone can send lines, and long ones.
pub const ECHO_LOGGED_BYTES_MAX: usize = 256;

/// How long an unfinished echo line may be silent before it is sent back as it stands: some netcats neither
/// end the line nor half-close.
pub const ECHO_SILENCE: Duration = Duration::from_millis(200);

/// How long first bytes that fit two dialects may stay as they are before the silence decides.
pub const DETECT_SILENCE: Duration = Duration::from_secs(1);

/// The bytes of the longest first line that may still be a `text` length: nine digits and a line feed.
pub const TEXT_LENGTH_LINE_BYTES_MAX: usize = 10;

/// How often the agencies still missing are logged while queries are parked.
pub const PENDING_LOG_PERIOD: Duration = Duration::from_secs(10);

/// Connections that tables have room for from the start. It costs addresses, not memory, until they come; tables
/// that grew instead would leave their old places behind, half as much again.
pub const CONNECTIONS_RESERVED: usize = 16 * 1024;

/// Bytes of the journal that one turn may read to compare batches that come again.
pub const TURN_LOOKED_AT_BYTES: usize = 1024 * 1024;

/// The shared buffer that sockets are read into, in bytes; larger ones gained nothing.
pub const READ_BYTES: usize = 256 * 1024;

/// What all connections together may have read in one turn, in bytes: the turn then commits and answers, and
/// the rest of the connections in line are read in the next one.
///
/// With many connections this is what a turn is: few enough of them that their peers work while the next ones are read,
/// and that what is read is still in the processor's cache when it is written; many enough to share a sync. A thousand
/// peers in lockstep, 6 KiB each, are four turns.
pub const TURN_BYTES: usize = 1536 * 1024;

/// What one connection may have read in one turn, in bytes, where few others have something.
pub const TURN_BYTES_PER_CONNECTION: usize = 1024 * 1024;

/// The same where so many others are read that [`TURN_BYTES`] among them is less: a frame of a common
/// client, 8 KiB, still comes in one read.
pub const TURN_BYTES_PER_CONNECTION_MIN: usize = 16 * 1024;

/// Untrusted connections that one turn reads, and as many that run deferred work: thousands of them come between an agency
/// and its answer only so far, each with an answer to send. The rest of them follow in the next turns. Where a turn reads
/// more trusted connections than this, it reads as many untrusted ones: they may be agencies that have just come.
pub const UNTRUSTED_PER_TURN: usize = 4;

/// What one turn reads of all untrusted connections, in bytes.
pub const UNTRUSTED_TURN_BYTES: usize = 64 * 1024;

/// Rows staged in one turn, in bytes, after which the turn commits before it reads on.
pub const TURN_ROWS_BYTES: usize = 16 * 1024 * 1024;

/// Requests in one turn after which it commits before it decodes on: small requests cost more than their bytes.
pub const TURN_REQUESTS: usize = 16 * 1024;

/// Requests of one connection that one turn takes; what follows them is decoded after their replies.
pub const TURN_REQUESTS_PER_CONNECTION: u32 = 4096;

/// The same of an untrusted connection; and the number of all their requests after which no more of them are decoded: of
/// deferred ones, and of those that are read.
pub const UNTRUSTED_TURN_REQUESTS: u32 = 64;

/// Bytes that a connection may have waiting to be read by its peer before the hub stops reading it.
pub const OUTBOX_BYTES_HIGH: usize = 256 * 1024;

/// A peer that has replies waiting must take so many bytes of them in each `WRITE_TIMEOUT`, or all that there
/// are: one byte now and then is not reading.
pub const WRITE_STEP_BYTES: usize = 16 * 1024;

/// Bytes kept of a peer that goes on talking while its reply is held.
pub const PARKED_INBOX_BYTES: usize = 16 * 1024;

/// How long a stopping server keeps sending what is committed, and waits for its peers to end their sides.
pub const SHUTDOWN_FLUSH: Duration = Duration::from_millis(500);

/// How long after a first SIGTERM or SIGINT another is the same request: wrappers and shells deliver one twice, within
/// milliseconds. Less than [`SHUTDOWN_FLUSH`], so that a person who does not want to wait for that need not.
pub const SIGNAL_REPEAT: Duration = Duration::from_millis(200);

/// Peers that can be told at once that there are too many connections; others are closed without a word.
pub const REFUSALS_MAX: usize = 64;

/// How long a peer may leave its dialect open before it gives its place to another, where places are scarce. An
/// honest client shows it with its first bytes.
pub const UNDECIDED_GRACE: Duration = Duration::from_secs(2);

/// Connections that an agency may always have: over it, and over its share of all places, they give way to newcomers as
/// an untrusted one's do.
pub const AGENCY_CONNECTIONS: usize = 8;

/// Agencies that one connection may speak for by turns: of more, the earliest no longer counts as connected by it. Four
/// bytes each.
pub const AGENCIES_PER_CONNECTION: usize = 4096;

/// Places that are looked at in search of one for a newcomer, or of a connection that holds much memory.
pub const PLACES_LOOKED_AT: usize = 64;

/// Bytes of a conversation in one TLS record (RFC 8446, 5.1), and what is encrypted before a socket has taken it.
pub const TLS_RECORD_BYTES: usize = 16 * 1024;

/// The longest TLS record on its way, with its header and what encryption adds (RFC 8446, 5.2).
pub const TLS_RECORD_WIRE_BYTES: usize = 5 + TLS_RECORD_BYTES + 256;

/// What one turn spends on TLS handshakes, each step of which costs as much as a thousand bets: others wait in
/// line.
pub const TLS_HANDSHAKES_PER_TURN: usize = 16;

/// Bytes kept of a TLS record, or a message of the handshake, that is not whole: more than any certificate chain.
pub const TLS_INCOMING_BYTES_MAX: usize = 32 * 1024;

/// What the TLS library keeps for a connection besides buffers: its keys, its state and the peer's certificate.
/// Rounded up from what a thousand of them were seen to cost; `tests/hub_tls.rs` notices if it grows.
pub const TLS_CONNECTION_BYTES: usize = 8 * 1024;

/// Connections accepted in one turn, each of which may cost another its place: some 25 µs. The rest follow in the
/// next.
pub const ACCEPT_PER_TURN: usize = 4;

/// Refused requests of an untrusted connection of which each has a line in the log; after them only the 128th, the
/// 256th and so on. A refused request is a dozen bytes, and the disk that the log fills may be the bets' own.
pub const REFUSALS_LOGGED: u32 = 100;

/// A turn, or a poll behind its time, that takes longer has stood still: for its disk, for want of a processor, or
/// because the program was stopped. Of that time time-outs count no more than this.
pub const STALL: Duration = Duration::from_millis(100);

/// The longest poll while anything is timed: what a pause may count towards time-outs. A poll that was asked to
/// wait for longer could not tell a pause from its wait.
pub const POLL_MAX: Duration = Duration::from_secs(1);

/// How soon after the end of a lost agency's grace it is looked for again, while a connection may be its own and has not
/// named it yet.
pub const RETURN_RETRY: Duration = Duration::from_millis(500);

/// By how much later than it came a connection, or a frame of it, may have begun to be read: a pause counts so much.
pub const RETURN_LATENESS: Duration = Duration::from_secs(2);

/// How often the hub looks whether the store's files are still where they were: nothing is acknowledged when the last
/// look is longer ago.
pub const STORE_CHECK_PERIOD: Duration = Duration::from_millis(250);

/// How soon a standard output is tried again that nobody reads any more, or whose disk is full.
pub const LOG_RETRY: Duration = Duration::from_millis(250);

/// The pause before accepting is tried again after running out of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How long a closed connection may take to end its own side before it is cut. Closing at once would reset
/// it where bytes of the peer are unread, and a reset can destroy the last reply on its way.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long behind its last bytes a peer whose query is parked may end its side and still wait for the answer, as
/// `printf … | nc -N` does. Later it has closed, and its slot is free at once. A pause of the hub counts so much at most.
pub const HALF_CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Bytes that a closing connection's peer may still send before it is cut: twice what a client has in flight, 64
/// batches of 8 KiB, which it goes on sending until the last reply has reached it.
pub const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of all inboxes and outboxes together; over it, a connection that holds more than most is closed.
/// What the allocator cannot give back at once comes on top, some 120 MiB under attack; `make hostile` sees that the hub
/// does not pass 384 in all.
pub const BUFFERS_BYTES_MAX: usize = 224 * 1024 * 1024;

/// Parked connections that one turn answers after the draw; the rest follow in the next turns.
pub const FLUSH_PER_TURN: usize = 256;

/// Bytes of winners that one turn encodes or copies for parked connections.
pub const FLUSH_BYTES_PER_TURN: usize = 4 * 1024 * 1024;

/// The shortest list of winners that is encoded once for all who ask for it, in bytes; shorter ones are copied.
pub const SHARED_LIST_BYTES_MIN: usize = 4 * 1024;

/// While shared lists of winners hold more bytes than this, no more are encoded: queries wait for those that are read.
pub const LISTS_BYTES_HIGH: usize = BUFFERS_BYTES_MAX / 4;

/// The same for agencies, who go first: what others do not read does not keep their winners back.
pub const LISTS_BYTES_HIGH_OF_AGENCIES: usize = BUFFERS_BYTES_MAX / 2;

/// How long a peer may take nothing of its winners while others wait for the memory. It may ask again.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Deadlines that one turn acts on; the rest follow in the next turns.
pub const DUE_PER_TURN: usize = 16;

/// Places in line of connections that are gone, or have nothing to go on with, that one turn passes over besides.
pub const LEFTOVERS_PER_TURN: usize = 256;

/// Reminders of connections that are gone, and places in line that nobody holds any more, are cleared away once there
/// are more of them than this and than of the others.
pub const LEFTOVERS_MIN: usize = 1024;

/// After the disk was full: how long batches are rejected without trying it again.
pub const FULL_DISK_PAUSE: Duration = Duration::from_millis(250);

/// How long the store is idle before its books are closed with a seal.
pub const SEAL_AFTER: Duration = Duration::from_secs(1);

// A read fits its budget, a connection's budget that of all, and what a turn reads the rows that it may stage.
const _: () = assert!(READ_BYTES <= TURN_BYTES_PER_CONNECTION);
const _: () = assert!(TURN_BYTES_PER_CONNECTION_MIN <= TURN_BYTES_PER_CONNECTION);
const _: () = assert!(UNTRUSTED_TURN_BYTES <= TURN_BYTES);
const _: () = assert!(TURN_BYTES_PER_CONNECTION <= TURN_BYTES && TURN_BYTES <= TURN_ROWS_BYTES);
const _: () = assert!((TURN_REQUESTS_PER_CONNECTION as usize) <= TURN_REQUESTS);
const _: () = assert!(UNTRUSTED_TURN_REQUESTS <= TURN_REQUESTS_PER_CONNECTION);
const _: () = assert!(4 * (UNTRUSTED_TURN_REQUESTS as usize) <= TURN_REQUESTS);
// A line that is echoed, and what a parked peer may say, fit one read.
const _: () = assert!(ECHO_LINE_BYTES_MAX <= READ_BYTES && PARKED_INBOX_BYTES <= READ_BYTES);
// Shared lists leave half of the buffers to connections' own, and what one turn encodes passes their limit by little.
const _: () = assert!(LISTS_BYTES_HIGH < LISTS_BYTES_HIGH_OF_AGENCIES);
const _: () = assert!(LISTS_BYTES_HIGH_OF_AGENCIES + FLUSH_BYTES_PER_TURN < BUFFERS_BYTES_MAX / 4 * 3);
// One connection's own bytes never fill the buffers of all: what it may have unsent, and a frame of any size.
const _: () = assert!(OUTBOX_BYTES_HIGH < BUFFERS_BYTES_MAX / 4 && WRITE_STEP_BYTES < OUTBOX_BYTES_HIGH);
const _: () = assert!(SHARED_LIST_BYTES_MIN < OUTBOX_BYTES_HIGH);
// A client's whole window may follow its last reply.
const _: () = assert!(2 * 64 * 8 * 1024 <= DISCARD_BYTES_MAX);
// A whole record always fits what is kept of one.
const _: () = assert!(TLS_RECORD_BYTES + 1024 < TLS_INCOMING_BYTES_MAX && TLS_INCOMING_BYTES_MAX < READ_BYTES);
const _: () = assert!(TLS_RECORD_BYTES <= WRITE_STEP_BYTES);
// What decides by silence decides before what ends by time.
const _: () = assert!(ECHO_SILENCE.as_millis() < DETECT_SILENCE.as_millis());
const _: () = assert!(STALL.as_millis() < ECHO_SILENCE.as_millis());
const _: () = assert!(DETECT_SILENCE.as_millis() < UNDECIDED_GRACE.as_millis());
// What a pause may cost a peer is what a returning agency may be late.
const _: () = assert!(POLL_MAX.as_millis() + STALL.as_millis() < RETURN_LATENESS.as_millis());
const _: () = assert!(POLL_MAX.as_millis() + STALL.as_millis() < HALF_CLOSE_GRACE.as_millis());
