//! The encryption of one connection, without its socket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::identity;
use crate::limits;
use crate::lottery::AgencyId;

/// Converts between the encrypted bytes of a socket and the plain bytes of a connection. It buffers the start of a
/// record that is not whole and the encrypted bytes that the socket has not taken, and allocates nothing while there
/// are none.
pub(in crate::reactor) struct Session {
    connection: UnbufferedServerConnection,
    asks_for_certificate: bool,
    established: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that the socket has taken.
    sent: usize,
    /// Plain bytes that `outgoing` carries.
    carried: usize,
    sent_close_notify: bool,
    /// The library has returned an error. It is not called again: it would need the same bytes once more.
    broken: bool,
}

/// The contents of a peer's records.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Received<'a> {
    /// The handshake is complete. With a client certificate: the only agency that the peer may act for.
    Established(Option<AgencyId>),
    /// Plain bytes.
    Bytes(&'a [u8]),
    /// The end of the peer's side.
    End,
}

impl Session {
    /// The session of a connection whose first bytes are those of TLS.
    ///
    /// # Errors
    /// The library's reason, in words.
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
            sent_close_notify: false,
            broken: false,
        })
    }

    /// Whether the handshake is not complete yet.
    pub(in crate::reactor) fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// The start of a record that is not whole. It goes in front of the next bytes.
    pub(in crate::reactor) fn incoming(&self) -> &[u8] {
        &self.incoming
    }

    /// Memory in use, in bytes, with an estimate for the library.
    pub(in crate::reactor) fn memory_bytes(&self) -> usize {
        limits::TLS_CONNECTION_BYTES + self.incoming.capacity() + self.outgoing.capacity()
    }

    /// Decrypts `records`, which begin with [`incoming`](Self::incoming), and passes to `deliver` what they hold.
    ///
    /// # Errors
    /// A reason in words. The session cannot be used further, but the alert in [`unsent`](Self::unsent) should be sent.
    pub(in crate::reactor) fn receive(
        &mut self,
        records: &mut [u8],
        deliver: impl FnMut(Received<'_>),
    ) -> Result<(), String> {
        let received = if self.broken { Ok(()) } else { self.process(records, deliver) };
        if received.is_err() {
            self.broken = true;
            self.incoming = Vec::new();
        }
        received
    }

    fn process(&mut self, records: &mut [u8], mut deliver: impl FnMut(Received<'_>)) -> Result<(), String> {
        let mut start = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = ask(&mut self.connection, &mut records[start..])?;
            let (mut blocked, mut early) = (false, false);
            let mut failed = None;
            match state {
                // The certificate is checked before any bytes; the library returns these bytes again.
                Ok(ConnectionState::ReadTraffic(_)) if !self.established => early = true,
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| error.to_string())?;
                        discard += record.discard;
                        deliver(Received::Bytes(record.payload));
                    }
                }
                Ok(ConnectionState::PeerClosed) => deliver(Received::End),
                Ok(other) => blocked = !transmit(other, &mut self.outgoing)?,
                Err(error) => failed = Some(error.to_string()),
            }
            start += discard;
            if let Some(why) = failed {
                self.take_alert(&mut records[start..]);
                return Err(why);
            }
            self.establish(&mut deliver)?;
            if early && !self.established {
                return Err("bytes before the end of the handshake".to_owned());
            }
            if blocked {
                break;
            }
        }
        self.keep(&records[start..])
    }

    /// Encrypts one record's worth of `bytes`. [`sent`](Self::sent) returns how many these were once the socket has taken
    /// the record.
    ///
    /// # Errors
    /// A reason in words: the handshake is not complete, or the session cannot be used further.
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

    /// Queues the alert `close_notify`; later calls do nothing.
    pub(in crate::reactor) fn send_close_notify(&mut self) {
        if self.established && !self.broken && !std::mem::replace(&mut self.sent_close_notify, true) {
            // If the alert cannot be sent, the end of the socket's stream is the only sign.
            let _ = self.write(|traffic, room| traffic.queue_close_notify(room));
        }
    }

    /// Whether `close_notify` has been queued or cannot be.
    pub(in crate::reactor) fn has_sent_close_notify(&self) -> bool {
        self.sent_close_notify || !self.established || self.broken
    }

    /// Encrypted bytes for the socket.
    pub(in crate::reactor) fn unsent(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// Removes `bytes` that the socket has taken from [`unsent`](Self::unsent). Returns the number of plain bytes whose
    /// record is now sent in full.
    pub(in crate::reactor) fn sent(&mut self, bytes: usize) -> usize {
        self.sent += bytes;
        if self.sent < self.outgoing.len() {
            return 0;
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        std::mem::take(&mut self.carried)
    }

    fn establish(&mut self, deliver: &mut impl FnMut(Received<'_>)) -> Result<(), String> {
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
        deliver(Received::Established(agency));
        Ok(())
    }

    /// Stores the start of a record or of a handshake message, up to a limit.
    fn keep(&mut self, rest: &[u8]) -> Result<(), String> {
        if rest.len() > limits::TLS_INCOMING_BYTES_MAX {
            return Err("a handshake longer than any honest one".to_owned());
        }
        self.incoming = rest.to_vec();
        Ok(())
    }

    /// Takes the alert that the library has prepared after an error. `records` are the ones that caused the error: the
    /// library reads them again.
    fn take_alert(&mut self, records: &mut [u8]) {
        if let Ok(UnbufferedStatus { state: Ok(state), .. }) = ask(&mut self.connection, records) {
            let _ = transmit(state, &mut self.outgoing);
        }
    }

    /// Lets `put` encrypt into `outgoing`, after the library's own messages.
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

/// Passes received bytes to the library. The bytes come from untrusted peers, so a panic in the library becomes an
/// error: it ends the connection and not the hub. The caller must not pass bytes again after an error.
fn ask<'c, 'i>(
    connection: &'c mut UnbufferedServerConnection,
    records: &'i mut [u8],
) -> Result<UnbufferedStatus<'c, 'i, ServerConnectionData>, String> {
    catch_unwind(AssertUnwindSafe(once(move || connection.process_tls_records(records))))
        .map_err(|_| "the TLS library failed on these bytes".to_owned())
}

/// Fixes the type of a closure to `FnOnce`, so that its result may borrow from what it captures.
fn once<T>(closure: impl FnOnce() -> T) -> impl FnOnce() -> T {
    closure
}

/// Appends the library's own message to `outgoing` in the states that have one. Returns whether this is such a state.
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

/// The library's state in which plain bytes can be encrypted.
type WriteTraffic<'a> = rustls::unbuffered::WriteTraffic<'a, ServerConnectionData>;

/// Appends what `put` writes. `put` gets no room first and returns the size that it needs as an error; the error is
/// `None` where it cannot write at all.
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
