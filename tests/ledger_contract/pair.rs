//! Pairs of connections, one to the model and one to the server, which must say the same.

use std::time::Instant;

use crate::bytes::{self, in_words};
use crate::engine_model::{Cluster, Delays, Link, Reader, Standing, Uuid, take};
use crate::real::{Connection, Message, PATIENCE, Server};

/// A pair, by its place in [`Bench`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

struct Pair {
    model: Link,
    inbox: Vec<u8>,
    real: Connection,
    name: &'static str,
}

/// Whether this is a row of `compare`, whose rows have no order.
fn is_compared((tag, body): &Message) -> bool {
    let mut reader = Reader(body);
    let is_row = *tag == b'D' && reader.i16() == Ok(4);
    is_row && [4, 8, 4, 4].iter().all(|length| reader.value().ok().flatten().map(<[u8]>::len) == Some(*length))
}

/// The model, the server, and pairs of connections.
pub struct Bench {
    server: Server,
    /// Asks the server how it is.
    admin: Connection,
    /// Its commits show whether the server waits for standbys.
    probe: Connection,
    pub model: Cluster,
    pairs: Vec<Pair>,
    pub draw: i32,
    case: String,
    is_stalled: bool,
    /// What was said since the last thing that the test did, and to whom.
    said: Vec<(usize, String)>,
    /// All that was sent and said, for messages.
    trace: Vec<String>,
}

