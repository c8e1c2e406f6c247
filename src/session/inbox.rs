//! The bytes of an incomplete frame.

/// Bytes that were received and not decoded: an incomplete frame, or frames that are deferred while the session is
/// paused. An empty inbox is a null pointer, which is all that an idle connection costs.
///
/// Invariant: `waiting` has at least one byte.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Option<Box<Waiting>>,
}

/// The buffer of an inbox that is not empty.
///
/// Invariant: `start ≤ scanned ≤ bytes.len()`, and `start < bytes.len()`. Consuming bytes only moves `start`. The bytes
/// before it are dropped when they are half of all, so that the cost of many small frames stays linear.
#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    start: usize,
    need: usize,
    scanned: usize,
}

impl Inbox {
    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.waiting.as_deref().map_or(&[], Waiting::bytes)
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// How many bytes the frame has at least; 0 where there are none of it.
    pub fn need(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.need)
    }

    /// Memory used, in bytes.
    pub fn capacity(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes.capacity() + size_of::<Waiting>())
    }

    /// How many of the bytes were scanned already.
    pub fn scanned(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.scanned - waiting.start)
    }

    /// Appends bytes from the front of `input`, as many as the frame is known to lack: bytes after the frame are decoded in
    /// place, without a copy. A frame whose end must be searched for takes all.
    pub fn top_up(&mut self, input: &mut &[u8], searched_for: bool) {
        let Some(waiting) = &mut self.waiting else { return };
        let lacking = if searched_for { input.len() } else { waiting.need.saturating_sub(waiting.bytes().len()) };
        let (taken, rest) = input.split_at(lacking.min(input.len()));
        waiting.bytes.extend_from_slice(taken);
        *input = rest;
    }

    /// Drops the decoded bytes, and keeps the rest as the start of a frame.
    pub fn consume(&mut self, progress: Progress) {
        let all = progress.consumed == self.len();
        match &mut self.waiting {
            Some(waiting) if !all => waiting.consume(progress),
            Some(_) | None => self.waiting = None,
        }
    }

    /// Keeps the bytes of `input` that were not decoded; there are some. The inbox must be empty.
    pub fn keep(&mut self, input: &[u8], progress: Progress) {
        debug_assert!(self.is_empty(), "an unfinished frame is never replaced");
        let bytes = input[progress.consumed..].to_vec();
        let mut waiting = Box::new(Waiting { bytes, start: 0, need: 0, scanned: 0 });
        waiting.expect(progress);
        self.waiting = Some(waiting);
    }
}

impl Waiting {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn consume(&mut self, progress: Progress) {
        self.start += progress.consumed;
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.expect(progress);
    }

    fn expect(&mut self, progress: Progress) {
        let len = self.bytes().len();
        self.need = progress.need.max(len + 1);
        self.scanned = self.start + progress.scanned.min(len);
    }
}

/// How far a run of bytes was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were decoded or are discarded.
    pub consumed: usize,
    /// The least length of the frame after them, in bytes.
    pub need: usize,
    /// Bytes of that frame that need not be scanned again.
    pub scanned: usize,
}

impl Progress {
    /// All of `bytes` was decoded.
    pub fn all(bytes: &[u8]) -> Progress {
        Progress { consumed: bytes.len(), need: 0, scanned: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_a_frame_lacks_and_leaves_the_next_one() {
        let mut inbox = Inbox::default();
        inbox.keep(b"ab", Progress { consumed: 0, need: 5, scanned: 2 });
        let mut input = &b"cdefgh"[..];
        inbox.top_up(&mut input, false);
        assert_eq!((inbox.bytes(), input), (&b"abcde"[..], &b"fgh"[..]));
        inbox.consume(Progress::all(b"abcde"));
        assert!(inbox.is_empty());
        assert_eq!(inbox.capacity(), 0, "an idle connection holds no buffer");
    }

    #[test]
    fn a_searched_end_takes_all_and_remembers_what_it_saw() {
        let mut inbox = Inbox::default();
        inbox.keep(b"ab", Progress { consumed: 0, need: 3, scanned: 2 });
        assert_eq!(inbox.scanned(), 2);
        let mut input = &b"cd"[..];
        inbox.top_up(&mut input, true);
        assert_eq!((inbox.bytes(), input.len()), (&b"abcd"[..], 0));
        inbox.consume(Progress { consumed: 3, need: 2, scanned: 1 });
        assert_eq!((inbox.bytes(), inbox.scanned()), (&b"d"[..], 1));
    }

    #[test]
    fn many_small_frames_leave_a_full_inbox_one_by_one() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut inbox = Inbox::default();
        inbox.keep(&bytes, Progress { consumed: 0, need: 1001, scanned: 0 });
        for taken in 1..bytes.len() {
            inbox.consume(Progress { consumed: 1, need: 2, scanned: 1 });
            assert_eq!((inbox.bytes(), inbox.len(), inbox.scanned()), (&bytes[taken..], bytes.len() - taken, 1));
        }
        inbox.consume(Progress { consumed: 1, need: 0, scanned: 0 });
        assert_eq!((inbox.is_empty(), inbox.capacity()), (true, 0));
    }
}
