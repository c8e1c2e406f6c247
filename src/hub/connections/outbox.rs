//! Bytes on their way to a peer.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::storage::Committed;
use crate::wire::After;

/// A list of winners in one dialect, encoded once for all connections that asked for it.
#[derive(Debug)]
pub struct List {
    pub(in crate::hub) bytes: Vec<u8>,
    /// What follows for the connection.
    pub(in crate::hub) after: After,
}

/// What a connection has yet to send. Only a commit opens it: a reply that speaks of bets not yet durable
/// cannot be written, because [`reply`](Self::reply) takes the proof that only a commit makes.
///
/// Invariant: `sent ≤ bytes.len()`; both are 0 when there is nothing to send, and then no memory is held. What has been
/// sent is given back when it is more than what has not, so that an outbox that is never quite empty does not grow.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// What goes out behind `bytes`, where a shared list is in it; then it is not empty.
    behind: Option<Box<Behind>>,
}

#[derive(Debug, Default)]
struct Behind {
    chunks: VecDeque<Chunk>,
    /// Bytes sent of the first chunk.
    sent: usize,
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Rc<List>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared(list) => &list.bytes,
        }
    }
}

impl Outbox {
    /// Where the next reply is written to.
    pub fn reply(&mut self, _proof: &Committed) -> &mut Vec<u8> {
        if self.behind.is_none() {
            return &mut self.bytes;
        }
        let behind = self.behind.get_or_insert_default();
        if let Some(Chunk::Shared(_)) | None = behind.chunks.back() {
            behind.chunks.push_back(Chunk::Own(Vec::new()));
        }
        match behind.chunks.back_mut() {
            Some(Chunk::Own(bytes)) => bytes,
            Some(Chunk::Shared(_)) | None => unreachable!("a chunk of its own is last"),
        }
    }

    /// Sends `list` behind what there is.
    pub(in crate::hub) fn share(&mut self, list: Rc<List>, _proof: &Committed) {
        self.behind.get_or_insert_default().chunks.push_back(Chunk::Shared(list));
        self.settle();
    }

    /// What the peer should be sent next, of what it has not taken yet. There may be more behind it.
    pub fn unsent(&self) -> &[u8] {
        match &self.behind {
            Some(behind) if self.sent == self.bytes.len() => {
                behind.chunks.front().map_or(&[], |chunk| &chunk.bytes()[behind.sent..])
            }
            Some(_) | None => &self.bytes[self.sent..],
        }
    }

    /// How many bytes the peer has not taken yet.
    pub fn unsent_len(&self) -> usize {
        let behind = self
            .behind
            .as_ref()
            .map_or(0, |behind| behind.chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>() - behind.sent);
        self.bytes.len() - self.sent + behind
    }

    /// All of that.
    #[doc(hidden)]
    pub fn unsent_bytes(&self) -> Vec<u8> {
        let mut all = self.bytes[self.sent..].to_vec();
        if let Some(behind) = &self.behind {
            let from = all.len() + behind.sent;
            behind.chunks.iter().for_each(|chunk| all.extend_from_slice(chunk.bytes()));
            all.drain(from - behind.sent..from);
        }
        all
    }

    /// Whether the peer has taken everything.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.behind.is_none()
    }

    /// Whether a shared list waits for the peer.
    pub(in crate::hub) fn has_list(&self) -> bool {
        let chunks = self.behind.iter().flat_map(|behind| &behind.chunks);
        chunks.into_iter().any(|chunk| matches!(chunk, Chunk::Shared(_)))
    }

    /// Memory held, in bytes. Shared lists are not the connection's.
    pub fn capacity(&self) -> usize {
        let own = |chunk: &Chunk| match chunk {
            Chunk::Own(bytes) => bytes.capacity(),
            Chunk::Shared(_) => 0,
        };
        self.bytes.capacity() + self.behind.as_ref().map_or(0, |behind| behind.chunks.iter().map(own).sum())
    }

    /// The peer took `bytes` more of [`unsent`](Self::unsent).
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.unsent().len(), "a socket takes no more than it was given");
        match &mut self.behind {
            Some(behind) if self.sent == self.bytes.len() => behind.sent += bytes,
            Some(_) | None => self.sent += bytes,
        }
        self.settle();
    }

    /// Frees what has been sent; the chunk behind it is next.
    fn settle(&mut self) {
        if self.sent < self.bytes.len() {
            if self.sent > self.bytes.len() / 2 {
                self.bytes.drain(..std::mem::take(&mut self.sent));
            }
            return;
        }
        (self.bytes, self.sent) = (Vec::new(), 0);
        let Some(behind) = &mut self.behind else { return };
        while behind.chunks.front().is_some_and(|chunk| chunk.bytes().len() == behind.sent) {
            behind.chunks.pop_front();
            behind.sent = 0;
        }
        if let Some(Chunk::Own(_)) = behind.chunks.front()
            && let Some(Chunk::Own(bytes)) = behind.chunks.pop_front()
        {
            (self.bytes, self.sent) = (bytes, std::mem::take(&mut behind.sent));
        }
        if behind.chunks.is_empty() {
            self.behind = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_that_is_never_quite_empty_does_not_grow() {
        let mut outbox = Outbox::default();
        for _ in 0..10_000 {
            outbox.bytes.extend([7; 100]);
            outbox.advance(outbox.unsent().len() - 1);
            assert_eq!(outbox.unsent(), [7]);
        }
        assert!(outbox.capacity() < 1000, "{}", outbox.capacity());
        outbox.advance(1);
        assert_eq!((outbox.is_empty(), outbox.capacity()), (true, 0));
    }

    #[test]
    fn what_is_behind_a_shared_list_follows_it_however_little_is_taken_at_a_time() {
        // A store's commit is the only proof, and this module has none: chunks are put in by hand.
        let list = Rc::new(List { bytes: b"winners".to_vec(), after: After::Open });
        for step in 1..30 {
            let mut outbox = Outbox { bytes: b"ack ".to_vec(), ..Outbox::default() };
            let chunks = [
                Chunk::Shared(Rc::clone(&list)),
                Chunk::Own(b" ack ".to_vec()),
                Chunk::Shared(Rc::clone(&list)),
                Chunk::Shared(Rc::clone(&list)),
            ];
            outbox.behind = Some(Box::new(Behind { chunks: chunks.into(), sent: 0 }));
            let whole = outbox.unsent_bytes();
            assert_eq!(whole, b"ack winners ack winnerswinners");
            let mut sent = Vec::new();
            while !outbox.is_empty() {
                assert_eq!(outbox.unsent_bytes(), whole[sent.len()..]);
                assert_eq!(outbox.unsent_len(), whole.len() - sent.len());
                let taken = outbox.unsent().len().min(step);
                sent.extend_from_slice(&outbox.unsent()[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(sent, whole);
            assert_eq!((outbox.capacity(), outbox.has_list(), outbox.unsent()), (0, false, &b""[..]));
        }
        assert_eq!(Rc::strong_count(&list), 1);
    }
}
