//! Whether the bytes of one connection are encrypted.

use std::net::IpAddr;

use super::files::Tls;
use super::session::Session;
use crate::limits;

/// The first two bytes of every TLS connection: the type of a handshake record and the major version, which is the same
/// in all versions of TLS.
const TLS_START: [u8; 2] = [0x16, 0x03];

/// How the bytes of a connection are carried.
#[derive(Debug)]
pub(in crate::reactor) enum Transport {
    /// The first bytes will tell whether it is TLS.
    Undecided {
        /// The first byte of TLS has come, and nothing after it.
        begun: bool,
    },
    /// Not encrypted.
    Plain,
    /// Encrypted.
    Tls(Box<Session>),
}

impl Transport {
    /// The transport of a new connection to a hub that offers TLS or does not.
    pub(in crate::reactor) fn new(tls: Option<&Tls>) -> Transport {
        if tls.is_some() { Transport::Undecided { begun: false } } else { Transport::Plain }
    }

    /// Decides between TLS and plain bytes by the first `bytes` of the connection, which begin with
    /// [`incoming`](Self::incoming). Changes nothing once that is decided, and while the only byte could be of either
    /// and is not the `last`.
    ///
    /// # Errors
    /// A reason in words: `tls` has no working session, or requires TLS of `peer`.
    pub(in crate::reactor) fn decide(
        &mut self,
        bytes: &[u8],
        last: bool,
        tls: &Tls,
        peer: Option<IpAddr>,
    ) -> Result<(), String> {
        if !matches!(self, Transport::Undecided { .. }) {
            return Ok(());
        }
        *self = if !last && bytes == &TLS_START[..1] {
            Transport::Undecided { begun: true }
        } else if bytes.starts_with(&TLS_START) {
            Transport::Tls(Box::new(Session::new(tls.config(), tls.asks_for_certificates())?))
        } else if peer.is_some_and(|peer| tls.is_required_of(peer)) {
            return Err("it does not use TLS, which is required".to_owned());
        } else {
            Transport::Plain
        };
        Ok(())
    }

    /// Bytes received earlier that go in front of the next ones.
    pub(in crate::reactor) fn incoming(&self) -> &[u8] {
        match self {
            Transport::Undecided { begun: false } | Transport::Plain => &[],
            Transport::Undecided { begun: true } => &TLS_START[..1],
            Transport::Tls(session) => session.incoming(),
        }
    }

    /// How many bytes to read where the hub has room for `room` of them. At least the rest of a TLS record: each read
    /// of a part of a record costs as much as the whole record.
    pub(in crate::reactor) fn least_room(&self, room: usize) -> usize {
        match self {
            Transport::Tls(session) if room > 0 => {
                room.max(limits::TLS_RECORD_WIRE_BYTES.saturating_sub(session.incoming().len()))
            }
            Transport::Undecided { .. } | Transport::Plain | Transport::Tls(_) => room,
        }
    }

    /// Whether the next bytes may be a step of a TLS handshake, which is expensive.
    pub(in crate::reactor) fn may_shake_hands(&self) -> bool {
        match self {
            Transport::Undecided { .. } => true,
            Transport::Plain => false,
            Transport::Tls(session) => session.is_handshaking(),
        }
    }

    /// Whether the socket has taken all encrypted bytes.
    pub(in crate::reactor) fn is_flushed(&self) -> bool {
        match self {
            Transport::Undecided { .. } | Transport::Plain => true,
            Transport::Tls(session) => session.unsent().is_empty(),
        }
    }

    /// Whether the end of our side has been sent to the peer, where TLS has a message for it.
    pub(in crate::reactor) fn is_finished(&self) -> bool {
        match self {
            Transport::Undecided { .. } | Transport::Plain => true,
            Transport::Tls(session) => session.has_sent_close_notify() && session.unsent().is_empty(),
        }
    }
}
