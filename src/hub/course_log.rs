//! The log lines of what the hub does: the course's own, and those beside them.

use core::net::{IpAddr, SocketAddr};
use std::collections::{HashMap, HashSet};
use std::fmt;

use super::events::{Broken, Closing, Doing, Event, Missing, Observer, Peer, Unfinished};
use super::turn::{LoggedBet, Refused};
use crate::limits;
use crate::logging::{Value, grouped};
use crate::lottery::{AgencyId, Lottery};
use crate::wire::{Dialect, Malformed};

/// The observer that writes the log.
#[derive(Debug)]
pub(super) struct CourseLog {
    /// Each stored batch has a line.
    batches: bool,
    /// Bets of each agency that this hub has stored, or has found at its start.
    bets: HashMap<AgencyId, u64>,
    lately: Lately,
}

/// What was stored since the last summary.
#[derive(Debug, Default)]
struct Lately {
    batches: u64,
    bets: u64,
    agencies: HashSet<AgencyId>,
}

impl CourseLog {
    /// A log with a line for each stored batch, or without. `lottery` holds what an earlier run has stored.
    pub(super) fn new(batches: bool, lottery: &Lottery) -> CourseLog {
        let stored = |agency: &AgencyId| Some((*agency, lottery.agency(*agency).ok()?.bets));
        let bets = lottery.roster().ids().iter().filter_map(stored).filter(|(_, bets)| *bets > 0).collect();
        CourseLog { batches, bets, lately: Lately::default() }
    }

    fn stored(&mut self, agency: AgencyId, bets: u32, logged: &[LoggedBet]) {
        let total = self.bets.entry(agency).or_default();
        *total += u64::from(bets);
        if !self.batches {
            self.lately.batches += 1;
            self.lately.bets += u64::from(bets);
            self.lately.agencies.insert(agency);
            return;
        }
        let level = if bets == 1 { log::Level::Info } else { log::Level::Debug };
        for LoggedBet { document, number } in logged {
            log::log!(level, "action: apuesta_almacenada | result: success | dni: {document} | numero: {number}");
        }
        log::info!(
            "action: apuesta_recibida | result: success | cantidad: {bets} | agencia: {agency} | apuestas: {total}"
        );
    }

    fn log_summary(&mut self) {
        let Lately { batches, bets, agencies } = std::mem::take(&mut self.lately);
        let (agencies, total) = (agencies.len(), self.bets.values().sum::<u64>());
        log::info!(
            "action: batches_stored | result: success | batches: {batches} | bets: {bets} | agencies: {agencies} | total: {total}"
        );
    }
}

