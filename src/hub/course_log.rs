//! The log lines of what the hub does: the course's own, and those beside them.

use core::net::IpAddr;

use super::events::{Broken, Closing, Event, Observer, Peer};
use super::turn::{LoggedBet, Refused};
use crate::limits;
use crate::logging::Value;
use crate::lottery::AgencyId;
use crate::wire::Malformed;

/// The observer that writes the log.
#[derive(Debug)]
pub(super) struct CourseLog;

impl Observer for CourseLog {
    fn observe(&mut self, event: &Event<'_>) {
        match *event {
            Event::Stored { bets, logged, .. } => log_stored(bets, logged),
            Event::Finished { .. } | Event::Hello { .. } | Event::ConnectionEnded { .. } => {}
            Event::Rejected { count, why, .. } => {
                log::error!("action: apuesta_recibida | result: fail | cantidad: {count} | reason: {why}");
            }
            Event::Refused { peer, why } => log_refused(peer.ip, why),
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
            Event::Drawn => log::info!("action: sorteo | result: success"),
            Event::StoreFull { error } => {
                let why = Value(error);
                log::error!(
                    "action: store | result: in_progress | reason: {why}, batches are rejected until there is space"
                );
            }
            Event::StoreUnreadable { agency, error } => {
                let error = Value(error);
                log::error!("action: store | result: fail | agency: {agency} | reason: {error}");
            }
        }
    }
}

fn log_stored(bets: u32, logged: &[LoggedBet]) {
    let level = if bets == 1 { log::Level::Info } else { log::Level::Debug };
    for bet in logged {
        log::log!(
            level,
            "action: apuesta_almacenada | result: success | dni: {} | numero: {}",
            bet.document,
            bet.number
        );
    }
    log::info!("action: apuesta_recibida | result: success | cantidad: {bets}");
}

fn log_refused(ip: IpAddr, why: Refused) {
    match why {
        Refused::Query(refusal) => log::warn!("action: query | result: fail | ip: {ip} | reason: {refusal}"),
        Refused::Request(Malformed(what)) => {
            log::warn!("action: receive_message | result: fail | ip: {ip} | reason: {what}");
        }
        Refused::Connection(why) => {
            log::warn!("action: receive_message | result: fail | ip: {ip} | reason: {why}, connection closed");
        }
    }
}

fn log_echoed(ip: IpAddr, line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let shown = &line[..line.len().min(limits::ECHO_LOGGED_BYTES_MAX)];
    let rest = if shown.len() < line.len() { "…" } else { "" };
    let message = Value(String::from_utf8_lossy(shown));
    log::info!("action: receive_message | result: success | ip: {ip} | msg: {message}{rest}");
}

fn log_closing(ip: IpAddr, why: Closing) {
    let reason = match why {
        Closing::NoDialectInTime => "no dialect within HANDSHAKE_TIMEOUT",
        Closing::HubIsFull => "the hub is full",
        Closing::FrameTimeout => "a frame begun and not ended within FRAME_TIMEOUT",
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

fn log_draw_waits(agencies: &[AgencyId], more: bool) {
    let mut pending: Vec<String> = agencies.iter().map(AgencyId::to_string).collect();
    if more {
        pending.push("…".to_owned());
    }
    log::info!("action: sorteo | result: in_progress | agencias_pendientes: {}", pending.join(","));
}
