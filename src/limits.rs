//! Every bound of the server that is not configured, and the relations between the bounds.

use std::time::Duration;

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

/// How long a start waits for PostgreSQL. A service manager starts the hub again; a person sees soon what is wrong.
pub const ENGINE_START_MAX: Duration = Duration::from_secs(30);

/// How often a hub that shares a PostgreSQL reads what the others have done.
pub const ENGINE_SURVEY_PERIOD: Duration = Duration::from_secs(1);

/// How old the lease of an agency is that its hub renews, with the next survey.
pub const ENGINE_LEASE_RENEWAL: Duration = Duration::from_secs(5);

/// The longest time between two surveys of a hub that excludes: through a longer one others may not have renewed either.
pub const ENGINE_LEASE_GAP: Duration = Duration::from_secs(10);

/// How much longer than `ASIDE_AFTER` an agency must be gone to be excluded from a shared draw. A hub without PostgreSQL keeps
/// its connections for [`ASIDE_PARTS_AFTER`] behind that; then its clients find another hub, whose next survey has the lease.
pub const SHARED_LOSS_MARGIN: Duration = Duration::from_secs(50);

/// How often it reads which other hubs there are.
pub const ENGINE_INSTANCES_PERIOD: Duration = Duration::from_secs(3);

/// How long PostgreSQL has not seen a hub that is not counted any more.
pub const ENGINE_HUB_GONE: Duration = Duration::from_secs(60);

/// Hubs that are reported at most, the last seen first.
pub const ENGINE_INSTANCES_MAX: i32 = 32;

/// How long a turn waits that PostgreSQL has refused for a reason that only a person can mend.
pub const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// The pause between two hosts of PostgreSQL: a leader is found among three nodes within a second.
pub const ENGINE_HOST_PAUSE: Duration = Duration::from_millis(250);

/// How long a host of PostgreSQL has to answer a new connection, up to the point where commits may have to wait.
pub const ENGINE_START_PATIENCE: Duration = Duration::from_secs(3);

/// How long a command of the operator waits for PostgreSQL while nothing comes. A commit may wait for a standby.
pub const ENGINE_TOOL_PATIENCE: Duration = Duration::from_secs(60);

/// The silence of PostgreSQL, with turns in flight, after which the other hosts are asked whether they lead.
pub const ENGINE_SILENCE: Duration = Duration::from_secs(2);

/// The silence of PostgreSQL after which a second connection to the same host is tried: the network may have died without a
/// word. Not sooner: the fences of impatient connections wait for one another.
pub const ENGINE_SILENCE_LONG: Duration = Duration::from_secs(10);

/// How long PostgreSQL cannot be used before the connections are closed whose clients can go on at another hub: a failover
/// takes about as long, and is not worth a reconnection.
pub const ASIDE_PARTS_AFTER: Duration = Duration::from_secs(30);

/// The pause between tries to take the address again that was given up while PostgreSQL could not be used.
pub const ASIDE_RETRY: Duration = Duration::from_secs(1);

/// How often the log says that PostgreSQL cannot be used.
pub const ENGINE_LOG_PERIOD: Duration = Duration::from_secs(60);

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

/// Agencies that `/status.json` lists, the first ones without a finish, then others: some 400 bytes each, and a draw can have a
/// hundred thousand.
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
// The disk is tried again while it is still said to be full.
const _: () = assert!(FULL_DISK_PAUSE.as_millis() < STORE_FULL_SAID.as_millis());
// What hostile peers cause in one second (four kinds of events, with and without an agency) leaves most of the ring to others,
// and so does what is stored.
const _: () = assert!((EVENTS_PER_SECOND as usize) * 8 <= EVENTS_KEPT / 4);
const _: () = assert!(STORED_EVENTS_PER_SECOND < EVENTS_PER_SECOND_RARE as usize);
const _: () = assert!((EVENTS_PER_SECOND_RARE as usize) <= EVENTS_KEPT / 4);
// A pause of the program never makes a returning agency, or a half-close, late.
const _: () = assert!(POLL_MAX.as_millis() + STALL.as_millis() < RETURN_LATENESS.as_millis());
const _: () = assert!(POLL_MAX.as_millis() + STALL.as_millis() < HALF_CLOSE_GRACE.as_millis());
// What a viewer may send is read in one piece, and an answer ends before the viewer's time does.
const _: () = assert!(STATUS_HEAD_BYTES_MAX + STATUS_BODY_BYTES_MAX <= READ_BYTES);
const _: () = assert!(STATUS_WRITE_TIMEOUT.as_millis() < STATUS_ANSWER_TIMEOUT.as_millis());
const _: () = assert!(EVENTS_BYTES < STATUS_EVENTS_BYTES_MAX);
// The unread events of all viewers are a fraction of the agencies' buffers.
const _: () = assert!((STATUS_LOCAL_MAX + STATUS_NETWORK_MAX) * STATUS_EVENTS_BYTES_MAX < BUFFERS_BYTES_MAX / 4);
