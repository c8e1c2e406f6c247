//! One viewer's connection without its socket: bytes in, requests out, answers in, bytes out, and deadlines.
//!
//! One request is in hand at a time; those that were sent ahead wait in the inbox, and then in the kernel.

use std::rc::Rc;
use std::time::Duration;

use super::facts::Door;
use super::http::{HTML, Request, Response, reason};
use super::request::{Parsed, Whole, parse, refusal};
use crate::limits;
use crate::timers::Moment;

/// A page may run its own script and ask its own server, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                           img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What is no page shows nothing.
const OTHER_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// A connection of the status service.
#[derive(Debug)]
pub struct Connection {
    door: Door,
    state: State,
    inbox: Vec<u8>,
    outbox: Outbox,
    /// When [`expire`](Self::expire) has something to do.
    deadline: Moment,
    /// The peer has ended its side.
    at_end: bool,
    /// Bytes read and dropped.
    discarded: usize,
    /// A viewer of events has read none of them for too long.
    is_late: bool,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A request is read, or awaited.
    Reading,
    /// A whole request, at the start of the inbox, waits for its answer.
    Asked(Asked),
    /// An answer is sent, until `until`; then the next request is read, or the connection ends.
    Answering { until: Moment, keep_alive: bool },
    /// Events are sent for as long as it is open.
    Streaming,
    /// Everything is said, and our side is ended. What the peer still sends is dropped: to close a socket with unread
    /// bytes resets the connection, which can destroy the answer.
    Parting,
    /// It can be closed.
    Over,
}

/// The request in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    bytes: usize,
    keep_alive: bool,
    is_old: bool,
    is_head: bool,
}

impl Asked {
    /// An inbox of so many bytes that is no request: the answer to it is the connection's last.
    fn unreadable(bytes: usize) -> Asked {
        Asked { bytes, keep_alive: false, is_old: false, is_head: false }
    }
}

/// Bytes to send: a head, or events, and a body behind it that answers share.
#[derive(Debug, Default)]
struct Outbox {
    head: Vec<u8>,
    body: Option<Rc<[u8]>>,
    /// Bytes of both that are sent.
    sent: usize,
}

impl Outbox {
    fn unsent(&self) -> &[u8] {
        let body = self.body.as_deref().unwrap_or_default();
        match self.sent.checked_sub(self.head.len()) {
            None => &self.head[self.sent..],
            Some(sent) => body.get(sent..).unwrap_or_default(),
        }
    }

    fn len(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, |body| body.len()) - self.sent
    }
}

impl Connection {
    /// A new connection by `door`.
    pub fn new(door: Door, now: Moment) -> Connection {
        Connection {
            door,
            state: State::Reading,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            deadline: now + limits::STATUS_IDLE_TIMEOUT,
            at_end: false,
            discarded: 0,
            is_late: false,
        }
    }

    /// How many bytes [`receive`](Self::receive) takes now. With 0, what the peer sends stays in the kernel.
    pub fn room(&self) -> usize {
        match self.state {
            State::Reading => limits::STATUS_HEAD_BYTES_MAX + limits::STATUS_BODY_BYTES_MAX - self.inbox.len(),
            State::Asked(_) | State::Answering { .. } | State::Over => 0,
            State::Streaming | State::Parting => limits::STATUS_HEAD_BYTES_MAX,
        }
    }

    /// Takes bytes of the peer, no more than [`room`](Self::room).
    pub fn receive(&mut self, bytes: &[u8], now: Moment) {
        match self.state {
            State::Reading => {
                if self.inbox.is_empty() && !bytes.is_empty() {
                    self.deadline = now + limits::STATUS_REQUEST_TIMEOUT;
                }
                self.inbox.extend_from_slice(&bytes[..bytes.len().min(self.room())]);
            }
            State::Streaming | State::Parting => {
                self.discarded = self.discarded.saturating_add(bytes.len());
                if self.discarded > limits::STATUS_DISCARD_BYTES_MAX {
                    self.state = State::Over;
                }
            }
            State::Asked(_) | State::Answering { .. } | State::Over => {}
        }
    }

    /// The peer has ended its side. Requests that it sent before are still answered.
    pub fn end(&mut self) {
        self.at_end = true;
        if matches!(self.state, State::Streaming | State::Parting) {
            self.state = State::Over;
        }
    }