impl Observer for CourseLog {
    fn observe(&mut self, event: &Event<'_>) {
        match *event {
            Event::Stored { agency, bets, logged, .. } => self.stored(agency, bets, logged),
            Event::Finished { agency, peer, dialect, bets } => log_finish(agency, peer, dialect, bets),
            Event::Hello { peer: Peer { ip, port, .. }, agency, dialect } => {
                let dialect = Dialect::name_of(dialect);
                log::info!(
                    "action: hello | result: success | ip: {ip} | port: {port} | dialect: {dialect} | agency: {agency}"
                );
            }
            Event::ConnectionEnded { peer, dialect, agency } => log_end(peer, dialect, agency),
            Event::Rejected { agency, claimed, peer: Peer { ip, .. }, count, why } => {
                let agency = agency.or(claimed).map(|id| format!(" | agencia: {id}")).unwrap_or_default();
                log::error!(
                    "action: apuesta_recibida | result: fail | cantidad: {count}{agency} | ip: {ip} | reason: {why}"
                );
            }
            Event::Refused { peer, claimed, why } => log_refused(peer.ip, claimed, why),
            Event::Broken { peer: Peer { ip, .. }, why: Broken::Malformed(Malformed(what)) } => {
                log::error!("action: receive_message | result: fail | ip: {ip} | reason: {what}, connection closed");
            }
            Event::Broken { peer: Peer { ip, .. }, why: Broken::Gap } => {
                log::error!(
                    "action: receive_message | result: fail | ip: {ip} | reason: gap in the sequence, connection closed"
                );
            }
            Event::Echoed { peer, line } => log_echoed(peer.ip, line),
            Event::Closing { peer, why } => log_closing(peer.ip, why),
            Event::CutShort { peer: Peer { ip, .. } } => {
                log::warn!(
                    "action: receive_message | result: in_progress | ip: {ip} | reason: the peer ended in the middle of a frame"
                );
            }
            Event::Unrepresentable { peer: Peer { ip, .. } } => {
                log::error!(
                    "action: send_message | result: fail | ip: {ip} | reason: the answer is more than the dialect can say, connection closed"
                );
            }
            Event::WrongCertificate { peer: Peer { ip, .. }, agency } => {
                log::warn!(
                    "action: authorize | result: in_progress | ip: {ip} | agency: {agency} | reason: the certificate is another agency's"
                );
            }
            Event::TwoClients { agency, peer, rival } => log_two_clients(agency, peer, rival),
            Event::AgencyLost(agency) => {
                log::warn!("action: agency_lost | result: in_progress | agency: {agency}");
            }
            Event::AgencyReturned(agency) => {
                log::info!("action: agency_returned | result: success | agency: {agency}");
            }
            Event::AgencyExcluded(agency) => {
                log::warn!("action: agency_excluded | result: success | agency: {agency}");
            }
            Event::DrawWaits { agencies, more } => log_draw_waits(agencies, more),
            Event::DrawMisses { missing, more } => log_draw_misses(missing, more),
            Event::SummaryDue => self.log_summary(),
            Event::Drawn => log::info!("action: sorteo | result: success"),
            Event::StoreFull { error } => {
                let why = Value(error);
                log::error!(
                    "action: store | result: in_progress | reason: {why}, batches are rejected until there is space"
                );
            }
            Event::StoreHasSpace => log::info!("action: store | result: success | reason: there is space again"),
            Event::StoreUnreadable { agency, error } => {
                let error = Value(error);
                log::error!("action: store | result: fail | agency: {agency} | reason: {error}");
            }
        }
    }
}

fn log_finish(agency: AgencyId, Peer { ip, port, .. }: Peer, dialect: Option<Dialect>, bets: u64) {
    let dialect = Dialect::name_of(dialect);
    log::info!(
        "action: finish | result: success | ip: {ip} | port: {port} | dialect: {dialect} | agency: {agency} | bets: {bets}"
    );
}

/// Connections of peers that only look are many, and of little interest.
fn log_end(Peer { ip, port, .. }: Peer, dialect: Option<Dialect>, agency: Option<AgencyId>) {
    let dialect = Dialect::name_of(dialect);
    match agency {
        Some(agency) => log::info!(
            "action: disconnect | result: success | ip: {ip} | port: {port} | dialect: {dialect} | agency: {agency}"
        ),
        None => log::debug!("action: disconnect | result: success | ip: {ip} | port: {port} | dialect: {dialect}"),
    }
}

fn log_refused(ip: IpAddr, claimed: Option<AgencyId>, why: Refused) {
    let agency = claimed.map(|id| format!(" | agency: {id}")).unwrap_or_default();
    match why {
        Refused::Query(refusal) => log::warn!("action: query | result: fail | ip: {ip}{agency} | reason: {refusal}"),
        Refused::Request(Malformed(what)) => {
            log::warn!("action: receive_message | result: fail | ip: {ip}{agency} | reason: {what}");
        }
        Refused::Connection(why) => {
            log::warn!("action: receive_message | result: fail | ip: {ip}{agency} | reason: {why}, connection closed");
        }
    }
}

fn log_two_clients(agency: AgencyId, peer: Peer, rival: Peer) {
    let (peer, rival) = (SocketAddr::from((peer.ip, peer.port)), SocketAddr::from((rival.ip, rival.port)));
    log::warn!(
        "action: two_clients | result: in_progress | agency: {agency} | peer: {peer} | other: {rival} | reason: both send for this agency, each client needs an id of its own"
    );
}

