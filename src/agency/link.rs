//! The connection to the hub: a non-blocking socket with its readiness, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mio::Interest;
use mio::net::TcpStream;
use rustls::ClientConnection;
use socket2::SockRef;

use super::loss::{Kind, Loss, Mismatch};
use super::tls::Tls;
use super::waiter::{Halt, LINK, Waiter, Wake};
use crate::config::format_duration;
use crate::keepalive::KeepAlive;
use crate::timers::Moment;

/// The time-out of a connect to one address, and of a TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time-out of a name look-up: a look-up that works takes a small part of it.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The silence, keep-alive replies included, after which the hub is dead. A query may be parked for hours, and only the
/// keep-alive tells a dead hub from one that waits for the draw. The value is the hub's default for its peers.
const DEAD_HUB_TIMEOUT: Duration = Duration::from_secs(120);

/// How much is encrypted at once: a record, so that little is buffered encrypted while the hub does not read.
const RECORD_BYTES: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    /// The TLS session, if TLS is used.
    session: Option<Box<ClientConnection>>,
    ready: Wake,
    since: Moment,
    /// Whether plain bytes have come.
    answered: bool,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The number of bytes read.
    Bytes(usize),
    /// The read would block.
    Nothing,
    /// The hub has closed its side.
    End,
}

impl Link {
    /// Connects to the first of `host`'s addresses that accepts.
    ///
    /// # Errors
    /// [`Halt`]; the inner error is the reason why no address accepts.
    pub fn connect(
        waiter: &mut Waiter,
        (host, port): (&str, u16),
        tls: Option<&Tls>,
    ) -> Result<Result<Link, Loss>, Halt> {
        let addresses = match resolve(waiter, host, port)? {
            Ok(addresses) => addresses,
            Err(error) => return Ok(Err(Loss::no_name(format!("{host} cannot be looked up: {error}")))),
        };
        let mut loss = Loss::no_name(format!("{host} has no address"));
        for address in addresses {
            let opened = match Link::open(waiter, address)? {
                Ok(link) => link.encrypted(waiter, tls)?,
                Err(error) => Err(error),
            };
            match opened {
                Ok(link) => return Ok(Ok(link)),
                // What is to be corrected is said, whatever the other addresses are.
                Err(_) if loss.kind == Kind::Permanent => {}
                Err(error) => loss = error.into(),
            }
        }
        Ok(Err(loss))
    }

