//! What sessions do at their node: statements, commits, errors.

use std::collections::VecDeque;
use std::rc::Rc;

use super::node::Event;
use super::session::{Portal, Running, Session, Wait, statements_of, unknown};
use super::statements::Kind;
use super::tables::{Change, View};
use super::wire::{self, Params, Reader, Report, Value};
use super::{Cluster, Link};

impl Cluster {
    /// Lets a session go on until it waits for something.
    pub(super) fn pump(&mut self, link: Link) {
        let Some(mut session) = self.sessions.remove(&link) else { return };
        let runs = |cluster: &Cluster, session: &Session| cluster.nodes[session.node].runs() && !session.ended;
        while runs(self, &session) {
            if let Some(key) = session.awaited() {
                if self.nodes[session.node].locks.holder(key) != Some(link) {
                    break;
                }
                let Some(Wait::Lock(_, running)) = session.wait.take() else { break };
                self.go_on(link, &mut session, running);
            } else if session.wait.is_some() {
                break;
            } else if session.script.is_some() {
                self.go_on_script(link, &mut session);
            } else {
                match wire::take(&mut session.inbox, session.begun) {
                    Ok(Some((tag, body))) => self.message(link, &mut session, tag, &body),
                    Ok(None) if session.client_gone && session.network.is_empty() => self.end(link, &mut session),
                    Ok(None) => break,
                    Err(report) => self.fail(link, &mut session, &Report { severity: "FATAL", ..report }),
                }
            }
        }
        self.sessions.insert(link, session);
    }

    fn message(&mut self, link: Link, session: &mut Session, tag: u8, body: &[u8]) {
        if !session.begun {
            let begun = session.begin(link, body);
            return begun.unwrap_or_else(|report| self.fail(link, session, &report));
        }
        session.idle = false;
        let outcome = match tag {
            b'S' => {
                session.skips = false;
                self.commit(link, session);
                Ok(())
            }
            b'X' => {
                self.end(link, session);
                Ok(())
            }
            _ if session.skips => Ok(()),
            b'P' => session.parse(body),
            b'B' => session.bind(body),
            b'D' => session.describe(body),
            b'E' => self.execute(link, session, body),
            b'C' => {
                session.say(|out| wire::put(out, b'3', &[]));
                Ok(())
            }
            b'H' => {
                session.flush();
                Ok(())
            }
            b'Q' => Reader(body).text().map(|sql| {
                session.script = Some(statements_of(&sql));
            }),
            _ => Err(Report::fatal("08P01", "invalid frontend message type")),
        };
        if let Err(report) = outcome {
            self.fail(link, session, &report);
        }
    }

    fn execute(&mut self, link: Link, session: &mut Session, body: &[u8]) -> Result<(), Report> {
        let mut reader = Reader(body);
        let (name, limit) = (reader.text()?, reader.i32()?);
        if limit != 0 {
            return Err(Report::error("0A000", "the model returns all rows"));
        }
        let portal = session.portals.get(&name).cloned();
        let portal = portal.ok_or_else(|| Report::error("34000", "portal does not exist"))?;
        self.start(link, session, portal)
    }

    /// The next statement of a simple query.
    fn go_on_script(&mut self, link: Link, session: &mut Session) {
        let Some(sql) = session.script.as_mut().and_then(VecDeque::pop_front) else {
            return self.commit(link, session);
        };
        if let Some(tag) = session.tag.take() {
            session.say(|out| wire::put(out, b'C', &[tag.as_bytes(), b"\0"].concat()));
        }
        let started = Kind::of("", &sql).ok_or_else(|| unknown(&sql)).and_then(|kind| {
            let columns = kind.columns();
            if !columns.is_empty() {
                session.say(|out| wire::put_columns(out, &columns, false));
            }
            self.start(link, session, Portal { kind, params: Rc::new(Params(Vec::new())), binary: false })
        });
        if let Err(report) = started {
            self.fail(link, session, &report);
        }
    }

