//! Bytes on their way to a peer.

use crate::storage::Committed;

/// What a connection has yet to send. Only a commit opens it: a reply that speaks of bets not yet durable
/// cannot be written, because [`reply`](Self::reply) takes the proof that only a commit makes.
///
/// Invariant: `sent ≤ bytes.len()`; both are 0 when there is nothing to send, and then no memory is held. What has been
/// sent is given back when it is more than what has not, so that an outbox that is never quite empty does not grow.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Where the next reply is written to.
    pub fn reply(&mut self, _proof: &Committed) -> &mut Vec<u8> {
        self.forget_sent();
        &mut self.bytes
    }

    fn forget_sent(&mut self) {
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.sent));
        }
    }

    /// What the peer has not taken yet.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether the peer has taken everything.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Memory held, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The peer took `bytes` more.
    pub fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        assert!(self.sent <= self.bytes.len(), "a socket takes no more than it was given");
        if self.is_empty() {
            *self = Outbox::default();
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
            outbox.forget_sent();
            outbox.bytes.extend([7; 100]);
            outbox.advance(outbox.unsent().len() - 1);
            assert_eq!(outbox.unsent(), [7]);
        }
        assert!(outbox.capacity() < 1000, "{}", outbox.capacity());
        outbox.advance(1);
        assert_eq!((outbox.is_empty(), outbox.capacity()), (true, 0));
    }
}