fn log_echoed(ip: IpAddr, line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let shown = &line[..line.len().min(limits::ECHO_LOGGED_BYTES_MAX)];
    let rest = if shown.len() < line.len() { "…" } else { "" };
    let message = Value(String::from_utf8_lossy(shown));
    if let Some(what) = looks_like(line) {
        log::warn!(
            "action: receive_message | result: fail | ip: {ip} | reason: it looks like {what}, so it was sent back and nothing is stored | msg: {message}{rest}"
        );
        return;
    }
    log::info!("action: receive_message | result: success | ip: {ip} | msg: {message}{rest}");
}

fn log_closing(ip: IpAddr, why: Closing) {
    let reason = match why {
        Closing::NoDialectInTime => "no dialect within HANDSHAKE_TIMEOUT",
        Closing::HubIsFull => "the hub is full",
        Closing::StoreIsAway => "PostgreSQL cannot be used here for now, its client goes on elsewhere",
        Closing::FrameTimeout(unfinished) => {
            log::info!(
                "action: close_connection | result: success | ip: {ip} | reason: a frame begun and not ended within FRAME_TIMEOUT, {unfinished}"
            );
            return;
        }
        Closing::IdleTimeout => "nothing received for IDLE_TIMEOUT",
        Closing::WriteTimeout => "the peer does not read what it is sent, for WRITE_TIMEOUT",
        Closing::PeerHasClosed => "the peer has closed, and waits for the draw no longer",
        Closing::WinnersUnread => "it does not read its winners, and others' wait for the memory",
        Closing::NoDialect => {
            log::warn!("action: close_connection | result: success | ip: {ip} | reason: no known dialect");
            return;
        }
        Closing::DialectIsOff(dialect) => {
            let name = dialect.name();
            log::warn!("action: close_connection | result: success | ip: {ip} | reason: {name} is not one of DIALECTS");
            return;
        }
        Closing::BuffersAreFull => {
            log::warn!("action: close_connection | result: success | ip: {ip} | reason: buffers are full");
            return;
        }
    };
    log::info!("action: close_connection | result: success | ip: {ip} | reason: {reason}");
}

impl fmt::Display for Unfinished {
    /// `read as key-value: 340 of 656,649 bytes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read as {}: {}", Dialect::name_of(self.dialect), grouped(self.bytes as u64))?;
        if let Some(length) = self.length {
            write!(f, " of {}", grouped(length as u64))?;
        }
        f.write_str(if self.length.unwrap_or(self.bytes) == 1 { " byte" } else { " bytes" })
    }
}

/// What a peer that was taken for one of `echo` probably meant.
fn looks_like(line: &[u8]) -> Option<&'static str> {
    if line.starts_with(&[0x16, 0x03]) {
        Some("TLS, and this hub has no [TLS] CERT")
    } else if line.starts_with(b"\xB7LN") {
        Some("native in a version that this hub does not know")
    } else if looks_like_a_bet(line) {
        Some("a bet and fits no dialect")
    } else {
        None
    }
}

/// Whether a line has the fields of a bet, whatever separates them: at least five, one of them a date, and another one a
/// number as long as a document.
fn looks_like_a_bet(line: &[u8]) -> bool {
    const SEPARATORS: &[u8] = b",;|\t";
    SEPARATORS.iter().any(|separator| {
        let fields = line.split(|byte| byte == separator).map(field_value);
        let (mut all, mut dates, mut documents) = (0, 0, 0);
        for field in fields {
            all += 1;
            dates += usize::from(is_date(field));
            documents += usize::from((6..=10).contains(&field.len()) && field.iter().all(u8::is_ascii_digit));
        }
        all >= 5 && dates >= 1 && documents >= 1
    })
}

