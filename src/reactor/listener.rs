//! The listening socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::proxy::Networks;
use crate::keepalive::KeepAlive;

/// What the kernel keeps for a peer that does not read, in bytes (it doubles the number for its own books). Left
/// alone it keeps megabytes; and it says that there is room again only when a third of it is free, which for a
/// slow reader would be long after its time is up.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Linux's `net.core.somaxconn`, since version 5.4.
const SOMAXCONN: usize = 4096;

/// A bound address that does not listen yet.
#[derive(Debug)]
pub struct Bound(Socket, KeepAlive, Duration);

/// An address where peers connect.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    /// Their connections begin with a PROXY header.
    pub(super) balancers: Networks,
    address: SocketAddr,
    backlog: i32,
    keepalive: KeepAlive,
    dead_peer_timeout: Duration,
    /// How many connections it has accepted.
    accepted: u32,
}

/// What came of accepting a connection.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Stream(TcpStream, SocketAddr),
    /// No more for now; an event will tell.
    NoneLeft,
    /// One that was lost while it waited; the next may be well.
    Lost,
    /// No descriptor or memory is left, or accepting fails for a reason of its own; no event will tell when it
    /// works again.
    Exhausted(io::Error),
}

impl Listener {
    /// Takes `address`. Accepted connections inherit what is set here, which costs them no system call; only the time
    /// after which its silence is probed is each one's own.
    ///
    /// A peer that is gone without a word, its machine or its network with it, is given up when nothing was received
    /// from it for `dead_peer_timeout`, several probes included, or when bytes that it was sent stay unacknowledged
    /// for so long.
    ///
    /// # Errors
    /// As the system says: the address may be in use, or not of this machine.
    pub fn bind(address: SocketAddr, dead_peer_timeout: Duration) -> io::Result<Bound> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let keepalive = KeepAlive::new(dead_peer_timeout);
        keepalive.apply(&SockRef::from(&socket), 0)?;
        socket.bind(&address.into())?;
        Ok(Bound(socket, keepalive, dead_peer_timeout))
    }

    /// Has every connection from one of `balancers` begin with a PROXY header, which says whose connection it is.
    #[must_use]
    pub fn behind(self, balancers: Networks) -> Listener {
        Listener { balancers, ..self }
    }

    /// Where it listens: the port that was chosen, where none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections wait to be accepted at most: the kernel lets one more in than `listen` was given, which it
    /// takes for no more than `net.core.somaxconn` (listen(2)).
    pub(super) fn backlog(&self) -> usize {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let allowed = allowed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(SOMAXCONN);
        usize::try_from(self.backlog).unwrap_or_default().min(allowed) + 1
    }

    /// Stops listening: connections that wait to be accepted are reset.
    pub(super) fn close(self) -> Closed {
        let Listener { balancers, address, backlog, dead_peer_timeout, .. } = self;
        Closed { balancers, address, backlog, dead_peer_timeout }
    }

    pub(super) fn accept(&mut self) -> Accepted {
        match self.socket.accept() {
            Ok((stream, peer)) => {
                self.accepted = self.accepted.wrapping_add(1);
                // Fails for a connection that is lost already, which its first read reports.
                let idle = self.keepalive.idle_seconds(self.accepted);
                let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, Duration::from_secs(idle.into()));
                Accepted::Stream(stream, peer)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accepted::NoneLeft,
            Err(error) if is_the_connections(&error) => Accepted::Lost,
            Err(error) => Accepted::Exhausted(error),
        }
    }
}

/// A listener that was closed, and can be opened again at the same address.
#[derive(Debug)]
pub(super) struct Closed {
    balancers: Networks,
    address: SocketAddr,
    backlog: i32,
    dead_peer_timeout: Duration,
}

impl Closed {
    /// Where it listened.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens again.
    pub(super) fn listen(self) -> Result<Listener, (Closed, io::Error)> {
        let bound = Listener::bind(self.address, self.dead_peer_timeout);
        match bound.and_then(|bound| bound.listen(self.backlog)) {
            Ok(listener) => Ok(listener.behind(self.balancers)),
            Err(error) => Err((self, error)),
        }
    }
}

impl Bound {
    /// Lets peers connect; `backlog` as `listen` takes it.
    ///
    /// # Errors
    /// As the system says.
    pub fn listen(self, backlog: i32) -> io::Result<Listener> {
        self.0.listen(backlog)?;
        let socket = TcpListener::from_std(self.0.into());
        let address = socket.local_addr()?;
        let (keepalive, dead_peer_timeout) = (self.1, self.2);
        Ok(Listener {
            socket,
            balancers: Networks::default(),
            address,
            backlog,
            keepalive,
            dead_peer_timeout,
            accepted: 0,
        })
    }
}

/// Whether an error of `accept` is one that the new connection had already: it died while it waited, or its
/// network did (accept(2) lists these for Linux).
pub(super) fn is_the_connections(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::PERM,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NONET,
    ];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn accepted_connections_are_probed_at_times_of_their_own() {
        let timeout = Duration::from_secs(120);
        let mut listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), timeout).unwrap().listen(64).unwrap();
        let peers: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(listener.address()).unwrap()).collect();
        SockRef::from(&listener.socket).set_nonblocking(false).unwrap();
        let mut idle_times = BTreeSet::new();
        for _ in &peers {
            let Accepted::Stream(stream, _) = listener.accept() else { panic!("a connection waits") };
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout));
            idle_times.insert(socket.tcp_keepalive_time().unwrap());
        }
        assert_eq!(idle_times.len(), peers.len());
    }
}
