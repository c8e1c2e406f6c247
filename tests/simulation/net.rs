//! Connections without a network: bytes under way, in both directions, and everything that can cut them off.

use std::collections::VecDeque;
use std::time::Duration;

use loteria::hub::ConnectionId;
use loteria::timers::Moment;
use loteria::wire::{Answer, Dialect};

/// Which connection; numbers are never used twice.
pub type LinkId = usize;

/// Where the hub's end of a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubEnd {
    /// Waiting to be accepted.
    Backlog,
    /// Accepted.
    Open(ConnectionId),
    /// Closed, by the hub or with it.
    Closed,
}

/// Where the client's end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// It reads and may write.
    Open,
    /// It has closed; what it wrote is still under way.
    Closed,
    /// It is there no more, and nobody told the hub.
    Vanished,
}

/// What a request asks for; what its answer may be follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Hello,
    /// A batch, by its number in the model.
    Batch {
        batch: usize,
        sequence: u64,
    },
    /// A batch of no bets.
    Empty,
    Finish,
    /// A query, which in some dialects is the finish too.
    Query,
    /// Bytes that the hub answers with an error, if at all.
    Nonsense,
}

/// A request and where its last byte stands in the stream.
#[derive(Clone, Debug)]
pub struct Request {
    pub end: usize,
    pub ask: Ask,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// What the client's bytes are meant as.
    pub dialect: Dialect,
    /// The agency that it speaks for, if it is anyone's.
    pub agency: Option<u32>,
    pub hub: HubEnd,
    pub client: ClientEnd,
    /// Everything that the client wrote.
    pub up: Vec<u8>,
    /// How much of it has reached the hub's machine.
    pub up_arrived: usize,
    /// How much of it the hub has read.
    pub up_read: usize,
    /// The client writes no more.
    pub fin: bool,
    pub fin_arrived: bool,
    /// Everything that the hub's machine took from the hub.
    pub down: Vec<u8>,
    /// How much of it has reached the client.
    pub down_arrived: usize,
    /// The hub writes no more.
    pub hub_fin: bool,
    /// How many bytes the hub's machine still takes.
    pub room: usize,
    /// It was reset: what is not read is lost.
    pub reset: bool,
    /// The client knows that it is over.
    pub over: bool,
    /// Readiness that the hub has not been told of.
    pub edge_read: bool,
    pub edge_write: bool,
    /// Since when something waits to be accepted or read, by the hub's clock.
    pub unread_since: Option<Moment>,
    /// Since when it takes more and the hub has not tried, by the hub's clock.
    pub room_since: Option<Moment>,
    /// When the first byte arrived, in milliseconds.
    pub first_byte_at: Option<u64>,
    /// Where the first request ends that says whose the link is.
    pub named_at: Option<usize>,
    /// When the client closed or went away, in milliseconds.
    pub gone_at: Option<u64>,
    /// The agency that its client has a certificate of.
    pub certified: Option<u32>,
    /// Another agency that it has spoken for before, and where the request ends that says so.
    pub earlier: Option<(u32, usize)>,
    /// Requests without an answer, oldest first.
    pub requests: VecDeque<Request>,
    /// Of everything that the hub has released, how much has been looked at.
    pub tapped: usize,
    pub untold: Vec<u8>,
    /// Answers on their way: where their last byte stands, and what they say.
    pub answers: VecDeque<(usize, Answer)>,
    /// Batches of it that the hub rejected.
    pub rejected: usize,
    /// One of them because other bets are stored under its number.
    pub in_conflict: bool,
    /// Batches sent on it.
    pub batches_sent: usize,
    /// A finish or a query went out before every batch was answered.
    pub overtaking: bool,
    /// The hub was full when it came: it is told so, or closed.
    pub refused: bool,
    /// Its stream has been spoiled on purpose.
    pub spoiled: bool,
    /// What is sent is no agency's, and must have no effect.
    pub untrusted: bool,
    /// How many bytes of answers all that is sent on it must have.
    pub owed_bytes: Option<usize>,
    /// The hub ended its side by itself, and had read the client's end.
    pub ended_in_order: bool,
}

impl Link {
    fn new(dialect: Dialect, agency: Option<u32>, room: usize) -> Link {
        Link {
            dialect,
            agency,
            hub: HubEnd::Backlog,
            client: ClientEnd::Open,
            up: Vec::new(),
            up_arrived: 0,
            up_read: 0,
            fin: false,
            fin_arrived: false,
            down: Vec::new(),
            down_arrived: 0,
            hub_fin: false,
            room,
            reset: false,
            over: false,
            edge_read: false,
            edge_write: true,
            unread_since: None,
            room_since: None,
            first_byte_at: None,
            named_at: None,
            gone_at: None,
            certified: None,
            earlier: None,
            requests: VecDeque::new(),
            tapped: 0,
            untold: Vec::new(),
            answers: VecDeque::new(),
            rejected: 0,
            in_conflict: false,
            batches_sent: 0,
            overtaking: false,
            refused: false,
            spoiled: false,
            untrusted: false,
            owed_bytes: None,
            ended_in_order: false,
        }
    }

