//! The `echo` exchange: the hub sends a line back unchanged, then closes the connection.
//!
//! Source: `docs/PROTOCOLS.md`, echo. The session, not this file, ends an unfinished line at a half-close or a silence.

use super::message::{
    After, Answer, ClientRules, Context, Expecting, Framing, Malformed, Reply, Request, ServerRules, Unrepresentable,
};
use crate::limits;
use crate::lottery::{AgencyId, BatchError, BetSink, BetSource, RawBet};

/// Behaviour that this exchange needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules { searches_for_end: true, ..ServerRules::NONE };

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

/// The request of a line: its own bytes.
///
/// # Errors
/// None; all dialects share the signature.
pub fn decode<'a>(_: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    Ok(Request::Echo)
}

/// The bets of an echo: none.
#[derive(Clone, Debug)]
pub enum Bets<'a> {
    /// Cannot be constructed.
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

impl Bets<'_> {
    /// Never called.
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

/// The client's side: empty, because no agency uses echo.
pub mod client {
    use super::{AgencyId, Answer, ClientRules, Expecting, Malformed, RawBet, Unrepresentable};

    /// Rules for a client of this dialect.
    pub const RULES: ClientRules = ClientRules {
        hello: false,
        window: 0,
        batches_answered: false,
        finish: false,
        batch_overhead_bytes: 0,
        exactly_once: false,
        resumable: true,
    };

    /// Accepts no bet.
    ///
    /// # Errors
    /// Always.
    pub fn carries(_: &RawBet<'_>) -> Result<(), Unrepresentable> {
        Err(Unrepresentable("the echo exchange takes no bets"))
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

    /// Never called.
    ///
    /// # Errors
    /// Always.
    pub fn answer(_: &[u8], _: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        Err(Malformed("the echo exchange takes no bets"))
    }
}
