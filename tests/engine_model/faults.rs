//! What goes wrong, each a method.

use super::node::{Event, Node};
use super::select::Settings;
use super::tables::Tables;
use super::wire::Report;
use super::{Cluster, Link};

impl Node {
    pub fn settings(&self, replicas: bool) -> Settings {
        Settings { in_recovery: self.upstream.is_some(), replicas, version: 150_018, fsync: true, format: 1 }
    }
}

/// Connections.
impl Cluster {
    /// Bytes that are sent from now on stay on their way, until [`deliver`](Self::deliver) brings them.
    pub fn hold(&mut self, link: Link) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.held = true;
        }
    }

    /// What is on its way arrives, and what is sent from now on does at once.
    pub fn unhold(&mut self, link: Link) {
        if let Some(session) = self.sessions.get_mut(&link).filter(|session| session.held) {
            session.held = false;
            self.deliver(link, usize::MAX);
        }
    }

    /// Connections that their servers have not ended, with or without a client.
    pub fn links(&self) -> Vec<Link> {
        self.sessions.iter().filter(|(_, session)| !session.ended).map(|(link, _)| *link).collect()
    }

    /// The network ends the connection: its client learns of it, and the server when it has taken what has arrived.
    pub fn reset(&mut self, link: Link) {
        self.cut(link);
        if let Some(session) = self.sessions.get_mut(&link) {
            session.out.clear();
            session.is_reset = true;
        }
    }

    /// The client is gone. What it sent, delivered or still on its way, is executed all the same; a wait for a lock is given up
    /// after a second, and a commit goes on.
    pub fn close(&mut self, link: Link) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        session.client_gone = true;
        if let Some(wait) = session.current_wait() {
            self.schedule(1_000_000, Event::ClientGone { link, wait });
        }
        self.ready.push_back(link);
        self.run();
        self.advance(self.now);
    }

    /// Bytes on their way are lost, and the client is gone.
    pub fn cut(&mut self, link: Link) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.network.clear();
        }
        self.close(link);
    }

    /// The server ends the connection, as `pg_terminate_backend` does. A commit that waits for a standby becomes visible.
    pub fn terminate(&mut self, link: Link) {
        if self.sessions.get(&link).is_none_or(|session| !self.nodes[session.node].runs()) {
            return;
        }
        let waited = self.give_up_wait(link, "terminating connection");
        let Some(mut session) = self.sessions.remove(&link) else { return };
        if !session.ended && !waited {
            self.fail(
                link,
                &mut session,
                &Report::fatal("57P01", "terminating connection due to administrator command"),
            );
        }
        self.end(link, &mut session);
        self.sessions.insert(link, session);
        self.run();
        self.advance(self.now);
    }

    /// Cancels the wait of a commit for a standby, as `pg_cancel_backend` does. It becomes visible, and its client is warned.
    /// Says whether it waited.
    pub fn cancel_wait(&mut self, link: Link) -> bool {
        let waited = self.give_up_wait(link, "canceling wait for synchronous replication due to user request");
        self.run();
        self.advance(self.now);
        waited
    }

    fn give_up_wait(&mut self, link: Link, message: &str) -> bool {
        let Some(at) = self.sessions.get(&link).filter(|session| !session.ended).map(|session| session.node) else {
            return false;
        };
        let node = &mut self.nodes[at];
        if !node.runs() {
            return false;
        }
        let Some(index) = node.commits.iter().position(|(_, other)| *other == link) else { return false };
        let (position, _) = node.commits.remove(index);
        // A server that writes its log does not stop in the middle.
        node.flushed = node.flushed.max(position);
        self.replicate(at);
        self.warn(link, "SyncRepWaitForLSN", message);
        self.committed(at, position, link);
        true
    }

    /// The link's next turn fails: 40001, 40P01, 55P03, 53100 or what else the server may say.
    pub fn fail_next(&mut self, link: Link, code: &'static str) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.fails_next = Some(code);
        }
    }

    /// Whether there is no space for batches.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }
}

