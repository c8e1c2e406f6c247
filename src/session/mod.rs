//! One connection without its socket: which dialect it speaks, whose it is, and where its stream stands.
//!
//! A session turns bytes into requests, one step at a time, and never touches sockets, files, clocks or the
//! lottery. Its owner gives it bytes and acts on its steps.

mod inbox;

pub use inbox::{Inbox, Progress};

use crate::limits;
use crate::lottery::AgencyId;
use crate::wire::detect::{Detection, detect};
use crate::wire::{Bets, Context, Dialect, Framing, Malformed, Request, ServerRules};

/// Where a connection's stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its first bytes have not shown its dialect; `silence` is the one that they mean if no more come.
    Detecting {
        /// See above.
        silence: Option<Dialect>,
    },
    /// Frames are decoded as they come.
    Speaking(Dialect),
    /// A reply comes first: after the turn's commit, or at the draw. Nothing is decoded meanwhile.
    Paused(Dialect),
    /// Nothing is decoded any more; what is queued is sent, then the connection is closed.
    Closing(Option<Dialect>),
}

/// What the next bytes hold.
#[derive(Debug)]
pub enum Step<'a> {
    /// No whole frame; one cannot be whole before `need` bytes are here.
    NeedMore {
        /// Bytes from the frame's start.
        need: usize,
        /// How many of the bytes need not be looked at again.
        scanned: usize,
    },
    /// A frame of `bytes` bytes, and what it asks for.
    Frame {
        /// The frame's length.
        bytes: usize,
        /// Its request.
        request: Request<Bets<'a>>,
    },
    /// A stream that cannot be read on.
    Malformed(Malformed),
    /// The session is not decoding now.
    Paused,
}

/// One connection's side of the conversation.
#[derive(Debug)]
pub struct Session {
    /// Where it stands.
    pub phase: Phase,
    /// The agency that the connection speaks for, once it has shown or been given one.
    pub agency: Option<AgencyId>,
    /// The only agency that it may speak for, where a certificate says so.
    pub certified: Option<AgencyId>,
    /// A batch of this connection was rejected.
    pub rejected_any: bool,
    /// The connection finished before it showed whose it is; its query will tell.
    pub finish_unclaimed: bool,
    /// The peer will send no more.
    pub half_closed: bool,
    /// After a rejection in a dialect with batches in flight: the sequence number that must come again
    /// before anything else counts.
    pub awaiting_resend: Option<u64>,
    /// It was rejected because other bets are stored under its number.
    pub in_conflict: bool,
    opening: bool,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            phase: Phase::Detecting { silence: None },
            agency: None,
            certified: None,
            rejected_any: false,
            finish_unclaimed: false,
            half_closed: false,
            awaiting_resend: None,
            in_conflict: false,
            opening: true,
        }
    }
}

impl Session {
    /// The dialect, once it is known.
    pub fn dialect(&self) -> Option<Dialect> {
        match self.phase {
            Phase::Detecting { .. } => None,
            Phase::Speaking(dialect) | Phase::Paused(dialect) => Some(dialect),
            Phase::Closing(dialect) => dialect,
        }
    }

    /// Behaviour that the dialect needs from the hub; the default while the dialect is not known.
    pub fn server_rules(&self) -> ServerRules {
        self.dialect().map_or(ServerRules::NONE, Dialect::server_rules)
    }

    /// Whether frames are being decoded.
    pub fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Detecting { .. } | Phase::Speaking(_))
    }

    /// Whether a batch is behind a rejected one that has to come again first.
    pub fn is_behind_rejected(&self, sequence: u64) -> bool {
        self.awaiting_resend.is_some_and(|awaited| sequence > awaited)
    }

    /// Takes the next step on `bytes`, which start where the last step's frame ended. `scanned` of them have
    /// been looked at before.
    #[inline]
    pub fn step<'a>(&mut self, bytes: &'a [u8], scanned: usize, frame_bytes_max: usize) -> Step<'a> {
        if let Phase::Detecting { .. } = self.phase {
            match detect(bytes) {
                Detection::Known(dialect) => self.phase = Phase::Speaking(dialect),
                Detection::NeedMore => return self.undecided(bytes, None),
                Detection::SilenceMeans(dialect) => return self.undecided(bytes, Some(dialect)),
            }
        }
        let Phase::Speaking(dialect) = self.phase else { return Step::Paused };
        let context = Context { frame_bytes_max, opening: self.opening, scanned };
        match dialect.frame(bytes, &context) {
            Framing::Incomplete { need } => Step::NeedMore { need, scanned: bytes.len() },
            Framing::Malformed(malformed) => Step::Malformed(malformed),
            Framing::Complete { bytes: frame_bytes } => match dialect.decode(&bytes[..frame_bytes], &context) {
                Ok(request) => {
                    self.opening = false;
                    Step::Frame { bytes: frame_bytes, request }
                }
                Err(malformed) => Step::Malformed(malformed),
            },
        }
    }

    /// No more bytes will come for a while: what do those that are here mean by themselves? A dialect that
    /// was open is decided; says whether anything changed.
    pub fn decide_by_silence(&mut self) -> bool {
        match self.phase {
            Phase::Detecting { silence: Some(dialect) } => {
                self.phase = Phase::Speaking(dialect);
                true
            }
            Phase::Detecting { silence: None } | Phase::Speaking(_) | Phase::Paused(_) | Phase::Closing(_) => false,
        }
    }

    /// Pauses decoding until a reply has been released.
    pub fn pause(&mut self) {
        if let Phase::Speaking(dialect) = self.phase {
            self.phase = Phase::Paused(dialect);
        }
    }

    /// Goes on decoding.
    pub fn resume(&mut self) {
        if let Phase::Paused(dialect) = self.phase {
            self.phase = Phase::Speaking(dialect);
        }
    }

    /// Stops decoding for good.
    pub fn close(&mut self) {
        self.phase = Phase::Closing(self.dialect());
    }

    fn undecided<'a>(&mut self, bytes: &[u8], silence: Option<Dialect>) -> Step<'a> {
        debug_assert!(bytes.len() <= limits::TEXT_LENGTH_LINE_BYTES_MAX, "detection decides within a few bytes");
        self.phase = Phase::Detecting { silence };
        Step::NeedMore { need: bytes.len() + 1, scanned: 0 }
    }
}
