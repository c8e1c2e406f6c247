//! What is wrong with each kind of hostile peer, and what it says.

use std::sync::Arc;
use std::time::Duration;

use loteria::lottery::AgencyId;
use loteria::wire::Dialect;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// What of the longest frame is sent in one go. Ten thousand peers say as much as a fast network carries, no more: a
/// hub that is out of processor time is another matter.
const CHUNK: usize = 64 * 1024;
/// What is sent in one go of requests without end.
const REQUESTS: usize = 8 * 1024;
/// How long most kinds wait between two of their acts.
const PAUSE: Duration = Duration::from_secs(1);
/// An agency that the roster lacks.
const UNKNOWN_AGENCY: AgencyId = AgencyId(99);
/// An agency that other connections speak for, too: only a certificate ties a connection to an agency.
const CLAIMED_AGENCY: AgencyId = AgencyId(2);
/// The largest frame that the hub takes by default.
const HUGE_BYTES: usize = 1 << 20;

/// What is wrong with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It connects and sends nothing.
    Silent,
    /// First bytes, one now and then, that fit more than one dialect.
    SlowStart,
    /// A frame, in one of five dialects, of which a byte comes now and then.
    SlowFrame,
    /// It sends the hello of an agency, and nothing more.
    Hello,
    /// It sends a part of a hello.
    HalfHello,
    /// The first bytes of TLS, and nothing that follows them.
    Tls,
    /// A whole ClientHello of TLS: the hub answers it, which is expensive, and the peer leaves.
    Handshake,
    /// A query that waits for the draw, whose answer is never read.
    Parked,
    /// The same, and then the peer vanishes without a FIN or RST: the connection is half open.
    Vanished,
    /// Query upon query that is refused.
    RefusedQueries,
    /// Requests as fast as they are taken; answers never read.
    NonReader,
    /// The same, and a few bytes of the answers now and then.
    SlowReader,
    /// Half a frame, and an end.
    HalfClosed,
    /// The largest frame there may be, all but its last byte.
    Huge,
    /// Bytes that mean nothing.
    Garbage,
    /// It comes and goes.
    Churn,
    /// At the status port: it connects and sends nothing.
    ViewerSilent,
    /// A request of which a byte comes now and then.
    ViewerSlow,
    /// Requests as fast as they are taken; answers never read.
    ViewerNonReader,
    /// It asks for events, and never reads them.
    ViewerEvents,
    /// It asks for each path in turn, several times a second, and reads the answers.
    ViewerEager,
    /// A request without end.
    ViewerHuge,
    /// Bytes that are no request.
    ViewerGarbage,
    /// It wants to change something.
    ViewerPost,
    /// It comes and goes.
    ViewerChurn,
}

/// Of every twenty peers.
pub const MIX: [(Kind, usize); 16] = [
    (Kind::Silent, 1),
    (Kind::SlowStart, 2),
    (Kind::SlowFrame, 3),
    (Kind::Hello, 1),
    (Kind::HalfHello, 1),
    (Kind::Tls, 1),
    (Kind::Handshake, 1),
    (Kind::Parked, 2),
    (Kind::Vanished, 1),
    (Kind::RefusedQueries, 1),
    (Kind::NonReader, 1),
    (Kind::SlowReader, 1),
    (Kind::HalfClosed, 1),
    (Kind::Huge, 1),
    (Kind::Garbage, 1),
    (Kind::Churn, 1),
];

/// Of every ten peers at the status port.
pub const VIEWERS: [(Kind, usize); 9] = [
    (Kind::ViewerSilent, 1),
    (Kind::ViewerSlow, 1),
    (Kind::ViewerNonReader, 1),
    (Kind::ViewerEvents, 1),
    (Kind::ViewerEager, 2),
    (Kind::ViewerHuge, 1),
    (Kind::ViewerGarbage, 1),
    (Kind::ViewerPost, 1),
    (Kind::ViewerChurn, 1),
];

/// The paths that an eager viewer asks for.
const PATHS: [&str; 6] = ["/status.json", "/metrics", "/", "/connections.json", "/healthz", "/nothing"];

/// What a peer does next.
pub enum Act {
    /// It sends these bytes, or what the hub takes of them, and acts again after the pause, if there is one.
    Send(Vec<u8>, Option<Duration>),
    /// It ends its own side, and stays.
    HalfClose,
    /// It goes away.
    Leave,
    /// It vanishes without a FIN or RST.
    Vanish,
}

impl Kind {
    /// The kind of the peer numbered `index`.
    pub fn of(index: usize) -> Kind {
        Kind::among(&MIX, index)
    }