/// Nodes.
impl Cluster {
    /// The server dies and is not started again. Its connections end.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].is_up = false;
        self.end_sessions(at);
    }

    /// The machine is lost: its connections end without a word to the client.
    pub fn lose(&mut self, at: usize) {
        self.nodes[at].is_up = false;
        self.nodes[at].unreachable = true;
    }

    /// The server dies and is started again, as what it was. It has what it had flushed, and everybody sees that.
    pub fn restart(&mut self, at: usize) {
        self.kill(at);
        let node = &mut self.nodes[at];
        node.log.truncate(node.flushed);
        node.tables = Tables::replay(&node.log);
        node.is_up = true;
        node.is_paused = false;
        node.unreachable = false;
        self.follow_on(at);
    }

    /// The machine stops for a while, and knows nothing of it.
    pub fn pause(&mut self, at: usize) {
        self.nodes[at].is_paused = true;
    }

    /// A paused machine goes on. One that was replaced meanwhile still believes that it leads.
    pub fn go_on_node(&mut self, at: usize) {
        self.nodes[at].is_paused = false;
        let links: Vec<Link> =
            self.sessions.iter().filter(|(_, session)| session.node == at).map(|(link, _)| *link).collect();
        self.ready.extend(links);
        self.follow_on(at);
    }

    /// A standby receives nothing, until it does again.
    pub fn stall(&mut self, at: usize, stalled: bool) {
        self.nodes[at].is_stalled = stalled;
        self.follow_on(at);
    }

    /// Whether a leader refuses writes.
    pub fn set_read_only(&mut self, at: usize, read_only: bool) {
        self.nodes[at].is_read_only = read_only;
    }

    /// Makes the standby leader that has the longest log, as a failover tool that knows what a quorum is does. Returns it.
    pub fn fail_over(&mut self) -> Option<usize> {
        let best = self.standbys().into_iter().max_by_key(|at| (self.nodes[*at].flushed, usize::MAX - at))?;
        self.promote(best);
        Some(best)
    }

    /// Makes the standby leader that lags most: acknowledged turns may be gone.
    pub fn fail_over_forgetting(&mut self) -> Option<usize> {
        let worst = self.standbys().into_iter().min_by_key(|at| (self.nodes[*at].flushed, *at))?;
        self.promote(worst);
        Some(worst)
    }

    /// A node that is down, or that wrongly believes that it leads, follows the leader: what only it had is gone.
    pub fn rejoin(&mut self, at: usize) {
        let Some(leader) = self.leader().filter(|leader| *leader != at) else { return self.restart(at) };
        self.kill(at);
        let fork = self.fork(at, leader);
        let node = &mut self.nodes[at];
        node.log.truncate(fork);
        node.flushed = fork;
        node.tables = Tables::replay(&node.log);
        node.upstream = Some(leader);
        node.is_up = true;
        node.is_paused = false;
        node.unreachable = false;
        self.follow_on(at);
    }

    fn standbys(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].upstream.is_some() && self.nodes[*at].runs()).collect()
    }

    fn promote(&mut self, at: usize) {
        let term = self.nodes.iter().map(|node| node.term).max().unwrap_or_default() + 1;
        let node = &mut self.nodes[at];
        (node.upstream, node.term, node.confirmed, node.is_stalled) = (None, term, 0, false);
        node.commits.clear();
        for other in self.standbys() {
            let fork = self.fork(other, at);
            let standby = &mut self.nodes[other];
            standby.upstream = Some(at);
            if standby.log.len() > fork {
                standby.log.truncate(fork);
                standby.flushed = fork;
                standby.tables = Tables::replay(&standby.log);
            }
            let has = self.nodes[other].flushed;
            self.nodes[at].confirmed = self.nodes[at].confirmed.max(has);
        }
        self.follow_on(at);
    }

    /// Sessions that can go on after a change do.
    fn follow_on(&mut self, _at: usize) {
        for leader in 0..self.nodes.len() {
            self.replicate(leader);
            self.acknowledge(leader);
        }
        self.run();
        self.advance(self.now);
    }

    fn end_sessions(&mut self, at: usize) {
        let links: Vec<Link> =
            self.sessions.iter().filter(|(_, session)| session.node == at).map(|(link, _)| *link).collect();
        self.nodes[at].commits.clear();
        for link in links {
            let Some(mut session) = self.sessions.remove(&link) else { continue };
            self.end(link, &mut session);
            self.sessions.insert(link, session);
        }
    }
}
