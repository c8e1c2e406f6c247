//! What bytes go through between a socket and the hub: nothing, or TLS. Its first byte tells which.

use std::io;

use mio::net::TcpStream;

use super::socket::{Socket, write};
use super::tls::{Heard, Session, Tls};
use crate::hub::{ConnectionId, Hub};
use crate::limits;
use crate::storage::Keep;
use crate::timers::Moment;

/// The first two bytes of every TLS connection: a handshake record, and the major version of all versions.
const TLS_START: [u8; 2] = [0x16, 0x03];

/// How a connection's bytes travel.
#[derive(Debug)]
pub(super) enum Transport {
    /// It may be TLS. `begun`: its first byte came, alone, and is TLS's.
    Undecided {
        /// See above.
        begun: bool,
    },
    /// As they are.
    Plain,
    /// Encrypted.
    Tls(Box<Session>),
}

impl Transport {
    /// Of a new connection.
    pub(super) fn new(tls: Option<&Tls>) -> Transport {
        if tls.is_some() { Transport::Undecided { begun: false } } else { Transport::Plain }
    }

    /// Bytes that came before and go in front of those that come next.
    pub(super) fn incoming(&self) -> &[u8] {
        match self {
            Transport::Undecided { begun: false } | Transport::Plain => &[],
            Transport::Undecided { begun: true } => &TLS_START[..1],
            Transport::Tls(session) => session.incoming(),
        }
    }

    /// How much to read where `room` bytes of the conversation are wanted: never only a part of a record, of which a
    /// byte at a time would cost as much as the whole each time.
    pub(super) fn least_room(&self, room: usize) -> usize {
        match self {
            Transport::Tls(session) if room > 0 => {
                room.max(limits::TLS_RECORD_WIRE_BYTES.saturating_sub(session.incoming().len()))
            }
            Transport::Undecided { .. } | Transport::Plain | Transport::Tls(_) => room,
        }
    }

    /// Whether the next bytes may be a step of a handshake, which is dear.
    pub(super) fn may_shake_hands(&self) -> bool {
        match self {
            Transport::Undecided { .. } => true,
            Transport::Plain => false,
            Transport::Tls(session) => session.is_handshaking(),
        }
    }

    /// Whether everything has been given to the socket.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Transport::Undecided { .. } | Transport::Plain => true,
            Transport::Tls(session) => session.unsent().is_empty(),
        }
    }

    /// Whether the peer has been told, beneath the conversation, that this was all.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Transport::Undecided { .. } | Transport::Plain => true,
            Transport::Tls(session) => session.has_said_goodbye() && session.unsent().is_empty(),
        }
    }
}

/// Gives `bytes`, which begin with [`Transport::incoming`], to the hub, decrypted where that is what they
/// need. `last`: no more will come. Returns how many steps of a handshake that took.
pub(super) fn hear<K: Keep>(
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
    if let (Transport::Undecided { .. }, Some(tls)) = (&socket.transport, tls) {
        if !last && bytes == &TLS_START[..1] {
            socket.transport = Transport::Undecided { begun: true };
            return 0;
        }
        let chosen = if bytes.starts_with(&TLS_START) { begin(tls) } else { do_without(tls, hub, id) };
        match chosen {
            Ok(transport) => socket.transport = transport,
            Err(why) => {
                refuse(hub, id, &why, now);
                return 0;
            }
        }
    }
    match &mut socket.transport {
        Transport::Undecided { .. } | Transport::Plain => {
            hub.receive(id, bytes, now);
            0
        }
        Transport::Tls(session) => decrypt(id, session, hub, bytes, now),
    }
}

fn begin(tls: &Tls) -> Result<Transport, String> {
    Ok(Transport::Tls(Box::new(Session::new(tls.config(), tls.asks_for_certificates())?)))
}

fn do_without<K: Keep>(tls: &Tls, hub: &Hub<K>, id: ConnectionId) -> Result<Transport, String> {
    if hub.peer(id).is_some_and(|peer| tls.is_required_of(peer)) {
        return Err("it does not use TLS, which is required".to_owned());
    }
    Ok(Transport::Plain)
}

fn decrypt<K: Keep>(
    id: ConnectionId,
    session: &mut Session,
    hub: &mut Hub<K>,
    records: &mut [u8],
    now: Moment,
) -> usize {
    let steps = usize::from(session.is_handshaking());
    let heard = session.receive(records, |heard| match heard {
        Heard::Established(Some(agency)) => hub.certify(id, agency),
        Heard::Established(None) => {}
        Heard::Bytes(bytes) => hub.receive(id, bytes, now),
        Heard::End => hub.half_close(id, now),
    });
    hub.hold(id, session.memory_bytes(), now);
    if let Err(why) = heard {
        refuse(hub, id, &why, now);
    }
    steps
}

/// Ends a connection whose bytes cannot reach the hub.
fn refuse<K: Keep>(hub: &mut Hub<K>, id: ConnectionId, why: &str, now: Moment) {
    let Some(peer) = hub.peer(id) else { return };
    let why = crate::logging::Value(why);
    log::warn!("action: tls | result: fail | ip: {peer} | reason: {why}, connection closed");
    hub.hang_up(id, now);
}

/// Writes what the hub has for a peer, as far as it is taken.
pub(super) fn write_plain<K: Keep>(
    stream: &mut TcpStream,
    hub: &mut Hub<K>,
    id: ConnectionId,
    now: Moment,
) -> io::Result<()> {
    loop {
        let outgoing = hub.outgoing(id);
        if outgoing.is_empty() {
            return Ok(());
        }
        match write(stream, outgoing)? {
            Some(bytes) => hub.sent(id, bytes, now),
            None => return Ok(()),
        }
    }
}

/// The same, encrypted, a record at a time. The hub is told that bytes are sent when their record is.
pub(super) fn write_tls<K: Keep>(
    stream: &mut TcpStream,
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
                session.say_goodbye();
            }
            if session.unsent().is_empty() {
                return Ok(());
            }
        }
        let Some(bytes) = write(stream, session.unsent())? else { return Ok(()) };
        let carried = session.sent(bytes);
        if carried > 0 {
            hub.sent(id, carried, now);
        }
    }
}
