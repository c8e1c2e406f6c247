//! The hostile side: thousands of connections of every bad kind, in one loop of their own process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Connections that are begun in one turn of the loop; the hub's queue is not endless.
const CONNECTS_PER_TURN: usize = 32;
/// How long a connection that was closed stays away.
const AWAY: Duration = Duration::from_secs(1);
/// Addresses of this machine that the hostile connections come from.
const SOURCES: usize = 50;
/// The most that is sent in one go.
const CHUNK: usize = 64 * 1024;

/// What is wrong with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It connects and says nothing.
    Silent,
    /// First bytes, one now and then, that fit more than one dialect.
    SlowStart,
    /// A frame of which a byte comes now and then.
    SlowFrame,
    /// A query that waits for the draw, whose answer is never read.
    Parked,
    /// Requests without end, answers never read.
    Deaf,
    /// Half a frame, and an end.
    HalfClosed,
    /// The largest frame there may be, all but its last byte.
    Huge,
    /// Bytes that mean nothing.
    Garbage,
    /// It comes and goes.
    Churn,
}

/// Of every twenty peers.
const MIX: [(Kind, usize); 9] = [
    (Kind::Silent, 3),
    (Kind::SlowStart, 2),
    (Kind::SlowFrame, 6),
    (Kind::Parked, 4),
    (Kind::Deaf, 1),
    (Kind::HalfClosed, 1),
    (Kind::Huge, 1),
    (Kind::Garbage, 1),
    (Kind::Churn, 1),
];

/// The frame of a hostile peer that seems to be an agency: a query of an agency that is none, in `binary`.
const NOBODYS_QUERY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 99];
/// A query that is parked.
const QUERY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1];
/// The header of a batch of agency 99 that claims a mebibyte less eight bytes.
const HUGE_BYTES: usize = (1 << 20) - 8;

struct Peer {
    kind: Kind,
    stream: Option<TcpStream>,
    connected: bool,
    /// Counts its connections, so that a late event of an earlier one is told apart.
    times: usize,
    said: usize,
}

struct Attack {
    address: SocketAddr,
    poll: Poll,
    peers: Vec<Peer>,
    /// When to do something for whom.
    due: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    random: u64,
    begun: u64,
    ended: u64,
    bytes: u64,
    huge: Vec<u8>,
}

/// Attacks until standard input ends.
///
/// # Errors
/// In one line.
pub fn run(address: SocketAddr, wanted: usize) -> Result<(), String> {
    let count = wanted.min(loteria::reactor::allow_connections(wanted));
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(sender);
    });
    let mut attack = Attack::new(address, count).map_err(|error| error.to_string())?;
    let mut events = Events::with_capacity(4096);
    let (began, mut told) = (Instant::now(), false);
    while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        attack.turn(&mut events).map_err(|error| error.to_string())?;
        let open = attack.peers.iter().filter(|peer| peer.connected).count();
        // Those that come and go are mostly away.
        if !told && (open * 100 >= count * 82 || began.elapsed() > Duration::from_secs(40)) {
            told = true;
            println!("{open}");
        }
    }
    println!(
        "hostile: {count} peers began {} connections, {} were ended by the hub, {} MiB were sent",
        attack.begun,
        attack.ended,
        attack.bytes >> 20
    );
    Ok(())
}