    fn start(&mut self, link: Link, session: &mut Session, portal: Portal) -> Result<(), Report> {
        let node = &self.nodes[session.node];
        let only_reads = node.is_read_only || node.upstream.is_some();
        if only_reads && (portal.kind.writes() || node.upstream.is_some() && portal.kind == Kind::Listen) {
            return Err(Report::error("25006", "cannot execute this in a read-only transaction"));
        }
        if matches!(portal.kind, Kind::Lock | Kind::Write)
            && let Some(code) = session.fails_next.take()
        {
            return Err(Report::error(code, "as the test wants it"));
        }
        let view = View { tables: &node.tables, own: &session.transaction.changes };
        let began = *session.transaction.began.get_or_insert(self.now);
        let wanted = portal.kind.wanted(&portal.params, view, began)?;
        self.go_on(link, session, Running { portal, wanted, next: 0 });
        Ok(())
    }

    /// Locks what a statement has to lock, and executes it when it has all of that.
    fn go_on(&mut self, link: Link, session: &mut Session, mut running: Running) {
        let node = &mut self.nodes[session.node];
        if running.portal.kind.skips_locked() {
            running.wanted.retain(|key| node.locks.holder(*key).is_none_or(|holder| holder == link));
        }
        while let Some(&key) = running.wanted.get(running.next) {
            if !node.locks.take(key, link) {
                session.wait = Some(Wait::Lock(key, running));
                session.waits += 1;
                self.time_wait(link, session);
                return;
            }
            session.transaction.has_id = true;
            if !session.transaction.locks.contains(&key) {
                session.transaction.locks.push(key);
            }
            running.next += 1;
            let view = View { tables: &node.tables, own: &session.transaction.changes };
            match running.portal.kind.goes_on(&running.portal.params, view) {
                Ok(true) => {}
                Ok(false) => break,
                Err(report) => return self.fail(link, session, &report),
            }
        }
        if let Err(report) = self.finish(session, &running) {
            self.fail(link, session, &report);
        }
    }

    fn time_wait(&mut self, link: Link, session: &Session) {
        let wait = session.waits;
        self.schedule(session.deadlock_timeout.unwrap_or(1_000_000), Event::DeadlockCheck { link, wait });
        if let Some(timeout) = session.lock_timeout {
            self.schedule(timeout, Event::LockTimeout { link, wait });
        }
        if session.client_gone {
            self.schedule(1_000_000, Event::ClientGone { link, wait });
        }
    }

    fn finish(&mut self, session: &mut Session, running: &Running) -> Result<(), Report> {
        let portal = &running.portal;
        let node = &self.nodes[session.node];
        if let Kind::Read(items) = &portal.kind {
            let settings = node.settings(self.replicas);
            let row = items.iter().map(|item| item.of_server(settings)).collect::<Option<Vec<Value>>>();
            let row = row.ok_or_else(|| unknown(&format!("{items:?}")))?;
            session.say(|out| wire::put_row(out, &row, portal.binary));
            Self::complete(session, "SELECT 1".to_owned());
            return Ok(());
        }
        let view = View { tables: &node.tables, own: &session.transaction.changes };
        let began = session.transaction.began.unwrap_or(self.now);
        let outcome = portal.kind.finish(&portal.params, view, &running.wanted, began)?;
        if self.full && outcome.changes.iter().any(|change| matches!(change, Change::Batch(..))) {
            return Err(Report::error("53100", "could not extend file: No space left on device"));
        }
        session.listens |= portal.kind == Kind::Listen;
        session.say(|out| outcome.rows.iter().for_each(|row| wire::put_row(out, row, portal.binary)));
        session.transaction.has_id |= !outcome.changes.is_empty();
        session.transaction.changes.extend(outcome.changes);
        session.transaction.notify = session.transaction.notify.or(outcome.notify);
        Self::complete(session, outcome.tag);
        Ok(())
    }

    /// Says that a statement is complete: the last one of a simple query only behind its commit.
    fn complete(session: &mut Session, tag: String) {
        if session.script.is_some() {
            session.tag = Some(tag);
        } else {
            session.say(|out| wire::put(out, b'C', &[tag.as_bytes(), b"\0"].concat()));
        }
    }