    fn open(waiter: &mut Waiter, address: SocketAddr) -> Result<io::Result<Link>, Halt> {
        let mut stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        let interests = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = waiter.registry().register(&mut stream, LINK, interests) {
            return Ok(Err(error));
        }
        let until = waiter.now() + CONNECT_TIMEOUT;
        loop {
            let ready = waiter.wait(Some(until))?;
            match established(&stream) {
                Ok(true) => {
                    let _ = stream.set_nodelay(true);
                    // The port spreads the probes of thousands of clients on one machine.
                    let number = stream.local_addr().map_or(0, |address| u32::from(address.port()));
                    let _ = KeepAlive::new(DEAD_HUB_TIMEOUT).apply(&SockRef::from(&stream), number);
                    return Ok(Ok(Link { stream, session: None, ready, since: waiter.now(), answered: false }));
                }
                Ok(false) if waiter.is_over(until) => return Ok(Err(io::ErrorKind::TimedOut.into())),
                Ok(false) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Completes the TLS handshake, if `tls` is configured.
    fn encrypted(mut self, waiter: &mut Waiter, tls: Option<&Tls>) -> Result<io::Result<Link>, Halt> {
        let Some(tls) = tls else { return Ok(Ok(self)) };
        let mut session = match tls.session() {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let until = waiter.now() + CONNECT_TIMEOUT;
        let mut answered = false;
        loop {
            if !answered {
                let mut start = [0; 6];
                let peeked = self.stream.peek(&mut start).unwrap_or(0);
                if let Some(mismatch) = Mismatch::of_handshake(&start[..peeked]) {
                    return Ok(Err(mismatch.into()));
                }
                answered = peeked > 0;
            }
            let exchanged = flush(&mut session, &mut self.stream, &mut self.ready)
                .and_then(|()| take_records(&mut session, &mut self.stream, &mut self.ready));
            match exchanged {
                Err(error) => {
                    // Sends the TLS alert.
                    let _ = flush(&mut session, &mut self.stream, &mut self.ready);
                    return Ok(Err(error));
                }
                // The client sends the last message of the handshake.
                Ok(_) if !session.is_handshaking() => {
                    let flushed = flush(&mut session, &mut self.stream, &mut self.ready);
                    self.session = Some(session);
                    return Ok(flushed.map(|()| self));
                }
                Ok(true) => {}
                Ok(false) if waiter.is_over(until) => return Ok(Err(io::ErrorKind::TimedOut.into())),
                Ok(false) => {
                    let wake = waiter.wait(Some(until))?;
                    self.wake(wake);
                }
            }
        }
    }

    /// When the connection was opened.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Adds the readiness that a wait found.
    pub fn wake(&mut self, wake: Wake) {
        self.ready.add(wake);
    }

    /// Sends some of `bytes`, which are not empty; 0 if a write would block.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(session) = &mut self.session {
            flush(session, &mut self.stream, &mut self.ready)?;
            if session.wants_write() {
                return Ok(0);
            }
            let taken = session.writer().write(&bytes[..bytes.len().min(RECORD_BYTES)])?;
            flush(session, &mut self.stream, &mut self.ready)?;
            return Ok(taken);
        }
        while self.ready.writable {
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
        Ok(0)
    }

    /// Receives into `buffer`.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        if let Some(session) = &mut self.session {
            loop {
                match session.reader().read(buffer) {
                    Ok(0) => return Ok(Received::End),
                    Ok(bytes) => return Ok(Received::Bytes(bytes)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                let more = take_records(session, &mut self.stream, &mut self.ready);
                // TLS has messages of its own, such as alerts.
                flush(session, &mut self.stream, &mut self.ready)?;
                if !more? {
                    return Ok(Received::Nothing);
                }
            }
        }
        while self.ready.readable {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(Received::End),
                Ok(bytes) => {
                    let first = !std::mem::replace(&mut self.answered, true);
                    return match Mismatch::of_answer(&buffer[..bytes]).filter(|_| first) {
                        Some(mismatch) => Err(mismatch.into()),
                        None => Ok(Received::Bytes(bytes)),
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Received::Nothing)
    }
}

impl Drop for Link {
    /// Sends `close_notify` if it can, so that the hub can tell the close from a truncation.
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            let _ = flush(session, &mut self.stream, &mut self.ready);
        }
    }
}

/// Sends encrypted bytes until a write would block.
fn flush(session: &mut ClientConnection, stream: &mut TcpStream, ready: &mut Wake) -> io::Result<()> {
    while ready.writable && session.wants_write() {
        match session.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives and decrypts some bytes; returns whether there were any.
fn take_records(session: &mut ClientConnection, stream: &mut TcpStream, ready: &mut Wake) -> io::Result<bool> {
    while ready.readable {
        match session.read_tls(stream) {
            Ok(0) if session.is_handshaking() => {
                let closed = "the hub closed the connection before the end of the TLS handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, closed));
            }
            Ok(_) => {
                let refused = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
                return session.process_new_packets().map(|_| true).map_err(refused);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a connect has completed.
fn established(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // The kernel may choose the hub's port as the source port if no process listens on it: a TCP self-connect.
        Ok(peer) if stream.local_addr()? == peer => Err(io::ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// The addresses of `host`. The system's look-up blocks, so it runs in a thread and does not delay a signal.
fn resolve(waiter: &mut Waiter, host: &str, port: u16) -> Result<io::Result<Vec<SocketAddr>>, Halt> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Ok(vec![SocketAddr::new(address, port)]));
    }
    let name = host.to_owned();
    let look_up = move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
    within(waiter, RESOLVE_TIMEOUT, look_up)
}

/// The result of `look_up`, or an error after `timeout`.
fn within(
    waiter: &mut Waiter,
    timeout: Duration,
    look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<io::Result<Vec<SocketAddr>>, Halt> {
    let (sender, receiver) = mpsc::channel();
    let waker = waiter.waker();
    let spawned = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let addresses = look_up();
        // The receiver is gone if a signal has ended the client, or the look-up timed out.
        let _ = sender.send(addresses);
        let _ = waker.wake();
    });
    if let Err(error) = spawned {
        return Ok(Err(error));
    }
    let until = waiter.now() + timeout;
    loop {
        match receiver.try_recv() {
            Ok(addresses) => return Ok(addresses),
            Err(mpsc::TryRecvError::Disconnected) => return Ok(Err(io::ErrorKind::Other.into())),
            Err(mpsc::TryRecvError::Empty) if waiter.is_over(until) => {
                let silent = format!("no name server answers within {}", format_duration(timeout));
                return Ok(Err(io::Error::new(io::ErrorKind::TimedOut, silent)));
            }
            Err(mpsc::TryRecvError::Empty) => waiter.wait(Some(until))?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Output;
    use super::super::progress::Progress;
    use super::*;
    use crate::logging::LogOutput;

    #[test]
    fn a_hub_that_vanishes_is_noticed_after_several_probes() {
        let hub = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let output = Output::new(LogOutput::stdout(), Progress::hidden());
        let mut waiter = Waiter::new(output).unwrap();
        let link = Link::open(&mut waiter, hub.local_addr().unwrap()).unwrap().unwrap();
        let socket = SockRef::from(&link.stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(DEAD_HUB_TIMEOUT));
        let (idle, interval) = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        assert!(idle + 4 * interval < DEAD_HUB_TIMEOUT, "{idle:?} {interval:?}");
    }

    #[test]
    fn a_socket_that_is_connected_to_itself_is_no_hub() {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let refused = established(&TcpStream::from_std(socket.into())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn only_the_first_bytes_of_a_connection_tell_another_protocol() {
        let hub = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut waiter = Waiter::new(Output::new(LogOutput::stdout(), Progress::hidden())).unwrap();
        let mut link = Link::open(&mut waiter, hub.local_addr().unwrap()).unwrap().unwrap();
        let (mut peer, _) = hub.accept().unwrap();
        let mut buffer = [0; 16];
        // The documents of winners may have any bytes, and a read may begin with any of them.
        for bytes in [&[0, 0, 0, 1][..], &[0x15, 3, 1, 0, 2]] {
            peer.write_all(bytes).unwrap();
            let received = loop {
                match link.receive(&mut buffer).unwrap() {
                    Received::Nothing => {
                        let wake = waiter.wait(None).unwrap();
                        link.wake(wake);
                    }
                    received @ (Received::Bytes(_) | Received::End) => break received,
                }
            };
            assert_eq!((received, &buffer[..bytes.len()]), (Received::Bytes(bytes.len()), bytes));
        }
    }

    #[test]
    fn a_name_look_up_that_hangs_ends_after_its_time_out_and_says_so() {
        let mut waiter = Waiter::new(Output::new(LogOutput::stdout(), Progress::hidden())).unwrap();
        let (answers, hangs) = mpsc::channel::<()>();
        let look_up = move || {
            // Until the end of the test.
            let _ = hangs.recv();
            Ok(Vec::new())
        };
        let looked_up = within(&mut waiter, Duration::from_millis(20), look_up).unwrap();
        assert_eq!(looked_up.unwrap_err().to_string(), "no name server answers within 20ms");
        drop(answers);
        let address = SocketAddr::from(([192, 0, 2, 7], 1));
        let looked_up = within(&mut waiter, RESOLVE_TIMEOUT, move || Ok(vec![address])).unwrap();
        assert_eq!(looked_up.unwrap(), [address]);
    }
}