impl Bench {
    pub fn new(server: Server) -> Bench {
        let connect = || {
            let mut connection = server.connect();
            connection.send(&bytes::start_up(&[]));
            connection.until_ready();
            connection
        };
        let (mut admin, probe) = (connect(), connect());
        admin.run(include_str!("../../src/storage/ledger/schema.sql"));
        admin.run("CREATE TABLE probe AS SELECT 1 AS n");
        let model = Cluster::new(0, true, Delays::default());
        Bench {
            server,
            admin,
            probe,
            model,
            pairs: Vec::new(),
            draw: 0,
            case: String::new(),
            is_stalled: false,
            said: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// Begins a case: a draw of its own, in a model of its own.
    pub fn begin(&mut self, case: &str, roster: &[(i32, Standing)]) {
        self.pairs.clear();
        self.trace.clear();
        case.clone_into(&mut self.case);
        self.draw += 1;
        self.model = Cluster::new(0, true, Delays::default());
        self.model.make_draw(self.draw, 7574, roster.iter().copied());
        let draw = self.draw;
        let rows = roster.iter().map(|(agency, standing)| format!("({draw}, {agency}, '{}')", standing.text()));
        let rows = rows.collect::<Vec<_>>().join(", ");
        self.admin.run(&format!(
            "INSERT INTO loteria.draws (draw, winning_number) VALUES ({draw}, 7574);
             INSERT INTO loteria.agencies (draw, agency, standing) VALUES {rows}"
        ));
    }

    /// An instance that no other case has.
    pub fn instance(&self, number: u8) -> Uuid {
        let mut id = [number; 16];
        id[..4].copy_from_slice(&self.draw.to_be_bytes());
        id
    }

    /// Connects to both, with all statements prepared.
    pub fn connect(&mut self, name: &'static str, options: &[(&str, &str)]) -> Id {
        let mut real = self.server.connect();
        let model = self.model.connect(0).unwrap();
        let start = bytes::start_up(options);
        real.send(&start);
        self.model.send(model, &start);
        real.until_ready();
        self.model.receive(model, usize::MAX);
        self.pairs.push(Pair { model, inbox: Vec::new(), real, name });
        let id = Id(self.pairs.len() - 1);
        let answer = self.send(id, &bytes::prepare());
        assert_eq!(answer.len(), bytes::PREPARED.len() + 1, "{answer:?}");
        id
    }

    /// Sends bytes to both, and leaves the comparison to what comes next.
    pub fn send_without_looking(&mut self, id: Id, bytes: &[u8]) {
        self.trace.push(format!("{} sends {} bytes", self.pairs[id.0].name, bytes.len()));
        self.pairs[id.0].real.send(bytes);
        self.model.send(self.pairs[id.0].model, bytes);
    }

    /// Sends bytes to both, in two pieces. Returns what both say to it at once.
    pub fn send(&mut self, id: Id, bytes: &[u8]) -> Vec<String> {
        self.trace.push(format!("{} sends {} bytes", self.pairs[id.0].name, bytes.len()));
        let (one, other) = bytes.split_at(bytes.len() / 3);
        for piece in [one, other] {
            self.pairs[id.0].real.send(piece);
            self.model.send(self.pairs[id.0].model, piece);
        }
        self.settle();
        self.said(id)
    }

    /// What was said on a link since the last thing that the test did.
    pub fn said(&self, id: Id) -> Vec<String> {
        self.said.iter().filter(|(at, _)| *at == id.0).map(|(_, words)| words.clone()).collect()
    }

    /// Compares all that the model has said with what the server says, and what links wait for.
    pub fn settle(&mut self) {
        self.said.clear();
        for at in 0..self.pairs.len() {
            let pair = &mut self.pairs[at];
            pair.inbox.extend(self.model.receive(pair.model, usize::MAX));
            let mut expected = Vec::new();
            while let Some(message) = take(&mut pair.inbox, true).unwrap() {
                expected.push(message);
            }
            for run in expected.chunk_by(|one, other| is_compared(one) && is_compared(other)) {
                let mut expected: Vec<String> = run.iter().map(|(tag, body)| in_words(*tag, body)).collect();
                let words =
                    |message: Option<Message>| message.map_or("nothing".to_owned(), |(tag, body)| in_words(tag, &body));
                let mut found: Vec<String> = run.iter().map(|_| words(pair.real.try_next())).collect();
                expected.sort();
                found.sort();
                self.trace.extend(found.iter().map(|words| format!("{}: {words}", pair.name)));
                if found != expected {
                    let trace = self.trace.join("\n");
                    panic!("{}: the model says {expected:?}, and PostgreSQL {found:?}, behind\n{trace}", self.case);
                }
                self.said.extend(found.into_iter().map(|words| (at, words)));
            }
        }
        for at in 0..self.pairs.len() {
            let model = self.pairs[at].model;
            if self.model.waits_for_lock(model) {
                self.wait_for(at, "wait_event_type = 'Lock'");
            } else if self.model.waits_for_standby(model) {
                self.wait_for(at, "wait_event = 'SyncRep'");
            }
        }
    }

    /// Waits until the server says this of a link's process.
    fn wait_for(&mut self, at: usize, what: &str) {
        let process = self.pairs[at].real.process;
        let sql = format!("SELECT {what} FROM pg_stat_activity WHERE pid = {process}");
        let until = Instant::now() + PATIENCE;
        while self.admin.run(&sql) != ["t"] {
            let trace = self.trace.join("\n");
            assert!(Instant::now() < until, "{}: not so at the server: {what}, behind\n{trace}", self.case);
            std::thread::yield_now();
        }
    }

    /// Whether a link waits for a row lock; [`settle`](Self::settle) has asked the server, too.
    pub fn waits_for_lock(&self, id: Id) -> bool {
        self.model.waits_for_lock(self.pairs[id.0].model)
    }

    pub fn waits_for_standby(&self, id: Id) -> bool {
        self.model.waits_for_standby(self.pairs[id.0].model)
    }

    /// Whether some link waits for a lock.
    pub fn has_waiting(&self) -> bool {
        self.pairs.iter().any(|pair| self.model.waits_for_lock(pair.model))
    }

    /// From now on commits wait for a standby that never comes, until [`resume`](Self::resume).
    pub fn stall(&mut self) {
        self.model.stall(1, true);
        self.model.stall(2, true);
        self.admin.run("ALTER SYSTEM SET synchronous_standby_names = 'none'");
        self.admin.run("SELECT pg_reload_conf()");
        self.is_stalled = true;
        let waits = format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {}", self.probe.process);
        let until = Instant::now() + PATIENCE;
        self.probe.ask("UPDATE probe SET n = n + 1");
        // The server takes the setting when it gets to it: what is committed before waits for no standby.
        while self.admin.run(&waits) != ["t"] {
            assert!(Instant::now() < until, "the server does not wait for standbys");
            if self.probe.has_answered() {
                self.probe.ask("UPDATE probe SET n = n + 1");
            }
        }
    }

    /// The standby is there.
    pub fn resume(&mut self) {
        if !self.is_stalled {
            return;
        }
        self.is_stalled = false;
        self.model.stall(1, false);
        self.model.stall(2, false);
        self.admin.run("ALTER SYSTEM RESET synchronous_standby_names");
        self.admin.run("SELECT pg_reload_conf()");
        self.probe.until_ready();
        self.trace.push("the standby is there".to_owned());
        self.settle();
    }

    /// Cancels the wait of a link's commit.
    pub fn cancel_wait(&mut self, id: Id) -> Vec<String> {
        self.trace.push("the wait is cancelled".to_owned());
        assert!(self.model.cancel_wait(self.pairs[id.0].model), "it waits");
        self.admin.run(&format!("SELECT pg_cancel_backend({})", self.pairs[id.0].real.process));
        self.settle();
        self.said(id)
    }

    /// Lets the model's time pass, as the server's does by itself.
    pub fn pass(&mut self, id: Id, microseconds: u64) -> Vec<String> {
        self.trace.push("time passes".to_owned());
        self.model.advance(self.model.now() + microseconds);
        self.settle();
        self.said(id)
    }

    /// The rows of the draw are the same, as others see them.
    pub fn compare_tables(&mut self) {
        self.resume();
        let draw = self.draw;
        let tables = self.model.visible();
        let instances: Vec<&Uuid> = tables.instances.keys().collect();
        let hex = |id: &Uuid| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let ours = tables.agencies.iter().filter(|((of, _), _)| *of == draw);
        let agencies =
            ours.map(|((_, agency), row)| format!("{agency} {} {} {}", row.batches, row.bets, row.standing.text()));
        let batches = tables.batches.iter().map(|((_, agency, batch), row)| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let winners = row.winners.as_deref().map_or("none".to_owned(), text);
            format!(
                "{agency} {batch} {} {} {} {winners} {} {}",
                row.bets,
                row.crc,
                text(&row.rows),
                hex(&row.instance),
                row.turn
            )
        });
        let links = tables.instances.iter().map(|(id, row)| format!("{} {} {}", hex(id), row.epoch, row.turn));
        let draws = tables.draws.get(&draw).into_iter().map(|row| {
            let by = row.drawn.map_or("undrawn".to_owned(), |(_, by)| hex(&by));
            let bets = row.bets.map_or("none".to_owned(), |bets| bets.to_string());
            format!("{by} {bets} {}", row.held.as_deref().unwrap_or("free"))
        });
        let expected = [agencies.collect(), batches.collect(), links.collect(), draws.collect::<Vec<String>>()];
        let ours = instances.iter().map(|id| format!("'{}'", hex(id))).chain(["NULL".to_owned()]);
        let ours = ours.collect::<Vec<_>>().join(", ");
        let queries = [
            format!("SELECT concat_ws(' ', agency, batches, bets, standing) FROM loteria.agencies WHERE draw = {draw} ORDER BY agency"),
            format!(
                "SELECT concat_ws(' ', agency, batch, bets, crc, rows, coalesce(winners, 'none'), replace(instance::text, '-', ''), turn)
                 FROM loteria.batches WHERE draw = {draw} ORDER BY agency, batch"
            ),
            format!(
                "SELECT concat_ws(' ', replace(instance::text, '-', ''), epoch, turn) FROM loteria.instances
                 WHERE replace(instance::text, '-', '') IN ({ours}) ORDER BY instance"
            ),
            format!(
                "SELECT concat_ws(' ', coalesce(replace(drawn_by::text, '-', ''), 'undrawn'), coalesce(bets::text, 'none'),
                 coalesce(held, 'free')) FROM loteria.draws WHERE draw = {draw}"
            ),
        ];
        for (expected, sql) in expected.into_iter().zip(queries) {
            let found = self.admin.run(&sql);
            assert_eq!(found, expected, "{}: {sql}, behind\n{}", self.case, self.trace.join("\n"));
        }
    }
}
