//! The network of a ledger on real sockets, encrypted or not.

mod tls;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

pub use tls::EngineTls;
use tls::TlsSession;

use crate::storage::{LinkId, Network, Waiting};

/// A ledger has two connections at most, and each reports once until the poll is asked.
const EVENTS: usize = 16;

/// Non-blocking connections to the hosts of a PostgreSQL, with a poll of their own. The loop's poll watches that one.
#[derive(Debug)]
pub struct EngineNetwork {
    poll: Poll,
    events: Events,
    hosts: Vec<EngineHost>,
    tls: Option<EngineTls>,
    links: Slab<Connection>,
}

/// One host of PostgreSQL.
#[derive(Clone, Debug)]
pub struct EngineHost {
    /// Its address.
    pub address: SocketAddr,
    /// Its name as it was configured: with TLS its certificate has it.
    pub name: String,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    tls: Option<TlsSession>,
}

impl EngineNetwork {
    /// A network of these hosts. Names are looked up before. With `tls` every connection is encrypted.
    ///
    /// # Errors
    /// The system refuses a poll.
    pub fn new(hosts: Vec<EngineHost>, tls: Option<EngineTls>) -> io::Result<EngineNetwork> {
        Ok(EngineNetwork { poll: Poll::new()?, events: Events::with_capacity(EVENTS), hosts, tls, links: Slab::new() })
    }

    /// Waits until something is ready, for `timeout` at most: for a start and for tools, which have no loop.
    ///
    /// # Errors
    /// As the system says. A signal ends the wait without an error.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn link(&mut self, link: LinkId) -> io::Result<&mut Connection> {
        self.links.get_mut(link.0).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Network for EngineNetwork {
    fn connect(&mut self, host: usize) -> io::Result<LinkId> {
        let host = self.hosts.get(host).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let tls = self.tls.as_ref().map(|tls| tls.session(&host.name)).transpose()?;
        let mut stream = TcpStream::connect(host.address)?;
        // A turn is one message, and its answer is waited for.
        stream.set_nodelay(true)?;
        let entry = self.links.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(entry.key()), interest)?;
        let link = LinkId(entry.key());
        entry.insert(Connection { stream, tls });
        Ok(link)
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Connection { stream, tls } = self.link(link)?;
        ready(|| match tls {
            None => stream.write(bytes),
            Some(tls) => tls.write(stream, bytes),
        })
    }

    fn read(&mut self, link: LinkId, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Connection { stream, tls } = self.link(link)?;
        ready(|| match tls {
            None => stream.read(buffer),
            Some(tls) => tls.read(stream, buffer),
        })
    }

    fn close(&mut self, link: LinkId) {
        if let Some(mut link) = self.links.try_remove(link.0) {
            let _closing_removes_it_anyhow = self.poll.registry().deregister(&mut link.stream);
        }
    }

    fn poll(&mut self) {
        // Every connection is tried anyhow: this takes the events, so that the descriptor waits for new ones.
        let _nothing_is_ready_then = self.wait(Duration::ZERO);
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.poll.as_raw_fd())
    }
}

impl Waiting for EngineNetwork {
    fn wait_ready(&mut self, timeout: Duration) -> io::Result<bool> {
        self.wait(timeout)?;
        Ok(!self.events.is_empty())
    }
}

/// What a call did; `None`: the socket is not ready, or not connected yet.
fn ready(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}
