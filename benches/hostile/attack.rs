//! The hostile side: thousands of connections of every bad kind, in one loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{setsockopt, sockopt};

use super::kinds::{Act, Kind, MIX, Messages, Random, VIEWERS};

/// Connections that are begun in one turn of the loop; the hub's queue is not endless.
const CONNECTS_PER_TURN: usize = 32;
/// Between the first connections of two peers: they come within seconds, not at once.
const BETWEEN: Duration = Duration::from_micros(400);
/// Addresses of this machine that the hostile connections come from.
const SOURCES: usize = 50;

struct Peer {
    kind: Kind,
    stream: Option<TcpStream>,
    connected: bool,
    /// Counts its connections, so that what was due for an earlier one is told apart.
    times: usize,
    /// Bytes sent on this connection.
    said: usize,
}

/// What became of the peers of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// How many peers.
    pub peers: usize,
    /// Connections that were made.
    pub connections: usize,
    /// Of those, how many the hub ended.
    pub ended: usize,
    /// How many of them the hub was not told the end of.
    pub vanished: usize,
    /// Bytes that the hub's machine took.
    pub sent: u64,
    /// Bytes that the hub sent, of those that were read.
    pub received: u64,
}

/// Peers at the status port.
#[derive(Clone, Copy, Debug)]
pub struct Viewers {
    /// The status port.
    pub address: SocketAddr,
    /// How many peers.
    pub count: usize,
}

/// Many hostile peers.
pub struct Attack {
    address: SocketAddr,
    viewers: Option<Viewers>,
    away: Duration,
    poll: Poll,
    events: Events,
    peers: Vec<Peer>,
    /// The next act of each peer.
    due: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    /// When every peer has been there once and has had time to be what it is.
    settled_at: Instant,
    random: Random,
    messages: Messages,
    tallies: Vec<(Kind, Tally)>,
}

impl Attack {
    /// `count` peers, about to connect, and those at the status port; one whose connection has ended stays `away` for so
    /// long.
    ///
    /// # Errors
    /// As the system says.
    pub fn new(address: SocketAddr, count: usize, viewers: Option<Viewers>, away: Duration) -> std::io::Result<Attack> {
        let now = Instant::now();
        let kinds = (0..count).map(Kind::of).chain((0..viewers.map_or(0, |it| it.count)).map(Kind::of_viewer));
        let peer = |kind: Kind| Peer { kind, stream: None, connected: false, times: 0, said: 0 };
        let peers: Vec<Peer> = kinds.map(peer).collect();
        let at = |index: usize| now + BETWEEN * u32::try_from(index).unwrap_or(u32::MAX);
        let with = |kind: Kind| peers.iter().filter(|peer| peer.kind == kind).count();
        let all = MIX.iter().chain(&VIEWERS).map(|(kind, _)| *kind);
        let tallies = all.map(|kind| (kind, Tally { peers: with(kind), ..Tally::default() }));
        Ok(Attack {
            address,
            viewers,
            away,
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            due: (0..peers.len()).map(|index| Reverse((at(index), index, 0))).collect(),
            settled_at: at(peers.len()) + 3 * away,
            random: Random(7574),
            messages: Messages::new(),
            tallies: tallies.filter(|(_, tally)| tally.peers > 0).collect(),
            peers,
        })
    }

    /// Whether all peers have come and have had some seconds to do what they do.
    pub fn is_settled(&self) -> bool {
        Instant::now() > self.settled_at && self.tallies.iter().all(|(_, tally)| tally.connections >= tally.peers)
    }

    /// What became of each kind so far.
    pub fn tallies(&self) -> impl Iterator<Item = (Kind, Tally)> {
        self.tallies.iter().copied()
    }

