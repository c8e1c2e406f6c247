//! The ledger's network, made of the model's connections.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use loteria::storage::{LinkId, Network};

use crate::engine_model::{Cluster, Link, NoConnection, Random};

/// Connections of one hub.
#[derive(Clone)]
pub struct SimNetwork {
    pub cluster: Rc<RefCell<Cluster>>,
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    /// By [`LinkId`].
    links: Vec<Result<Link, NoConnection>>,
    random: Random,
    /// Which of them the hub has not closed.
    open: Vec<LinkId>,
}

impl std::fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connections", self.shared.borrow().links.len())
    }
}

impl SimNetwork {
    pub fn new(cluster: Rc<RefCell<Cluster>>, seed: u64) -> SimNetwork {
        let shared = Shared { links: Vec::new(), random: Random::new(seed), open: Vec::new() };
        SimNetwork { cluster, shared: Rc::new(RefCell::new(shared)) }
    }

    /// Its hub is gone, with all its connections. What it had sent is lost, or still arrives.
    pub fn abandon(&self, is_lost: bool) {
        let open = std::mem::take(&mut self.shared.borrow_mut().open);
        let links: Vec<Link> = open.into_iter().filter_map(|open| self.shared.borrow().links[open.0].ok()).collect();
        for link in links {
            let mut cluster = self.cluster.borrow_mut();
            if is_lost { cluster.cut(link) } else { cluster.close(link) }
        }
    }

    /// How a call goes on with this connection; `None`: nothing now.
    fn link(&self, link: LinkId) -> io::Result<Option<Link>> {
        match self.shared.borrow().links[link.0] {
            Ok(link) => Ok(Some(link)),
            Err(NoConnection::Silent) => Ok(None),
            Err(NoConnection::Refused) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
        }
    }

    /// How many bytes go through at once.
    fn some(&self, most: usize) -> usize {
        let random = &mut self.shared.borrow_mut().random;
        if random.chance(700) { most } else { random.index(most + 1) }
    }
}

impl Network for SimNetwork {
    fn connect(&mut self, host: usize) -> io::Result<LinkId> {
        let mut shared = self.shared.borrow_mut();
        shared.links.push(self.cluster.borrow_mut().connect(host));
        let id = LinkId(shared.links.len() - 1);
        shared.open.push(id);
        Ok(id)
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(link) = self.link(link)? else { return Ok(None) };
        if self.cluster.borrow().is_ended(link) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        let count = self.some(bytes.len());
        self.cluster.borrow_mut().send(link, &bytes[..count]);
        Ok((count > 0).then_some(count))
    }

    fn read(&mut self, link: LinkId, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(link) = self.link(link)? else { return Ok(None) };
        let waiting = self.cluster.borrow().waiting(link).min(buffer.len());
        if waiting == 0 {
            return Ok(self.cluster.borrow().is_ended(link).then_some(0));
        }
        let count = self.some(waiting);
        let bytes = self.cluster.borrow_mut().receive(link, count);
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok((count > 0).then_some(count))
    }

    fn close(&mut self, link: LinkId) {
        self.shared.borrow_mut().open.retain(|open| *open != link);
        if let Ok(Some(link)) = self.link(link) {
            self.cluster.borrow_mut().close(link);
        }
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }
}
