//! One connection's encryption, without its socket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::identity;
use crate::limits;
use crate::lottery::AgencyId;

/// Between the bytes of a socket and those of a conversation. It holds the start of a record that is not whole,
/// and encrypted bytes that the socket has not taken; nothing else, and nothing of either while there is none.
pub(in crate::reactor) struct Session {
    connection: UnbufferedServerConnection,
    asks_for_certificate: bool,
    established: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Of `outgoing`.
    sent: usize,
    /// Bytes of the conversation that `outgoing` carries.
    carried: usize,
    said_goodbye: bool,
    /// The library has refused what came. It is not asked again: it counts on being shown the same bytes.
    broken: bool,
}

/// What a peer's records held.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Heard<'a> {
    /// The handshake is over; a certificate says that the peer may speak for this agency only.
    Established(Option<AgencyId>),
    /// Bytes of the conversation.
    Bytes(&'a [u8]),
    /// The peer's end.
    End,
}

impl Session {
    /// A connection whose first bytes are those of TLS.
    ///
    /// # Errors
    /// In words.
    pub(in crate::reactor) fn new(config: Arc<ServerConfig>, asks_for_certificate: bool) -> Result<Session, String> {
        let connection = UnbufferedServerConnection::new(config).map_err(|error| error.to_string())?;
        Ok(Session {
            connection,
            asks_for_certificate,
            established: false,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            carried: 0,
            said_goodbye: false,
            broken: false,
        })
    }

    /// Whether the peer has yet to show who it is.
    pub(in crate::reactor) fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// What has come of a record that is not whole. It goes before the bytes that come next.
    pub(in crate::reactor) fn incoming(&self) -> &[u8] {
        &self.incoming
    }

    /// Memory held, in bytes, with a guess at what the library keeps for the connection.
    pub(in crate::reactor) fn memory_bytes(&self) -> usize {
        limits::TLS_CONNECTION_BYTES + self.incoming.capacity() + self.outgoing.capacity()
    }

