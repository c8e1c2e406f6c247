//! One turn of the echo loop, without sockets or clocks: a line is sent and must be echoed.

use crate::lottery::AgencyId;

/// A line and its echo.
#[derive(Debug)]
pub struct EchoTurn {
    line: String,
    sent: usize,
    echo: Vec<u8>,
}

/// The result of an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echoed {
    /// The echo is incomplete.
    Waiting,
    /// The echo is the line.
    Same,
    /// The echo differs.
    Different,
}

impl EchoTurn {
    /// Message `number`, from 1, of agency `id`.
    pub fn new(id: AgencyId, number: u32) -> EchoTurn {
        EchoTurn { line: format!("[CLIENT {id}] Message N°{number}\n"), sent: 0, echo: Vec::new() }
    }

    /// The line without its end.
    pub fn message(&self) -> &str {
        self.line.trim_end_matches('\n')
    }

    /// The unsent bytes.
    pub fn outgoing(&self) -> &[u8] {
        &self.line.as_bytes()[self.sent..]
    }

    /// Marks the first `bytes` of [`outgoing`](Self::outgoing) as sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        assert!(self.sent <= self.line.len(), "no more can be sent than waits");
    }

    /// Takes received bytes.
    pub fn received(&mut self, bytes: &[u8]) {
        // One byte more than the line shows that the echo differs; further bytes are dropped, to bound the memory.
        let room = (self.line.len() + 1).saturating_sub(self.echo.len());
        self.echo.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The result so far.
    pub fn echoed(&self) -> Echoed {
        if self.echo == self.line.as_bytes() {
            Echoed::Same
        } else if self.line.as_bytes().starts_with(&self.echo) {
            Echoed::Waiting
        } else {
            Echoed::Different
        }
    }

    /// The received bytes as text, without the line end.
    pub fn echo(&self) -> String {
        String::from_utf8_lossy(&self.echo).trim_end_matches('\n').to_owned()
    }

    /// Starts again on a new connection.
    pub fn again(&mut self) {
        self.sent = 0;
        self.echo.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_complete_with_its_last_byte() {
        let mut turn = EchoTurn::new(AgencyId(3), 7);
        assert_eq!(turn.message(), "[CLIENT 3] Message N°7");
        assert_eq!(turn.outgoing(), "[CLIENT 3] Message N°7\n".as_bytes());
        let bytes = turn.outgoing().to_vec();
        turn.sent(5);
        assert_eq!(turn.outgoing(), &bytes[5..]);
        for byte in &bytes {
            assert_eq!(turn.echoed(), Echoed::Waiting);
            turn.received(&[*byte]);
        }
        assert_eq!(turn.echoed(), Echoed::Same);
    }

    #[test]
    fn a_different_echo_is_detected_and_not_buffered() {
        let mut turn = EchoTurn::new(AgencyId(1), 1);
        turn.received(&[b'x'; 1 << 20]);
        assert_eq!((turn.echoed(), turn.echo.len()), (Echoed::Different, turn.line.len() + 1));

        let mut longer = EchoTurn::new(AgencyId(1), 1);
        let line = longer.outgoing().to_vec();
        longer.received(&[&line[..], b"more"].concat());
        assert_eq!(longer.echoed(), Echoed::Different);
        longer.again();
        assert_eq!((longer.echoed(), longer.outgoing()), (Echoed::Waiting, &line[..]));
    }
}
