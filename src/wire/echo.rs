//! The `echo` exchange: a line comes back unchanged, then the connection is closed.
//!
//! Source: `docs/PROTOCOLS.md`, echo. A line that never ends is taken as it stands when the peer half-closes
//! or falls silent: the session decides that, not this file.

use super::message::{
    After, Answer, ClientRules, Context, Expecting, Framing, Malformed, Reply, Request, ServerRules, Unsayable,
};
use crate::limits;
use crate::lottery::{AgencyId, BatchError, BetSink, BetSource, RawBet};

/// What this exchange asks of the hub.
pub const SERVER_RULES: ServerRules =
    ServerRules { in_flight: false, polls: false, reconnects: false, finish_before_agency: false };

/// Where a line ends.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    let line_bytes_max = limits::ECHO_LINE_BYTES_MAX.min(context.frame_bytes_max);
    let seen = context.scanned.min(bytes.len());
    match memchr::memchr(b'\n', &bytes[seen..]) {
        Some(at) if seen + at < line_bytes_max => Framing::Complete { bytes: seen + at + 1 },
        None if bytes.len() < line_bytes_max => Framing::Incomplete { need: bytes.len() + 1 },
        Some(_) | None => Framing::Malformed(Malformed("line over the limit")),
    }
}

/// Every line asks for itself.
///
/// # Errors
/// None: the signature is every dialect's.
pub fn decode<'a>(_: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    Ok(Request::Echo)
}

/// There are no bets in an echo.
#[derive(Clone, Debug)]
pub enum Bets<'a> {
    /// Cannot be made.
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

impl Bets<'_> {
    /// None.
    pub fn count(&self) -> u32 {
        match self {
            Bets::Never(never, _) => match *never {},
        }
    }
}

impl BetSource for Bets<'_> {
    fn feed<S: BetSink>(&self, _: &mut S) -> Result<u32, BatchError> {
        match self {
            Bets::Never(never, _) => match *never {},
        }
    }
}

/// The line itself.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    if let Reply::Echo(line) = reply {
        out.extend_from_slice(line);
    }
    After::Close
}

/// The client's side: no agency speaks echo, so that all but the line is empty.
pub mod client {
    use super::{AgencyId, Answer, ClientRules, Expecting, Malformed, RawBet, Unsayable};

    /// What a client does differently in this dialect.
    pub const RULES: ClientRules = ClientRules {
        hello: false,
        window: 0,
        batches_answered: false,
        finish: false,
        batch_overhead_bytes: 0,
        exactly_once: false,
        resumable: true,
    };

    /// No bet.
    ///
    /// # Errors
    /// Always.
    pub fn carries(_: &RawBet<'_>) -> Result<(), Unsayable> {
        Err(Unsayable("the echo exchange takes no bets"))
    }

    /// Nothing.
    pub fn hello(_: AgencyId, _: &mut Vec<u8>) {}
    /// Nothing.
    pub fn bet(_: AgencyId, _: u32, _: &RawBet<'_>, _: &mut Vec<u8>) {}
    /// Nothing.
    pub fn batch(_: AgencyId, _: u64, _: u32, _: &[u8], _: &mut Vec<u8>) {}
    /// Nothing.
    pub fn finish(_: AgencyId, _: &mut Vec<u8>) {}
    /// Nothing.
    pub fn query(_: AgencyId, _: &mut Vec<u8>) {}

    /// No answer of an agency is an echo.
    ///
    /// # Errors
    /// Always.
    pub fn answer(_: &[u8], _: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        Err(Malformed("the echo exchange takes no bets"))
    }
}