/// A field without a key, quotes and white space around it.
fn field_value(field: &[u8]) -> &[u8] {
    let value = field.rsplit(|byte| matches!(byte, b'=' | b':')).next().unwrap_or(field);
    let value = value.trim_ascii();
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// `1999-03-17` or `1999/03/17`.
fn is_date(field: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| if at == 4 || at == 7 { b"-/".contains(byte) } else { byte.is_ascii_digit() };
    field.len() == 10 && field.iter().enumerate().all(fits)
}

fn log_draw_misses(missing: &[Missing], more: bool) {
    let mut said: Vec<String> = missing.iter().map(Missing::to_string).collect();
    if more {
        said.push("…".to_owned());
    }
    log::info!("action: draw_waits | result: in_progress | missing: {}", said.join("; "));
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { agency, doing, bets } = self;
        let s = if *bets == 1 { "" } else { "s" };
        match (doing, bets) {
            (Doing::NeverSeen, _) => write!(f, "{agency} never seen"),
            (Doing::Connected, 0) => write!(f, "{agency} connected, no bets"),
            (Doing::Connected, _) => write!(f, "{agency} uploading, {bets} bet{s}"),
            (Doing::Gone, 0) => write!(f, "{agency} gone, no bets"),
            (Doing::Gone, _) => write!(f, "{agency} gone, {bets} bet{s}"),
            (Doing::NotHere, 0) => write!(f, "{agency} not connected here, no bets"),
            (Doing::NotHere, _) => write!(f, "{agency} betting, not connected here, {bets} bet{s}"),
            (Doing::Lost, _) => write!(f, "{agency} lost, {bets} bet{s}"),
        }
    }
}

fn log_draw_waits(agencies: &[AgencyId], more: bool) {
    let mut pending: Vec<String> = agencies.iter().map(AgencyId::to_string).collect();
    if more {
        pending.push("…".to_owned());
    }
    log::info!("action: sorteo | result: in_progress | agencias_pendientes: {}", pending.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_date_a_document_and_five_fields_looks_like_a_bet_and_others_do_not() {
        for bet in [
            "Santiago Lionel,Lorca,30904465,1999-03-17,7574",
            "1,Santiago,Lorca,30904465,1999-03-17,7574\r",
            "Ana|Paz|30904465|1999-03-17|7574|1",
            "Ana;Paz;30904465;1999/03/17;7574",
            "\"Ana\",\"Paz\",\"30904465\",\"1999-03-17\",\"7574\"",
            "NOMBRE=Ana|APELLIDO=Paz|DOCUMENTO=30904465|NACIMIENTO=1999-03-17|NUMERO=7574",
            "NOMBRE:Ana, APELLIDO:Paz, DOCUMENTO:30904465, NACIMIENTO:1999-03-17, NUMERO:7574",
            "Ana\tPaz\t30904465\t1999-03-17\t7574",
        ] {
            assert!(looks_like_a_bet(bet.as_bytes()), "{bet}");
        }
        for echo in [
            "",
            "[CLIENT 1] Message N°1",
            "Hello, server, it is 1999-03-17, and I am 30904465",
            "a,b,c,d,e,f,g",
            "1,2,3,4,5,6,7,8",
            "30904465,30904465,30904465,30904465,30904465",
            "1999-03-17,1999-03-17,1999-03-17,1999-03-17,1999-03-17",
            "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}",
        ] {
            assert!(!looks_like_a_bet(echo.as_bytes()), "{echo}");
            assert_eq!(looks_like(echo.as_bytes()), None, "{echo}");
        }
    }

    #[test]
    fn a_hello_that_this_hub_cannot_answer_is_no_ordinary_echo() {
        assert!(looks_like(b"\x16\x03\x01\x02\x00\x01").is_some_and(|what| what.starts_with("TLS")));
        assert!(looks_like(b"\xB7LN\x02\0\0\0\x01").is_some_and(|what| what.starts_with("native")));
        assert_eq!(looks_like(b"\x16\x02"), None);
        assert_eq!(looks_like(b"\xB7L"), None);
    }

    #[test]
    fn an_unfinished_frame_is_said_with_its_length_where_that_is_known() {
        let said = |dialect, bytes, length| Unfinished { dialect, bytes, length }.to_string();
        let key_value = Dialect::from_name("key-value");
        assert_eq!(said(key_value, 340, Some(656_649)), "read as key-value: 340 of 656,649 bytes");
        assert_eq!(said(Some(Dialect::Echo), 1, None), "read as echo: 1 byte");
        assert_eq!(said(None, 1_234_567, None), "read as unknown: 1,234,567 bytes");
    }
}