    /// Reads the next request. One that cannot be read, or that this viewer may not ask, is answered here. Says whether one
    /// waits for its answer: [`request`](Self::request).
    pub fn read_request(&mut self, names: &[String], now: Moment) -> bool {
        if self.state != State::Reading {
            return matches!(self.state, State::Asked(_));
        }
        let refused = match parse(&self.inbox) {
            Parsed::Incomplete => {
                if self.at_end {
                    self.state = State::Over;
                }
                return false;
            }
            Parsed::Whole(Whole { request, bytes, keep_alive, is_old }) => {
                let is_head = request.method == super::http::Method::Head;
                let refused = refusal(&request, self.door, names);
                self.state = State::Asked(Asked { bytes, keep_alive, is_old, is_head });
                refused
            }
            Parsed::Refused(response) => {
                self.state = State::Asked(Asked::unreadable(self.inbox.len()));
                Some(response)
            }
        };
        if let Some(response) = refused {
            self.answer(response, now);
            return false;
        }
        true
    }

    /// Whether bytes of a further request are here.
    pub fn has_input(&self) -> bool {
        self.state == State::Reading && !self.inbox.is_empty()
    }

    /// The request that waits for its answer.
    pub fn request(&self) -> Option<Request<'_>> {
        let State::Asked(_) = self.state else { return None };
        match parse(&self.inbox) {
            Parsed::Whole(whole) => Some(whole.request),
            Parsed::Incomplete | Parsed::Refused(_) => None,
        }
    }

    /// Answers the request in hand.
    pub fn answer(&mut self, response: Response, now: Moment) {
        let Some(asked) = self.take_asked() else { return };
        let length = response.body.len();
        let lives = match (asked.keep_alive, asked.is_old) {
            (false, _) => "Connection: close\r\n",
            (true, true) => "Connection: keep-alive\r\n",
            (true, false) => "",
        };
        let mut head = head(&response);
        head.extend_from_slice(format!("Content-Length: {length}\r\n{lives}\r\n").as_bytes());
        let body = Some(response.body).filter(|_| !asked.is_head);
        self.outbox = Outbox { head, body, sent: 0 };
        let until = now + limits::STATUS_ANSWER_TIMEOUT;
        self.state = State::Answering { until, keep_alive: asked.keep_alive };
        self.deadline = now + limits::STATUS_WRITE_TIMEOUT;
    }

    /// Answers the request in hand with events from here on, for which [`events`](Self::events) has room. Says whether the
    /// viewer wants them: a `HEAD` does not.
    pub fn stream(&mut self, now: Moment) -> bool {
        let Some(asked) = self.take_asked() else { return false };
        let mut head = head(&Response::new(200, "text/event-stream", Vec::new()));
        // Without a length the connection's end is the events' end.
        head.extend_from_slice(b"Connection: close\r\n\r\n");
        self.outbox = Outbox { head, body: None, sent: 0 };
        self.deadline = now + limits::STATUS_WRITE_TIMEOUT;
        let until = now + limits::STATUS_ANSWER_TIMEOUT;
        self.state = if asked.is_head { State::Answering { until, keep_alive: false } } else { State::Streaming };
        if self.at_end {
            self.end();
        }
        self.state == State::Streaming
    }

    fn take_asked(&mut self) -> Option<Asked> {
        let State::Asked(asked) = self.state else { return None };
        self.inbox.drain(..asked.bytes.min(self.inbox.len()));
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        Some(asked)
    }

    /// The buffer of a viewer of events, to append events to; `None` for any other.
    pub fn events(&mut self) -> Option<&mut Vec<u8>> {
        (self.state == State::Streaming).then_some(&mut self.outbox.head)
    }

    /// Events were appended to a buffer that was empty before: the time in which the peer must read begins.
    pub fn events_added(&mut self, was_empty: bool, now: Moment) {
        if was_empty && self.has_unsent() {
            self.deadline = now + limits::STATUS_WRITE_TIMEOUT;
        }
    }

    /// Whether a viewer of events has not read more of them than may wait, or none for longer than it may.
    pub fn is_behind(&self) -> bool {
        self.is_late || self.state == State::Streaming && self.outbox.len() > limits::STATUS_EVENTS_BYTES_MAX
    }

    /// Bytes to send now; there may be more behind them.
    pub fn unsent(&self) -> &[u8] {
        self.outbox.unsent()
    }

    /// Whether there are bytes to send.
    pub fn has_unsent(&self) -> bool {
        self.outbox.len() > 0
    }

    /// So many bytes of [`unsent`](Self::unsent) are sent.
    pub fn sent(&mut self, bytes: usize, now: Moment) {
        if bytes == 0 {
            return;
        }
        self.outbox.sent += bytes.min(self.outbox.len());
        let progress = now + limits::STATUS_WRITE_TIMEOUT;
        match self.state {
            State::Answering { until, keep_alive } => {
                self.deadline = progress.min(until);
                if !self.has_unsent() {
                    self.answered(keep_alive, now);
                }
            }
            State::Streaming => {
                self.deadline = progress;
                if !self.has_unsent() {
                    self.outbox = Outbox::default();
                    self.deadline = now + limits::STATUS_IDLE_TIMEOUT;
                } else if self.outbox.sent > limits::STATUS_HEAD_BYTES_MAX {
                    self.outbox.head.drain(..self.outbox.sent);
                    self.outbox.sent = 0;
                }
            }
            State::Reading | State::Asked(_) | State::Parting | State::Over => {}
        }
    }

    fn answered(&mut self, keep_alive: bool, now: Moment) {
        self.outbox = Outbox::default();
        let left = if self.inbox.is_empty() { limits::STATUS_IDLE_TIMEOUT } else { limits::STATUS_REQUEST_TIMEOUT };
        (self.state, self.deadline) = match (keep_alive, self.at_end) {
            (true, _) => (State::Reading, now + left),
            (false, false) => (State::Parting, now + limits::DRAIN_TIMEOUT),
            (false, true) => (State::Over, now),
        };
        if !keep_alive {
            self.inbox = Vec::new();
        }
    }

    /// When [`expire`](Self::expire) is to be called next.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// The deadline has passed: a slow request is answered with 408, a viewer of events that has read all of them
    /// stays, any other connection is over.
    pub fn expire(&mut self, now: Moment) {
        if now < self.deadline {
            return;
        }
        match self.state {
            State::Reading if !self.inbox.is_empty() => {
                self.state = State::Asked(Asked::unreadable(self.inbox.len()));
                self.answer(Response::line(408, "the request came too slowly"), now);
            }
            State::Streaming if !self.has_unsent() => {
                self.deadline = now + limits::STATUS_IDLE_TIMEOUT;
            }
            State::Streaming => (self.state, self.is_late) = (State::Over, true),
            State::Reading | State::Answering { .. } | State::Parting => self.state = State::Over,
            // Its answer is the caller's to give.
            State::Asked(_) => self.deadline = now + Duration::from_secs(1),
            State::Over => {}
        }
    }

    /// Whether our side of the socket is to be ended.
    pub fn is_parting(&self) -> bool {
        self.state == State::Parting
    }

    /// Whether it can be closed.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The answer that is being sent, and until when it may be read.
    pub fn unread_answer(&self) -> Option<(&Rc<[u8]>, Moment)> {
        let State::Answering { until, .. } = self.state else { return None };
        self.outbox.body.as_ref().map(|body| (body, until))
    }

    /// Whether it can be closed for a newcomer: nothing is on its way to it.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Reading | State::Parting | State::Over)
    }
}

