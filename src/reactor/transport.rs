//! Moves bytes between a socket and the hub, decrypted and encrypted where the connection uses TLS.

use std::io;

use super::socket::{CountedStream, Socket};
use super::tls::{Received, Session, Tls};
use crate::hub::{ConnectionId, Hub};
use crate::storage::Keep;
use crate::timers::Moment;

pub(super) use super::tls::Transport;

/// The alert of TLS for a record of a type that is not expected (RFC 8446, 5.1 and 6): fatal, `unexpected_message`.
const UNEXPECTED_MESSAGE: [u8; 7] = [0x15, 0x03, 0x03, 0, 2, 2, 10];

/// Gives `bytes`, which begin with [`Transport::incoming`], to the hub, decrypted where the connection uses TLS.
/// `last`: no more will come. Returns the number of handshake steps.
pub(super) fn deliver<K: Keep>(
    (id, socket): (ConnectionId, &mut Socket),
    hub: &mut Hub<K>,
    tls: Option<&Tls>,
    bytes: &mut [u8],
    last: bool,
    now: Moment,
) -> usize {
    if bytes.is_empty() {
        return 0;
    }
    if let Some(tls) = tls
        && let Err(why) = socket.transport.decide(bytes, last, tls, hub.peer(id))
    {
        // What is not said in TLS is answered as TLS has it, so that a client can tell what is wanted. The socket is new, and
        // takes so few bytes.
        let _ = socket.stream.write(&UNEXPECTED_MESSAGE);
        refuse(hub, id, &why, now);
        return 0;
    }
    match &mut socket.transport {
        Transport::Undecided { .. } => 0,
        Transport::Plain => {
            hub.receive(id, bytes, now);
            0
        }
        Transport::Tls(session) => decrypt(id, session, hub, bytes, now),
    }
}

fn decrypt<K: Keep>(
    id: ConnectionId,
    session: &mut Session,
    hub: &mut Hub<K>,
    records: &mut [u8],
    now: Moment,
) -> usize {
    let steps = usize::from(session.is_handshaking());
    let decrypted = session.receive(records, |received| match received {
        Received::Established(Some(agency)) => hub.certify(id, agency),
        Received::Established(None) => {}
        Received::Bytes(bytes) => hub.receive(id, bytes, now),
        Received::End => hub.half_close(id, now),
    });
    hub.hold(id, session.memory_bytes(), now);
    if let Err(why) = decrypted {
        refuse(hub, id, &why, now);
    }
    steps
}

/// Closes a connection whose bytes cannot be given to the hub.
fn refuse<K: Keep>(hub: &mut Hub<K>, id: ConnectionId, why: &str, now: Moment) {
    let Some(peer) = hub.peer(id) else { return };
    let why = crate::logging::Value(why);
    log::warn!("action: tls | result: fail | ip: {peer} | reason: {why}, connection closed");
    hub.hang_up(id, now);
}

/// Writes what the hub has for a peer, as far as the socket takes it.
///
/// # Errors
/// The connection is lost.
pub(super) fn write_plain<K: Keep>(
    stream: &mut CountedStream,
    hub: &mut Hub<K>,
    id: ConnectionId,
    now: Moment,
) -> io::Result<()> {
    loop {
        let outgoing = hub.outgoing(id);
        if outgoing.is_empty() {
            return Ok(());
        }
        match stream.write(outgoing)? {
            Some(bytes) => hub.sent(id, bytes, now),
            None => return Ok(()),
        }
    }
}

/// As [`write_plain`], encrypted one record at a time. Bytes count as sent when the socket has taken their whole record.
///
/// # Errors
/// The connection is lost, or the session cannot encrypt.
pub(super) fn write_tls<K: Keep>(
    stream: &mut CountedStream,
    session: &mut Session,
    hub: &mut Hub<K>,
    id: ConnectionId,
    now: Moment,
) -> io::Result<()> {
    loop {
        if session.unsent().is_empty() {
            let outgoing = hub.outgoing(id);
            if !outgoing.is_empty() {
                session.encrypt(outgoing).map_err(io::Error::other)?;
            } else if hub.is_done(id) {
                session.send_close_notify();
            }
            if session.unsent().is_empty() {
                return Ok(());
            }
        }
        let Some(bytes) = stream.write(session.unsent())? else { return Ok(()) };
        let carried = session.sent(bytes);
        if carried > 0 {
            hub.sent(id, carried, now);
        }
    }
}