impl Attack {
    fn new(address: SocketAddr, count: usize) -> std::io::Result<Attack> {
        let kinds: Vec<Kind> = MIX.iter().flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times)).collect();
        let now = Instant::now();
        let peer = |index: usize| Peer {
            kind: kinds[index * 7 % kinds.len()],
            stream: None,
            connected: false,
            times: 0,
            said: 0,
        };
        // They come within seconds, not at once: the hub's queue would only drop them.
        let due = (0..count)
            .map(|index| Reverse((now + Duration::from_micros(400) * u32::try_from(index).unwrap_or(0), index, 0)));
        let mut huge = vec![0, 0, 0, 1];
        huge.extend(u32::try_from(HUGE_BYTES).expect("a mebibyte").to_be_bytes());
        huge.extend([0, 0, 0, 99, 0, 0, 1, 0]);
        huge.resize(HUGE_BYTES + 7, b'x');
        Ok(Attack {
            address,
            poll: Poll::new()?,
            peers: (0..count).map(peer).collect(),
            due: due.collect(),
            random: 7574,
            begun: 0,
            ended: 0,
            bytes: 0,
            huge,
        })
    }

    fn turn(&mut self, events: &mut Events) -> std::io::Result<()> {
        let wait = self.due.peek().map_or(AWAY, |Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(events, Some(wait.clamp(Duration::from_millis(1), Duration::from_millis(100)))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &*events {
            let index = event.token().0;
            if event.is_writable() && !self.peers[index].connected && self.peers[index].stream.is_some() {
                self.peers[index].connected = true;
                self.act(index);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.look(index, event.is_error());
            }
        }
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
                self.connect(index)?;
            } else {
                self.act(index);
            }
        }
        Ok(())
    }

    fn connect(&mut self, index: usize) -> std::io::Result<()> {
        let socket = socket(index)?;
        socket.set_nonblocking(true)?;
        if matches!(self.peers[index].kind, Kind::Deaf | Kind::Parked) {
            socket.set_recv_buffer_size(4096)?;
        }
        match socket.connect(&self.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(_) => {
                self.away(index);
                return Ok(());
            }
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        self.begun += 1;
        let peer = &mut self.peers[index];
        (peer.stream, peer.connected, peer.said) = (Some(stream), false, 0);
        Ok(())
    }

    /// Does what this kind of peer does next.
    fn act(&mut self, index: usize) {
        let peer = &self.peers[index];
        if !peer.connected {
            return;
        }
        let said = peer.said;
        let (bytes, next): (Vec<u8>, Option<Duration>) = match peer.kind {
            Kind::Silent => (Vec::new(), None),
            Kind::SlowStart if said < 4 => (vec![0], Some(Duration::from_secs(2))),
            Kind::SlowStart => (Vec::new(), None),
            Kind::SlowFrame if said == 0 => (self.huge[..20].to_vec(), Some(AWAY)),
            Kind::SlowFrame => (vec![b'x'], Some(AWAY)),
            Kind::Parked if said == 0 => (QUERY.to_vec(), None),
            Kind::Parked => (Vec::new(), None),
            Kind::Deaf => (NOBODYS_QUERY.repeat(100), Some(AWAY)),
            Kind::HalfClosed if said == 0 => (self.huge[..100].to_vec(), Some(Duration::from_millis(100))),
            Kind::HalfClosed => {
                if let Some(stream) = &self.peers[index].stream {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
                (Vec::new(), None)
            }
            Kind::Huge => {
                (self.huge[said.min(self.huge.len())..].iter().take(CHUNK).copied().collect(), Some(AWAY / 4))
            }
            Kind::Garbage => (self.garbage(), None),
            Kind::Churn => return self.away(index),
        };
        let peer = &mut self.peers[index];
        if !bytes.is_empty()
            && let Some(stream) = &mut peer.stream
        {
            match stream.write(&bytes) {
                Ok(written) => {
                    peer.said += written;
                    self.bytes += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.ended += 1;
                    return self.away(index);
                }
            }
        }
        if let Some(pause) = next {
            self.due.push(Reverse((Instant::now() + pause, index, self.peers[index].times)));
        }
    }

    /// Reads, unless reading is what this peer does not do; goes away when the hub has ended the connection.
    fn look(&mut self, index: usize, failed: bool) {
        let Peer { kind, stream: Some(stream), .. } = &mut self.peers[index] else { return };
        let mut scratch = [0; 4096];
        let over = loop {
            if matches!(kind, Kind::Deaf | Kind::Parked) {
                break failed;
            }
            match stream.read(&mut scratch) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
        };
        if over {
            self.ended += 1;
            self.away(index);
        }
    }

    fn away(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        (peer.stream, peer.connected) = (None, false);
        peer.times += 1;
        self.due.push(Reverse((Instant::now() + AWAY, index, self.peers[index].times)));
    }

    /// Bytes that mean nothing; none that would speak for an agency, which without certificates anyone may.
    fn garbage(&mut self) -> Vec<u8> {
        let length = 1 + self.next_random() % 4000;
        let mut bytes: Vec<u8> = (0..length).map(|_| u8::try_from(self.next_random() & 0xff).unwrap_or(0)).collect();
        if matches!(bytes[0], 1 | 2 | 3 | 0xff) {
            bytes[0] = 0x80;
        }
        bytes
    }

    fn next_random(&mut self) -> u64 {
        // xorshift64: any bytes will do, but the same each time.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// A socket bound to one of many addresses of this machine, each of which has only so many ports.
pub fn socket(index: usize) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let last = u8::try_from(index % SOURCES + 1).expect("few addresses");
    // The port is chosen on connecting, so that ports are used once for each address of the hub only.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 66, last), 0)).into())?;
    Ok(socket)
}

/// The hostile side in a process of its own.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    established: usize,
}

impl Process {
    /// Starts it, and waits until nearly all of its connections are open.
    ///
    /// # Errors
    /// In one line.
    pub fn start(address: SocketAddr, connections: usize) -> Result<Process, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("attack").args(["--address", &address.to_string(), "--connections", &connections.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the hostile side: {error}"))?;
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).map_err(|error| error.to_string())?;
        let established = line.trim().parse().map_err(|_| "the hostile side ended early".to_owned())?;
        Ok(Process { child, output, established })
    }

    /// How many connections were open when it said so.
    pub fn established(&self) -> usize {
        self.established
    }

    /// Ends it; what it says of itself.
    ///
    /// # Errors
    /// In one line.
    pub fn stop(mut self) -> Result<String, String> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
