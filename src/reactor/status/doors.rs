//! The listening sockets of the status service.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::local::LocalListener;
use super::tokens::{LOCAL, NETWORK};
use crate::keepalive::KeepAlive;
use crate::logging::Value;
use crate::status::facts::Door;

/// What the kernel keeps of a viewer's requests, in bytes: no more than some are needed.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// What the kernel keeps for a viewer that does not read, in bytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Where the status is served.
#[derive(Clone, Debug, Default)]
pub struct StatusPlaces {
    /// The Unix socket's file; `None`: there is none.
    pub socket: Option<PathBuf>,
    /// The TCP address; `None`: there is none.
    pub address: Option<SocketAddr>,
    /// Host names by which viewers may ask over TCP, besides IP addresses and `localhost`.
    pub names: Vec<String>,
}

/// A viewer's socket.
#[derive(Debug)]
pub(super) enum Stream {
    Local(UnixStream),
    Network(TcpStream, IpAddr),
}

impl Stream {
    pub(super) fn door(&self) -> Door {
        match self {
            Stream::Local(_) => Door::Local,
            Stream::Network(..) => Door::Network,
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Stream::Local(_) => None,
            Stream::Network(_, address) => Some(*address),
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Local(stream) => stream,
            Stream::Network(stream, _) => stream,
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Local(stream) => io::Read::read(stream, buffer),
            Stream::Network(stream, _) => io::Read::read(stream, buffer),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Local(stream) => io::Write::write(stream, bytes),
            Stream::Network(stream, _) => io::Write::write(stream, bytes),
        }
    }

    /// Ends our side.
    pub(super) fn shut(&self) {
        let _ = match self {
            Stream::Local(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Network(stream, _) => stream.shutdown(std::net::Shutdown::Write),
        };
    }
}

/// The listening sockets.
#[derive(Debug, Default)]
pub(super) struct Doors {
    local: Option<LocalListener>,
    network: Option<TcpListener>,
    /// There may be connections to accept.
    pub(super) local_pending: bool,
    pub(super) network_pending: bool,
}

impl Doors {
    /// Listens at `places`; what cannot be had is a warning.
    pub(super) fn open(places: &StatusPlaces, dead_peer_timeout: Duration) -> Doors {
        let mut doors = Doors { local_pending: true, network_pending: true, ..Doors::default() };
        if let Some(path) = &places.socket {
            match LocalListener::bind(path, BACKLOG) {
                Ok(listener) => doors.local = Some(listener),
                Err(error) => {
                    let (path, error) = (Value(path.display()), Value(error));
                    log::warn!(
                        "action: status | result: fail | socket: {path} | reason: {error}; [STATUS] SOCKET names another place"
                    );
                }
            }
        }
        if let Some(address) = places.address {
            match listen(address, dead_peer_timeout) {
                Ok(listener) => doors.network = Some(listener),
                Err(error) => {
                    log::warn!(
                        "action: status | result: fail | address: {address} | reason: {error}; [STATUS] ADDRESS names another one"
                    );
                }
            }
        }
        doors
    }

    pub(super) fn is_none(&self) -> bool {
        self.local.is_none() && self.network.is_none()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        if let Some(listener) = &mut self.local {
            registry.register(&mut listener.socket, LOCAL, Interest::READABLE)?;
        }
        if let Some(listener) = &mut self.network {
            registry.register(listener, NETWORK, Interest::READABLE)?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.local.as_ref().map(LocalListener::path)
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.network.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// An event of a listening socket.
    pub(super) fn note(&mut self, token: Token) {
        self.local_pending |= token == LOCAL;
        self.network_pending |= token == NETWORK;
    }

    /// Whether there may be connections to accept.
    pub(super) fn is_pending(&self) -> bool {
        self.local_is_pending() || (self.network_pending && self.network.is_some())
    }

    /// Whether there may be connections to accept at the Unix socket.
    pub(super) fn local_is_pending(&self) -> bool {
        self.local_pending && self.local.is_some()
    }

    /// The next connection, the operator's first. `Ok(None)`: there is none.
    ///
    /// # Errors
    /// As the system says; of a connection that was lost while it waited, too.
    pub(super) fn accept(&mut self) -> io::Result<Option<Stream>> {
        if let Some(stream) = self.accept_local()? {
            return Ok(Some(stream));
        }
        if let Some(listener) = self.network.as_ref().filter(|_| self.network_pending) {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.network_pending = false,
                accepted => {
                    let (stream, peer) = accepted?;
                    return Ok(Some(Stream::Network(stream, peer.ip().to_canonical())));
                }
            }
        }
        Ok(None)
    }

    /// The same, of the Unix socket.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn accept_local(&mut self) -> io::Result<Option<Stream>> {
        let Some(listener) = self.local.as_ref().filter(|_| self.local_pending) else { return Ok(None) };
        match listener.socket.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.local_pending = false;
                Ok(None)
            }
            accepted => accepted.map(|(stream, _)| Some(Stream::Local(stream))),
        }
    }
}

fn listen(address: SocketAddr, dead_peer_timeout: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    // Accepted connections inherit these.
    socket.set_tcp_nodelay(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    KeepAlive::new(dead_peer_timeout).apply(&SockRef::from(&socket), 0)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