    fn commit(&mut self, link: Link, session: &mut Session) {
        if session.transaction.has_id {
            if self.asks_for_vacuum {
                session.report(&Report::warning("GetNewTransactionId", "database must be vacuumed"));
            }
            let changes = session.transaction.changes.clone();
            let position = self.log_commit(session.node, changes);
            self.nodes[session.node].commits.push((position, link));
            session.wait = Some(Wait::Standby);
        } else {
            self.end_transaction(link, session);
        }
    }

    /// A commit is as durable as it has to be, or its wait was cancelled: others see it.
    pub(super) fn committed(&mut self, at: usize, position: usize, link: Link) {
        let node = &mut self.nodes[at];
        let record = Rc::clone(&node.log[position - 1]);
        node.tables.apply(&record.changes);
        let Some(mut session) = self.sessions.remove(&link) else { return };
        session.wait = None;
        if let Some(draw) = session.transaction.notify {
            session.notes.extend(session.listens.then_some(draw));
            for (other, listener) in self.sessions.iter_mut().filter(|(_, other)| other.listens && other.node == at) {
                listener.notes.push(draw);
                if listener.idle && !listener.ended {
                    listener.say_notes(*other);
                    listener.flush();
                }
            }
        }
        self.end_transaction(link, &mut session);
        self.sessions.insert(link, session);
        self.ready.push_back(link);
    }

    fn end_transaction(&mut self, link: Link, session: &mut Session) {
        self.release(link, session);
        if let Some(tag) = session.tag.take() {
            session.say(|out| wire::put(out, b'C', &[tag.as_bytes(), b"\0"].concat()));
        }
        session.script = None;
        session.say_ready(link);
    }

    /// Forgets the transaction and its locks.
    fn release(&mut self, link: Link, session: &mut Session) {
        let transaction = std::mem::take(&mut session.transaction);
        session.portals.clear();
        let awaited = session.awaited();
        for key in transaction.locks.into_iter().chain(awaited) {
            let next = self.nodes[session.node].locks.give_back(key, link);
            self.ready.extend(next);
        }
    }

    /// An error: what the transaction did is void.
    pub(super) fn fail(&mut self, link: Link, session: &mut Session, report: &Report) {
        session.report(report);
        self.release(link, session);
        session.wait = None;
        session.tag = None;
        if report.severity == "FATAL" {
            session.ended = true;
        } else if session.script.take().is_some() {
            session.say_ready(link);
        } else {
            session.skips = true;
        }
    }

    /// The session is over, and what it had not committed is void.
    pub(super) fn end(&mut self, link: Link, session: &mut Session) {
        self.release(link, session);
        session.wait = None;
        session.ended = true;
    }

    pub(super) fn lock_timeout(&mut self, link: Link, wait: u64) {
        self.break_wait(link, wait, &Report::error("55P03", "canceling statement due to lock timeout"));
    }

    pub(super) fn client_gone(&mut self, link: Link, wait: u64) {
        self.break_wait(link, wait, &Report::fatal("08006", "connection to client lost"));
    }

    pub(super) fn deadlock_check(&mut self, link: Link, wait: u64) {
        let awaits = |link: Link| {
            let session = self.sessions.get(&link)?;
            self.nodes[session.node].locks.holder(session.awaited()?)
        };
        let mut next = awaits(link);
        for _ in 0..self.sessions.len() {
            match next {
                Some(found) if found == link => {
                    return self.break_wait(link, wait, &Report::error("40P01", "deadlock detected"));
                }
                Some(other) => next = awaits(other),
                None => return,
            }
        }
    }

    /// Ends a wait for a lock with an error, if it is still that wait.
    fn break_wait(&mut self, link: Link, wait: u64, report: &Report) {
        let is_current = |session: &&mut Session| session.waits_for_lock() && session.waits == wait && !session.ended;
        if self.sessions.get_mut(&link).filter(is_current).is_none() {
            return;
        }
        let Some(mut session) = self.sessions.remove(&link) else { return };
        self.fail(link, &mut session, report);
        self.sessions.insert(link, session);
        self.ready.push_back(link);
    }

    /// A warning in the middle of a commit.
    pub(super) fn warn(&mut self, link: Link, routine: &'static str, message: &str) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.report(&Report::warning(routine, message));
        }
    }
}
