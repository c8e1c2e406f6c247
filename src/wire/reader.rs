//! A cursor over a frame's bytes: every read is checked, nothing is copied.

use crate::lottery::Text;

/// The unread bytes of one frame. A read beyond its end returns `None` and reads nothing.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The unread bytes.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all bytes have been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes, big-endian.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes, big-endian.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes, big-endian.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `len` bytes as a field that can see the bytes after it.
    #[inline]
    pub fn text(&mut self, len: usize) -> Option<Text<'a>> {
        let text = Text::new(self.rest, len)?;
        self.rest = &self.rest[len..];
        Some(text)
    }

    /// A u32 length and as many bytes.
    #[inline]
    pub fn text_u32(&mut self) -> Option<Text<'a>> {
        let mut ahead = *self;
        let len = ahead.u32()? as usize;
        let text = ahead.text(len)?;
        *self = ahead;
        Some(text)
    }

    /// A u8 length and as many bytes.
    #[inline]
    pub fn text_u8(&mut self) -> Option<Text<'a>> {
        let mut ahead = *self;
        let len = ahead.u8()? as usize;
        let text = ahead.text(len)?;
        *self = ahead;
        Some(text)
    }

    /// How many times `read` reads from the unread bytes until none is left, `most` at most. A read beyond their end
    /// counts, and is the last one.
    pub fn count<T>(mut self, most: u32, read: impl Fn(&mut Reader<'a>) -> Option<T>) -> u32 {
        let mut count = 0;
        while count < most && !self.is_empty() {
            count += 1;
            if read(&mut self).is_none() {
                break;
            }
        }
        count
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_past_the_end_reads_nothing() {
        let mut reader = Reader::new(&[0, 0, 0, 2, b'a']);
        assert!(reader.text_u32().is_none());
        assert_eq!(reader.u16(), Some(0));
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.u16(), Some(2));
        assert_eq!(reader.bytes(2), None);
        assert_eq!(reader.u8(), Some(b'a'));
        assert!(reader.is_empty() && reader.u8().is_none());
    }

    #[test]
    fn a_text_sees_what_follows_it() {
        let mut reader = Reader::new(&[1, b'a', b'b']);
        let text = reader.text_u8().unwrap();
        assert_eq!((text.bytes(), text.window()), (&b"a"[..], &b"ab"[..]));
        assert_eq!(reader.rest(), b"b");
        assert!(Reader::new(&[255, 0]).text_u8().is_none());
        assert!(Reader::new(&[255, 255, 255, 255, 0]).text_u32().is_none());
    }
}