    /// The kind of the peer numbered `index` at the status port.
    pub fn of_viewer(index: usize) -> Kind {
        Kind::among(&VIEWERS, index)
    }

    fn among(mix: &[(Kind, usize)], index: usize) -> Kind {
        let kinds = mix.iter().flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times));
        let all = mix.iter().map(|(_, times)| times).sum::<usize>();
        // Seven has no divisor in common with twenty or ten: kinds come mixed, and each as often as it should.
        kinds.cycle().nth(index * 7 % all).expect("a cycle has no end")
    }

    /// Whether it is a peer of the status port.
    pub fn is_viewer(self) -> bool {
        VIEWERS.iter().any(|(kind, _)| *kind == self)
    }

    /// What it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Silent => "silent",
            Kind::SlowStart => "four zeros, one every 2 s",
            Kind::SlowFrame => "a frame, a byte a second",
            Kind::Hello => "a hello as an agency, then nothing",
            Kind::HalfHello => "half a hello",
            Kind::Tls => "half a TLS ClientHello",
            Kind::Handshake => "a whole TLS ClientHello, then gone",
            Kind::Parked => "a query, answer not read",
            Kind::Vanished => "a query, then gone without a word",
            Kind::RefusedQueries => "a hundred refused queries a second",
            Kind::NonReader => "requests without end, answers not read",
            Kind::SlowReader => "the same, reading 16 bytes a second",
            Kind::HalfClosed => "half a frame and an end",
            Kind::Huge => "1 MiB less a byte",
            Kind::Garbage => "garbage",
            Kind::Churn => "connects and leaves",
            Kind::ViewerSilent => "status: silent",
            Kind::ViewerSlow => "status: a request, a byte a second",
            Kind::ViewerNonReader => "status: requests without end, answers not read",
            Kind::ViewerEvents => "status: events, not read",
            Kind::ViewerEager => "status: each path in turn, ten a second",
            Kind::ViewerHuge => "status: a request without end",
            Kind::ViewerGarbage => "status: garbage",
            Kind::ViewerPost => "status: wants to change the log level",
            Kind::ViewerChurn => "status: connects and leaves",
        }
    }

    /// How much of what the hub sends it reads at once; nothing, where it does not read.
    pub fn reads(self) -> usize {
        match self {
            Kind::NonReader | Kind::Parked | Kind::ViewerNonReader | Kind::ViewerEvents => 0,
            Kind::SlowReader => 16,
            Kind::Silent
            | Kind::SlowStart
            | Kind::SlowFrame
            | Kind::Hello
            | Kind::HalfHello
            | Kind::Tls
            | Kind::Handshake
            | Kind::Vanished
            | Kind::RefusedQueries
            | Kind::HalfClosed
            | Kind::Huge
            | Kind::Garbage
            | Kind::Churn
            | Kind::ViewerSilent
            | Kind::ViewerSlow
            | Kind::ViewerEager
            | Kind::ViewerHuge
            | Kind::ViewerGarbage
            | Kind::ViewerPost
            | Kind::ViewerChurn => 4096,
        }
    }

    /// What the peer numbered `index` does next, having sent `said` bytes of this connection. `messages` and
    /// `random` are the attack's.
    pub fn act(self, index: usize, said: usize, messages: &Messages, random: &mut Random) -> Act {
        let first = said == 0;
        let once = |bytes: &[u8]| Act::Send(if first { bytes.to_vec() } else { Vec::new() }, None);
        match self {
            Kind::Silent => Act::Send(Vec::new(), None),
            Kind::SlowStart if said < 4 => Act::Send(vec![0], Some(2 * PAUSE)),
            Kind::SlowStart => Act::Send(Vec::new(), None),
            Kind::SlowFrame if first => Act::Send(messages.frames[index % messages.frames.len()].clone(), Some(PAUSE)),
            Kind::SlowFrame => Act::Send(vec![b'x'], Some(PAUSE)),
            Kind::Hello => once(&messages.hello),
            // Of different lengths: while the dialect is open, and when it is known.
            Kind::HalfHello => once(&messages.hello[..1 + index % (messages.hello.len() - 1)]),
            Kind::Tls => once(&messages.tls),
            Kind::Handshake if first => Act::Send(messages.handshake.clone(), Some(PAUSE / 10)),
            Kind::Handshake => Act::Leave,
            Kind::Parked => once(&messages.query),
            Kind::Vanished if first => Act::Send(messages.query.clone(), Some(PAUSE / 10)),
            Kind::Vanished => Act::Vanish,
            Kind::RefusedQueries => Act::Send(messages.refused_query.repeat(100), Some(PAUSE)),
            Kind::NonReader | Kind::SlowReader => {
                Act::Send(messages.small.repeat(REQUESTS / messages.small.len()), Some(PAUSE / 4))
            }
            Kind::HalfClosed if first => Act::Send(messages.huge[..100].to_vec(), Some(PAUSE / 10)),
            Kind::HalfClosed => Act::HalfClose,
            Kind::Huge => {
                let rest = &messages.huge[said.min(messages.huge.len())..];
                Act::Send(rest[..rest.len().min(CHUNK)].to_vec(), (!rest.is_empty()).then_some(PAUSE / 2))
            }
            Kind::Garbage | Kind::ViewerGarbage if first => Act::Send(random.garbage(), None),
            Kind::Garbage | Kind::ViewerGarbage => Act::Send(Vec::new(), None),
            Kind::Churn | Kind::ViewerChurn => Act::Leave,
            Kind::ViewerSilent => Act::Send(Vec::new(), None),
            Kind::ViewerSlow if first => Act::Send(b"GET /status.json HTTP/1.1\r\nX: ".to_vec(), Some(PAUSE)),
            Kind::ViewerSlow => Act::Send(b"x".to_vec(), Some(PAUSE)),
            Kind::ViewerNonReader => {
                let request = asks("/status.json");
                Act::Send(request.repeat(REQUESTS / request.len()), Some(PAUSE / 4))
            }
            Kind::ViewerEvents => once(&asks("/events")),
            Kind::ViewerEager => Act::Send(asks(PATHS[said % PATHS.len()]), Some(PAUSE / 10)),
            Kind::ViewerHuge if first => Act::Send(b"GET / HTTP/1.1\r\n".to_vec(), Some(PAUSE / 10)),
            Kind::ViewerHuge => Act::Send(b"X-Padding: no end in sight\r\n".repeat(200), Some(PAUSE / 4)),
            Kind::ViewerPost => Act::Send(
                b"POST /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nDEBUG".to_vec(),
                Some(PAUSE),
            ),
        }
    }
}