    /// Notes what the bytes written so far ask for.
    pub fn asked(&mut self, ask: Ask) {
        self.asked_by(ask, self.up.len());
    }

    /// Notes what the bytes up to `end` ask for.
    pub fn asked_by(&mut self, ask: Ask, end: usize) {
        let names = match ask {
            Ask::Hello | Ask::Batch { .. } | Ask::Query => true,
            Ask::Finish => self.dialect != Dialect::CaseId,
            Ask::Empty | Ask::Nonsense => false,
        };
        self.batches_sent += usize::from(matches!(ask, Ask::Batch { .. }));
        if names {
            self.named_at.get_or_insert(end);
        }
        self.requests.push_back(Request { end, ask });
    }

    /// Moves up to `bytes` bytes to the hub's machine, and the client's end behind them; says whether anything moved.
    pub fn deliver_up(&mut self, bytes: usize, now: u64) -> bool {
        let moved = bytes.min(self.up.len() - self.up_arrived);
        self.up_arrived += moved;
        if moved > 0 {
            self.first_byte_at.get_or_insert(now);
        }
        let ends = self.fin && !self.fin_arrived && self.up_arrived == self.up.len();
        self.fin_arrived |= ends;
        self.edge_read |= moved > 0 || ends;
        moved > 0 || ends
    }

    /// Moves up to `bytes` bytes to the client, and makes as much room for more; says whether anything moved.
    pub fn deliver_down(&mut self, bytes: usize) -> bool {
        let moved = bytes.min(self.down.len() - self.down_arrived);
        self.down_arrived += moved;
        self.room += moved;
        self.edge_write |= moved > 0;
        if self.down_arrived == self.down.len() && (self.hub_fin || self.hub == HubEnd::Closed) {
            self.over = true;
        }
        moved > 0
    }

    /// The connection breaks for both ends.
    pub fn break_off(&mut self) {
        self.reset = true;
        self.over = true;
        self.edge_read = true;
        self.edge_write = true;
    }

    /// Whether the client is there and knows nothing of an end.
    pub fn is_usable(&self) -> bool {
        self.client == ClientEnd::Open && !self.over && !self.fin
    }

    /// Whether anything can still happen on it by itself.
    pub fn moves(&self) -> bool {
        let up = self.up_arrived < self.up.len() || (self.fin && !self.fin_arrived);
        let down = self.client == ClientEnd::Open && self.down_arrived < self.down.len();
        let end = self.client == ClientEnd::Open && !self.over && (self.hub_fin || self.hub == HubEnd::Closed);
        (up && self.hub != HubEnd::Closed && !self.reset) || down || end
    }
}

/// All connections, and those that wait to be accepted.
#[derive(Debug, Default)]
pub struct Net {
    pub links: Vec<Link>,
    pub backlog: VecDeque<LinkId>,
    /// Links that are not over for both ends.
    pub live: Vec<LinkId>,
}

impl Net {
    /// A client connects; the hub's machine takes `room` bytes for it.
    pub fn connect(&mut self, dialect: Dialect, agency: Option<u32>, room: usize) -> LinkId {
        self.links.push(Link::new(dialect, agency, room));
        let id = self.links.len() - 1;
        self.backlog.push_back(id);
        self.live.push(id);
        id
    }

    /// The hub is gone: so are all its ends.
    pub fn hub_gone(&mut self) {
        self.backlog.clear();
        for id in std::mem::take(&mut self.live) {
            let link = &mut self.links[id];
            link.hub = HubEnd::Closed;
            link.over = true;
        }
    }

    /// Notes what waits to be accepted or read, and who has made room, `now` by the hub's clock.
    pub fn note_arrivals(&mut self, now: Moment) {
        for id in &self.live {
            let link = &mut self.links[*id];
            if link.hub == HubEnd::Backlog || link.up_read < link.up_arrived {
                link.unread_since.get_or_insert(now);
            }
            if link.edge_write && link.room > 0 {
                link.room_since.get_or_insert(now);
            }
        }
    }

    /// The hub was stopped in a poll that began at `before`: what it has not been told of arrived after that.
    pub fn arrived_in_pause(&mut self, before: Moment) {
        let just_after = before + Duration::from_nanos(1);
        for id in &self.live {
            let link = &mut self.links[*id];
            let since = link.unread_since.filter(|since| link.edge_read || *since > before);
            link.unread_since = since.map(|_| just_after).or(link.unread_since);
            let since = link.room_since.filter(|since| link.edge_write || *since > before);
            link.room_since = since.map(|_| just_after).or(link.room_since);
        }
    }

    /// Forgets links that are over for both ends.
    pub fn sweep(&mut self) {
        let links = &self.links;
        self.live.retain(|id| {
            let link = &links[*id];
            link.hub != HubEnd::Closed || (link.client == ClientEnd::Open && !link.over)
        });
    }

    /// Whether the hub has read all of a request that ends at `end` of a link.
    pub fn has_read(&self, link: LinkId, end: usize) -> bool {
        self.links[link].up_read >= end
    }
}