/// An answer's head up to the length of its body.
fn head(response: &Response) -> Vec<u8> {
    let (status, kind) = (response.status, response.content_type);
    let cache = if response.cache { "max-age=300" } else { "no-store" };
    let policy = if kind == HTML { PAGE_POLICY } else { OTHER_POLICY };
    let allow = response.allow.map(|allow| format!("Allow: {allow}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nCache-Control: {cache}\r\nContent-Security-Policy: {policy}\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         {allow}",
        reason(status)
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn moment(seconds: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(seconds))
    }

    fn take(connection: &mut Connection, now: Moment) -> String {
        let mut text = Vec::new();
        while connection.has_unsent() {
            let bytes = connection.unsent().to_vec();
            text.extend(&bytes);
            connection.sent(bytes.len(), now);
        }
        String::from_utf8(text).unwrap()
    }

    fn asked(text: &str, door: Door) -> Connection {
        let mut connection = Connection::new(door, moment(0));
        connection.receive(text.as_bytes(), moment(0));
        connection.read_request(&[], moment(0));
        connection
    }

    #[test]
    fn requests_sent_ahead_are_answered_one_by_one() {
        let mut connection = asked(&GET.repeat(2), Door::Network);
        for path in ["/a", "/a"] {
            assert_eq!(connection.request().unwrap().path, path);
            assert_eq!(connection.room(), 0, "no more is read while one waits");
            connection.answer(Response::line(200, "yes"), moment(0));
            let text = take(&mut connection, moment(0));
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nyes\n"), "{text}");
            connection.read_request(&[], moment(0));
        }
        assert!(connection.request().is_none() && !connection.is_over());
        connection.end();
        connection.read_request(&[], moment(0));
        assert!(connection.is_over());
    }

    #[test]
    fn what_changes_something_comes_by_the_local_door_and_not_from_a_page() {
        let post = "POST /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        assert!(asked(post, Door::Local).request().is_some());
        assert!(asked(&post.replace("localhost", "any.name"), Door::Local).request().is_some());
        let mut refused = asked(post, Door::Network);
        assert!(take(&mut refused, moment(0)).contains("405 Method Not Allowed\r\n"));
        let mut refused = asked(&post.replace("Host", "Origin: null\r\nHost"), Door::Local);
        assert!(take(&mut refused, moment(0)).contains(" 403 Forbidden\r\n"));
        let mut refused = asked(&GET.replace("localhost", "evil.example"), Door::Network);
        assert!(take(&mut refused, moment(0)).contains(" 421 Misdirected Request\r\n"));
    }

    #[test]
    fn slow_requests_are_told_and_silent_connections_closed() {
        let mut connection = Connection::new(Door::Network, moment(0));
        connection.receive(b"GET", moment(5));
        let late = moment(5) + limits::STATUS_REQUEST_TIMEOUT;
        assert_eq!(connection.deadline(), late);
        connection.receive(b" /", moment(6));
        assert_eq!(connection.deadline(), late, "a byte now and then is not a request");
        connection.expire(late);
        assert!(take(&mut connection, late).contains(" 408 Request Timeout\r\n"));
        assert!(connection.is_parting());
        connection.expire(late + limits::DRAIN_TIMEOUT);
        assert!(connection.is_over());
        let mut silent = Connection::new(Door::Network, moment(0));
        silent.expire(silent.deadline());
        assert!(silent.is_over() && !silent.has_unsent());
    }

    #[test]
    fn an_answer_that_is_read_a_byte_at_a_time_ends_all_the_same() {
        let mut connection = asked(GET, Door::Network);
        connection.answer(Response::new(200, HTML, vec![b'a'; 100_000]), moment(0));
        for second in 1..limits::STATUS_ANSWER_TIMEOUT.as_secs() {
            connection.sent(1, moment(second));
            connection.expire(moment(second));
            assert!(!connection.is_over());
        }
        connection.expire(moment(0) + limits::STATUS_ANSWER_TIMEOUT);
        assert!(connection.is_over());
    }

    #[test]
    fn viewers_of_events_may_wait_and_may_not_fall_behind() {
        let mut connection = asked(GET, Door::Network);
        assert!(connection.stream(moment(0)));
        assert!(take(&mut connection, moment(0)).contains("text/event-stream"));
        connection.expire(connection.deadline());
        assert!(connection.state == State::Streaming, "nothing has happened, which is not the viewer's fault");
        connection.events().unwrap().resize(limits::STATUS_EVENTS_BYTES_MAX + 1, b'a');
        assert!(connection.is_behind());
        connection.events_added(true, moment(100));
        let late = connection.deadline();
        connection.events_added(false, moment(101));
        assert_eq!(connection.deadline(), late, "more events are no reason to wait longer for a viewer");
        connection.sent(limits::STATUS_EVENTS_BYTES_MAX, moment(101));
        assert!(!connection.is_behind());
        connection.expire(moment(101) + limits::STATUS_WRITE_TIMEOUT);
        assert!(connection.is_over() && connection.is_behind(), "what it does not read for long is lost to it, too");
        assert!(!asked(&GET.replace("GET", "HEAD"), Door::Network).stream(moment(0)));
    }
}