/// A request of the status service.
fn asks(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// The bytes that hostile peers send.
pub struct Messages {
    hello: Vec<u8>,
    query: Vec<u8>,
    refused_query: Vec<u8>,
    /// A request of a few bytes whose answer is longer, and of which the log says nothing.
    small: Vec<u8>,
    tls: Vec<u8>,
    /// All that a client of TLS says before the hub answers.
    handshake: Vec<u8>,
    /// Starts of frames that do not end.
    frames: Vec<Vec<u8>>,
    huge: Vec<u8>,
}

impl Messages {
    /// All of them.
    pub fn new() -> Messages {
        let bytes = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            put(&mut bytes);
            bytes
        };
        // A batch of `binary`: type 1, the length of the rest, agency, bets.
        let mut huge = vec![0, 0, 0, 1];
        huge.extend(u32::try_from(HUGE_BYTES - 8).expect("a mebibyte").to_be_bytes());
        huge.extend([0, 0, 0, 99, 0, 0, 1, 0]);
        huge.resize(HUGE_BYTES - 1, b'x');
        let native = bytes(&|out| Dialect::Native.put_hello(CLAIMED_AGENCY, out));
        let handshake = client_hello();
        Messages {
            query: bytes(&|out| Dialect::Binary.put_query(AgencyId(1), out)),
            refused_query: bytes(&|out| Dialect::Binary.put_query(UNKNOWN_AGENCY, out)),
            small: b"\0\0\0\x0dBATCH_SIZE:0\n".to_vec(),
            tls: handshake[..handshake.len() / 2].to_vec(),
            handshake,
            frames: vec![
                huge[..20].to_vec(),
                b"8000\nAna|".to_vec(),
                b"\0\0\x1f\0BATCH_SIZE:62|BET_1:".to_vec(),
                b"\x01\x1f\0Ana,".to_vec(),
                [&native[..], &[0, 0, 0x1f, 0, 1]].concat(),
            ],
            hello: native,
            huge,
        }
    }
}

/// The ClientHello of a client that supports TLS.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring knows the versions of TLS");
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a vector takes everything");
    bytes
}

/// Numbers for which any will do, but the same each time: xorshift64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Random bytes that begin no request of an agency, which without certificates any peer may send.
    fn garbage(&mut self) -> Vec<u8> {
        let length = 1 + self.next() % 4000;
        let mut bytes: Vec<u8> = (0..length).map(|_| self.next().to_le_bytes()[0]).collect();
        if matches!(bytes[0], 1 | 2 | 3 | 0xff) {
            bytes[0] = 0x80;
        }
        bytes
    }
}
