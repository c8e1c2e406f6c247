//! The listening socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// What the kernel keeps for a peer that does not read, in bytes (it doubles the number for its own books). Left
/// alone it keeps megabytes; and it says that there is room again only when a third of it is free, which for a
/// slow reader would be long after its time is up.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Probes of a silent peer that have to stay unanswered, at least.
const PROBES: u32 = 4;
/// Linux's `net.core.somaxconn`, since version 5.4.
const SOMAXCONN: usize = 4096;
/// The kernel counts keep-alive in whole seconds, and from one.
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);

/// An address that is taken, but where nobody can connect yet.
#[derive(Debug)]
pub struct Bound(Socket);

/// An address where peers connect.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    address: SocketAddr,
    backlog: i32,
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
    /// Takes `address`. Accepted connections inherit what is set here, which costs them no system call.
    ///
    /// A peer that is gone without a word, its machine or its network with it, is noticed within
    /// `dead_peer_timeout`, or a little more: silence is probed after half of it, and for the other half neither
    /// probes nor bytes sent may stay unacknowledged.
    ///
    /// # Errors
    /// As the system says: the address may be in use, or not of this machine.
    pub fn bind(address: SocketAddr, dead_peer_timeout: Duration) -> io::Result<Bound> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let half = dead_peer_timeout / 2;
        let interval = (half / PROBES).max(KEEPALIVE_MIN);
        let keepalive =
            TcpKeepalive::new().with_time(half.max(KEEPALIVE_MIN)).with_interval(interval).with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(half))?;
        socket.bind(&address.into())?;
        Ok(Bound(socket))
    }

    /// Where it listens: the port that was chosen, where none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections wait to be accepted at most: the kernel lets one more in than `listen` was told, which it
    /// takes for no more than `net.core.somaxconn` (listen(2)).
    pub(super) fn backlog(&self) -> usize {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let allowed = allowed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(SOMAXCONN);
        usize::try_from(self.backlog).unwrap_or_default().min(allowed) + 1
    }

    pub(super) fn accept(&self) -> Accepted {
        match self.socket.accept() {
            Ok((stream, peer)) => Accepted::Stream(stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accepted::NoneLeft,
            Err(error) if is_the_connections(&error) => Accepted::Lost,
            Err(error) => Accepted::Exhausted(error),
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
        Ok(Listener { socket, address, backlog })
    }
}

/// Whether an error of `accept` is one that the new connection had already: it died while it waited, or its
/// network did (accept(2) lists these for Linux).
fn is_the_connections(error: &io::Error) -> bool {
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
