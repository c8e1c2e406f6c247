//! The network of a ledger on real sockets.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::storage::{LinkId, Network};

/// A ledger has two connections at most, and each reports once until the poll is asked.
const EVENTS: usize = 16;

/// Non-blocking connections to the hosts of a PostgreSQL, with a poll of their own. The loop's poll watches that one.
#[derive(Debug)]
pub struct EngineNetwork {
    poll: Poll,
    events: Events,
    hosts: Vec<SocketAddr>,
    links: Slab<TcpStream>,
}

impl EngineNetwork {
    /// A network of these hosts. Names are looked up before.
    ///
    /// # Errors
    /// The system refuses a poll.
    pub fn new(hosts: Vec<SocketAddr>) -> io::Result<EngineNetwork> {
        Ok(EngineNetwork { poll: Poll::new()?, events: Events::with_capacity(EVENTS), hosts, links: Slab::new() })
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

    fn link(&mut self, link: LinkId) -> io::Result<&mut TcpStream> {
        self.links.get_mut(link.0).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Network for EngineNetwork {
    fn connect(&mut self, host: usize) -> io::Result<LinkId> {
        let address = self.hosts.get(host).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut stream = TcpStream::connect(*address)?;
        // A turn is one message, and its answer is waited for.
        stream.set_nodelay(true)?;
        let entry = self.links.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(entry.key()), interest)?;
        let link = LinkId(entry.key());
        entry.insert(stream);
        Ok(link)
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<Option<usize>> {
        let stream = self.link(link)?;
        ready(|| stream.write(bytes))
    }

    fn read(&mut self, link: LinkId, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let stream = self.link(link)?;
        ready(|| stream.read(buffer))
    }

    fn close(&mut self, link: LinkId) {
        if let Some(mut stream) = self.links.try_remove(link.0) {
            let _closing_removes_it_anyhow = self.poll.registry().deregister(&mut stream);
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
