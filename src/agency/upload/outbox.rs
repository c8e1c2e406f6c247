//! The client's unsent bytes.

/// Bytes that are appended at the end and sent from the start.
///
/// Invariant: `sent ≤ bytes.len()`, and an outbox without unsent bytes is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// The unsent bytes.
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The buffer, to append bytes to.
    pub fn end(&mut self) -> &mut Vec<u8> {
        // Drops sent bytes, so that the buffer stays as small as the unsent ones.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// Marks the first `count` of the unsent bytes as sent.
    pub fn sent(&mut self, count: usize) {
        assert!(count <= self.waiting().len(), "no more can be sent than waits");
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.clear();
        }
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut outbox = Outbox::default();
        let mut left = Vec::new();
        for (put, take) in [(&b"abc"[..], 1), (b"defg", 4), (b"", 1), (b"hi", 0), (b"", 3)] {
            outbox.end().extend_from_slice(put);
            left.extend_from_slice(&outbox.waiting()[..take]);
            outbox.sent(take);
        }
        assert_eq!(left, b"abcdefghi");
        assert!(outbox.waiting().is_empty() && outbox.bytes.is_empty());
    }
}