    /// Decrypts `records`, which begin with [`incoming`](Self::incoming), and tells `hear` what they hold.
    ///
    /// # Errors
    /// In words. The connection is of no use any more, but what is [`unsent`](Self::unsent) says why to the peer.
    pub(in crate::reactor) fn receive(
        &mut self,
        records: &mut [u8],
        hear: impl FnMut(Heard<'_>),
    ) -> Result<(), String> {
        let received = if self.broken { Ok(()) } else { self.process(records, hear) };
        if received.is_err() {
            self.broken = true;
            self.incoming = Vec::new();
        }
        received
    }

    fn process(&mut self, records: &mut [u8], mut hear: impl FnMut(Heard<'_>)) -> Result<(), String> {
        let mut start = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = ask(&mut self.connection, &mut records[start..])?;
            let (mut blocked, mut early) = (false, false);
            let mut failed = None;
            match state {
                // Whose bytes they are is asked first; the library shows them again.
                Ok(ConnectionState::ReadTraffic(_)) if !self.established => early = true,
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| error.to_string())?;
                        discard += record.discard;
                        hear(Heard::Bytes(record.payload));
                    }
                }
                Ok(ConnectionState::PeerClosed) => hear(Heard::End),
                Ok(other) => blocked = !transmit(other, &mut self.outgoing)?,
                Err(error) => failed = Some(error.to_string()),
            }
            start += discard;
            if let Some(why) = failed {
                self.take_alert(&mut records[start..]);
                return Err(why);
            }
            self.establish(&mut hear)?;
            if early && !self.established {
                return Err("bytes before the end of the handshake".to_owned());
            }
            if blocked {
                break;
            }
        }
        self.keep(&records[start..])
    }

    /// Encrypts some of `bytes`; how many is told by [`sent`](Self::sent) once the socket has taken them.
    ///
    /// # Errors
    /// In words: there is nothing to encrypt with before the handshake is over, or not any more.
    pub(in crate::reactor) fn encrypt(&mut self, bytes: &[u8]) -> Result<(), String> {
        debug_assert!(self.unsent().is_empty(), "a record at a time, or slow readers would be given memory for all");
        if self.broken {
            return Err("the peer's bytes were refused".to_owned());
        }
        let bytes = &bytes[..bytes.len().min(limits::TLS_RECORD_BYTES)];
        self.write(|traffic, room| traffic.encrypt(bytes, room))?;
        self.carried = bytes.len();
        Ok(())
    }

    /// Tells the peer, once, that this was all.
    pub(in crate::reactor) fn say_goodbye(&mut self) {
        if self.established && !self.broken && !std::mem::replace(&mut self.said_goodbye, true) {
            // Without the means to say it, the socket's own end has to do.
            let _ = self.write(|traffic, room| traffic.queue_close_notify(room));
        }
    }

    /// Whether the peer has been told so, as far as it can be.
    pub(in crate::reactor) fn has_said_goodbye(&self) -> bool {
        self.said_goodbye || !self.established || self.broken
    }

    /// What the socket should be given next.
    pub(in crate::reactor) fn unsent(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// The socket took `bytes` of [`unsent`](Self::unsent); returns how many bytes of the conversation are on
    /// their way with that.
    pub(in crate::reactor) fn sent(&mut self, bytes: usize) -> usize {
        self.sent += bytes;
        if self.sent < self.outgoing.len() {
            return 0;
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        std::mem::take(&mut self.carried)
    }

    fn establish(&mut self, hear: &mut impl FnMut(Heard<'_>)) -> Result<(), String> {
        if self.established || self.connection.is_handshaking() {
            return Ok(());
        }
        self.established = true;
        let certificate = self.connection.peer_certificates().and_then(<[_]>::first);
        let agency = match (self.asks_for_certificate, certificate) {
            (false, _) => None,
            (true, Some(certificate)) => {
                let agency = identity::agency_of(certificate);
                Some(agency.map_err(|why| format!("the certificate is no agency's: {why}"))?)
            }
            (true, None) => return Err("there is no certificate".to_owned()),
        };
        hear(Heard::Established(agency));
        Ok(())
    }

    /// Keeps the start of a record, or of a handshake's message; never much of either.
    fn keep(&mut self, rest: &[u8]) -> Result<(), String> {
        if rest.len() > limits::TLS_INCOMING_BYTES_MAX {
            return Err("a handshake longer than any honest one".to_owned());
        }
        self.incoming = rest.to_vec();
        Ok(())
    }

    /// After an error: what the library wants the peer to know of it, which it has ready. `records` are those that
    /// it was shown; asked once more, it would look at them again.
    fn take_alert(&mut self, records: &mut [u8]) {
        if let Ok(UnbufferedStatus { state: Ok(state), .. }) = ask(&mut self.connection, records) {
            let _ = transmit(state, &mut self.outgoing);
        }
    }

    /// Has `put` write what it wants to send, behind what the library itself has to say.
    fn write(
        &mut self,
        mut put: impl FnMut(&mut WriteTraffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), String> {
        loop {
            let UnbufferedStatus { discard, state } = ask(&mut self.connection, &mut self.incoming)?;
            let state = state.map_err(|error| error.to_string())?;
            if let ConnectionState::WriteTraffic(mut traffic) = state {
                return append(&mut self.outgoing, |room| match put(&mut traffic, room) {
                    Err(EncryptError::InsufficientSize(error)) => Err(Some(error.required_size)),
                    other => other.map_err(|_| None),
                });
            }
            if !transmit(state, &mut self.outgoing)? {
                return Err("nothing can be sent now".to_owned());
            }
            self.incoming.drain(..discard);
        }
    }
}

/// Shows the library what came. It parses what untrusted peers send; a mistake in it
/// ends their connection, and not the hub. Whoever gets this error does not ask again.
fn ask<'c, 'i>(
    connection: &'c mut UnbufferedServerConnection,
    records: &'i mut [u8],
) -> Result<UnbufferedStatus<'c, 'i, ServerConnectionData>, String> {
    catch_unwind(AssertUnwindSafe(once(move || connection.process_tls_records(records))))
        .map_err(|_| "the TLS library failed on these bytes".to_owned())
}

/// Says that a closure is called once, so that what it returns may borrow from what it was given.
fn once<T>(closure: impl FnOnce() -> T) -> impl FnOnce() -> T {
    closure
}

/// Takes what the library itself has to say, if that is what it is about; says whether it was.
fn transmit(state: ConnectionState<'_, '_, ServerConnectionData>, outgoing: &mut Vec<u8>) -> Result<bool, String> {
    if let ConnectionState::EncodeTlsData(mut data) = state {
        append(outgoing, |room| match data.encode(room) {
            Err(EncodeError::InsufficientSize(error)) => Err(Some(error.required_size)),
            other => other.map_err(|_| None),
        })?;
        return Ok(true);
    }
    if let ConnectionState::TransmitTlsData(data) = state {
        data.done();
        return Ok(true);
    }
    Ok(false)
}

/// Where the library lets bytes of a conversation be encrypted.
type WriteTraffic<'a> = rustls::unbuffered::WriteTraffic<'a, ServerConnectionData>;

/// Appends what `put` writes into the room it is given, after asking it how much it needs: it answers with an
/// error of that size, or of none where it cannot write at all.
fn append(out: &mut Vec<u8>, mut put: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> Result<(), String> {
    let start = out.len();
    let mut needed = 0;
    loop {
        out.resize(start + needed, 0);
        match put(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(Some(required)) if required > needed => needed = required,
            Err(_) => {
                out.truncate(start);
                return Err("the library cannot encrypt".to_owned());
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("established", &self.established).finish_non_exhaustive()
    }
}