    /// Does what is due, and waits for a moment at most.
    ///
    /// # Errors
    /// As the system says.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let wait = self.due.peek().map_or(self.away, |Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(100));
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            polled => polled,
        };
        for event in &events {
            let index = event.token().0;
            if event.is_writable() && !event.is_error() && !self.peers[index].connected {
                self.established(index);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.look(index, event.is_read_closed() || event.is_error());
            }
        }
        self.events = events;
        polled?;
        let mut connects = 0;
        while let Some(Reverse((at, index, times))) = self.due.peek().copied() {
            if at > Instant::now() || connects == CONNECTS_PER_TURN {
                break;
            }
            self.due.pop();
            if self.peers[index].times != times {
                continue;
            }
            if self.peers[index].stream.is_none() {
                connects += 1;
                if self.connect(index).is_err() {
                    self.away(index);
                }
            } else if self.peers[index].connected {
                self.look(index, false);
                self.act(index);
            }
        }
        Ok(())
    }

    fn tally(&mut self, index: usize) -> &mut Tally {
        let kind = self.peers[index].kind;
        let of_kind = self.tallies.iter_mut().find(|(other, _)| *other == kind);
        of_kind.map(|(_, tally)| tally).expect("every kind with peers has a tally")
    }

    /// Where the peer connects.
    fn target(&self, index: usize) -> SocketAddr {
        let viewers = self.viewers.filter(|_| self.peers[index].kind.is_viewer());
        viewers.map_or(self.address, |viewers| viewers.address)
    }

    fn connect(&mut self, index: usize) -> std::io::Result<()> {
        let socket = socket(index)?;
        socket.set_nonblocking(true)?;
        if self.peers[index].kind.reads() < 4096 {
            // The receive buffer of a peer that does not read is to be small.
            socket.set_recv_buffer_size(4096)?;
        }
        match socket.connect(&self.target(index).into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let peer = &mut self.peers[index];
        (peer.stream, peer.connected, peer.said) = (Some(stream), false, 0);
        Ok(())
    }

    fn established(&mut self, index: usize) {
        if self.peers[index].stream.is_some() {
            self.peers[index].connected = true;
            self.tally(index).connections += 1;
            self.act(index);
        }
    }

    /// Does what this kind of peer does next.
    fn act(&mut self, index: usize) {
        let Peer { kind, stream: Some(stream), said, .. } = &mut self.peers[index] else { return };
        let (bytes, next) = match kind.act(index, *said, &self.messages, &mut self.random) {
            Act::Send(bytes, next) => (bytes, next),
            Act::HalfClose => {
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
            Act::Leave => return self.away(index),
            Act::Vanish => {
                let vanished = setsockopt(stream, sockopt::TcpRepair, &1).is_ok();
                self.tally(index).vanished += usize::from(vanished);
                return self.away(index);
            }
        };
        if !bytes.is_empty() {
            match stream.write(&bytes) {
                Ok(written) => {
                    *said += written;
                    self.tally(index).sent += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return self.ended(index),
            }
        }
        if let Some(pause) = next {
            self.due.push(Reverse((Instant::now() + pause, index, self.peers[index].times)));
        }
    }

    /// Reads as much as this kind of peer does; goes away when the hub has ended the connection.
    fn look(&mut self, index: usize, over: bool) {
        let Peer { kind, stream: Some(stream), .. } = &mut self.peers[index] else { return };
        let (at_once, mut scratch, mut received) = (kind.reads(), [0; 4096], 0);
        let ended = loop {
            if at_once == 0 {
                break false;
            }
            match stream.read(&mut scratch[..at_once]) {
                Ok(0) => break true,
                Ok(bytes) => received += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
            if at_once < scratch.len() {
                break false;
            }
        };
        self.tally(index).received += received as u64;
        if over || ended {
            self.ended(index);
        }
    }

    /// The hub has ended the connection.
    fn ended(&mut self, index: usize) {
        self.tally(index).ended += usize::from(self.peers[index].connected);
        self.away(index);
    }

    fn away(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        (peer.stream, peer.connected) = (None, false);
        peer.times += 1;
        self.due.push(Reverse((Instant::now() + self.away, index, peer.times)));
    }
}

/// A socket bound to one of many addresses of this machine, each of which has only so many ports.
///
/// # Errors
/// As the system says.
pub fn socket(index: usize) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let last = u8::try_from(index % SOURCES + 1).expect("few addresses");
    // The port is chosen on connecting, so that ports are used once for each address of the hub only.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 66, last), 0)).into())?;
    Ok(socket)
}
