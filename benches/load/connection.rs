//! One connection of the generator: what it has sent, what has been answered, and how long that took.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use hdrhistogram::Histogram;
use loteria::lottery::AgencyId;
use loteria::wire::{Answer, Expecting};
use mio::net::TcpStream;

use crate::frames::{Protocol, Ring};
use crate::jetstream;
use crate::options::Options;

/// A connection and its position in its agency's ring.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    protocol: Protocol,
    /// How many batches may be unanswered.
    window: u64,
    /// How many frames one write may have.
    frames_per_write: usize,
    /// How many batches it sends in all.
    quota: u64,
    /// Sequence number of its first batch.
    first_sequence: u64,
    /// The next byte to send is `at`, of frame `frame`.
    frame: usize,
    at: usize,
    /// Batches that have their number, have been sent whole, have been answered.
    numbered: u64,
    sent: u64,
    answered: u64,
    /// The finish, in a dialect that answers nothing else, and how much of it has been sent.
    finish: Vec<u8>,
    finish_sent: usize,
    /// When each unanswered batch was sent.
    sent_at: VecDeque<Instant>,
    /// The start of an answer that is not whole.
    inbox: Vec<u8>,
}

impl Connection {
    /// A connection that sends `quota` batches, the first numbered `first_sequence`.
    pub fn new(stream: TcpStream, options: &Options, quota: u64, first_sequence: u64) -> Connection {
        Connection {
            stream,
            protocol: options.protocol,
            window: options.window,
            frames_per_write: if options.separately { 1 } else { usize::MAX },
            quota,
            first_sequence,
            frame: 0,
            at: 0,
            numbered: 0,
            sent: 0,
            answered: 0,
            finish: Vec::new(),
            finish_sent: 0,
            sent_at: VecDeque::new(),
            inbox: Vec::new(),
        }
    }

    /// Makes a connection whose batches are not answered end with its agency's finish, which is.
    pub fn finish_of(&mut self, agency: AgencyId) {
        if let Protocol::Hub(dialect) = self.protocol
            && !dialect.client_rules().batches_answered
        {
            dialect.put_finish(agency, &mut self.finish);
            self.window = self.quota;
        }
    }

    /// Its socket.
    pub fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Its socket, when it is done.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Whether everything it had to send is answered.
    pub fn done(&self) -> bool {
        self.answered == self.quota
    }

    /// Batches that it sends in all.
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// Sends what the window allows and the socket takes.
    ///
    /// # Errors
    /// In words.
    pub fn send(&mut self, ring: &mut Ring) -> Result<(), String> {
        let allowed = self.quota.min(self.answered + self.window);
        let now = Instant::now();
        while self.sent < allowed {
            let wanted = usize::try_from(allowed - self.sent).unwrap_or(usize::MAX);
            let frames = wanted.min(ring.len() - self.frame).min(self.frames_per_write);
            while self.numbered < self.sent + frames as u64 {
                let ahead = usize::try_from(self.numbered - self.sent).expect("within the ring");
                ring.number(self.frame + ahead, self.first_sequence + self.numbered);
                self.numbered += 1;
            }
            let end = ring.end(self.frame + frames - 1);
            let Some(taken) = self.write(&ring.bytes()[self.at..end])? else { return Ok(()) };
            self.at += taken;
            while self.frame < ring.len() && ring.end(self.frame) <= self.at {
                self.frame += 1;
                self.sent += 1;
                if self.finish.is_empty() {
                    self.sent_at.push_back(now);
                }
            }
            if self.frame == ring.len() {
                (self.frame, self.at) = (0, 0);
            }
        }
        while self.sent == self.quota && self.finish_sent < self.finish.len() {
            let rest = self.finish[self.finish_sent..].to_vec();
            let Some(taken) = self.write(&rest)? else { return Ok(()) };
            self.finish_sent += taken;
        }
        Ok(())
    }

    /// Writes once; `None` where the socket takes nothing now.
    fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        loop {
            match self.stream.write(bytes) {
                Ok(taken) => return Ok(Some(taken)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot send: {error}")),
            }
        }
    }

    /// Reads every answer that is here, and notes in `latency` the nanoseconds that each batch waited.
    ///
    /// # Errors
    /// In words: the connection ended, or a batch was refused.
    pub fn receive(&mut self, scratch: &mut [u8], latency: &mut Histogram<u64>) -> Result<(), String> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(format!("the other end closed after {} of {} batches", self.answered, self.quota)),
                Ok(read) => {
                    self.take(&scratch[..read], latency)?;
                    // A short read has drained the socket (epoll(7), edge-triggered streams).
                    if read < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot read: {error}")),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], latency: &mut Histogram<u64>) -> Result<(), String> {
        let now = Instant::now();
        if self.inbox.is_empty() {
            let used = self.answers(bytes, now, latency)?;
            self.inbox.extend(&bytes[used..]);
        } else {
            let mut inbox = std::mem::take(&mut self.inbox);
            inbox.extend(bytes);
            let used = self.answers(&inbox, now, latency)?;
            inbox.drain(..used);
            self.inbox = inbox;
        }
        Ok(())
    }

    /// Counts the whole answers in `bytes`; returns how many bytes they are.
    fn answers(&mut self, bytes: &[u8], now: Instant, latency: &mut Histogram<u64>) -> Result<usize, String> {
        let expecting = if self.finish.is_empty() { Expecting::Stored } else { Expecting::Finished };
        let mut used = 0;
        while let Some((len, answer)) = read_answer(self.protocol, &bytes[used..], expecting)? {
            used += len;
            let answered = match answer {
                Answer::Stored => self.answered + 1,
                Answer::StoredBelow { next } => next.saturating_sub(self.first_sequence),
                Answer::Finished { all_stored: true, .. } if expecting == Expecting::Finished => self.quota,
                other => return Err(format!("after {} batches the answer was {other:?}", self.answered)),
            };
            if answered < self.answered || answered > self.sent {
                return Err(format!("{answered} batches are answered of {} sent", self.sent));
            }
            for _ in self.answered..answered {
                if let Some(sent_at) = self.sent_at.pop_front() {
                    let waited = now.saturating_duration_since(sent_at).as_nanos();
                    latency.saturating_record(u64::try_from(waited).unwrap_or(u64::MAX).max(1));
                }
            }
            self.answered = answered;
        }
        Ok(used)
    }
}

/// Reads one answer from the start of `bytes`; `None` while it is not whole.
///
/// # Errors
/// In words: no answer starts like this.
pub fn read_answer(protocol: Protocol, bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, String> {
    match protocol {
        Protocol::Hub(dialect) => dialect.read_answer(bytes, expecting).map_err(|malformed| malformed.to_string()),
        Protocol::JetStream => jetstream::read_answer(bytes),
        Protocol::Redis => {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(None) };
            match &bytes[..end] {
                [b':', ..] => Ok(Some((end + 1, Answer::Stored))),
                line => Err(String::from_utf8_lossy(line).trim_end().to_owned()),
            }
        }
    }
}
