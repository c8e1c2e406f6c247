//! A look at all hosts that changes nothing: who leads, whether the leader may be used, and whether its draw is this hub's.

use std::io;

use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::answers::{Columns, ServerError};
use super::checks;
use super::link::Link;
use super::network::Network;
use super::options::{LedgerError, LedgerOptions};
use super::stage::{LinkError, Stage};
use crate::limits;
use crate::lottery::AgencyId;
use crate::timers::Moment;

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostFound {
    /// It has not answered yet.
    Silent,
    /// A leader that may be used; the text says what it is.
    Leader(String),
    /// A standby.
    Standby,
    /// A person has to mend something there.
    Refused(LedgerError),
    /// It cannot be reached, or does not go on.
    Away(String),
}

/// Connections to all hosts, up to their checks. No fence, no draw: nothing is written.
#[derive(Debug)]
pub struct Inspection {
    options: LedgerOptions,
    hosts: Vec<Looked>,
    until: Moment,
}

/// A host that is looked at.
#[derive(Debug)]
struct Looked {
    /// The connection, as long as there is more to ask.
    link: Option<Link>,
    found: HostFound,
    /// Whether it has what a hub needs.
    is_fit: bool,
    /// What the leader says of the draw, in words: before its answer, that it has none.
    draw: &'static str,
    /// Whether it has said all.
    is_done: bool,
}

impl Inspection {
    /// Begins a connection to each host.
    pub fn begin(options: LedgerOptions, network: &mut impl Network, now: Moment) -> Inspection {
        let begin = |host| {
            let (link, found) = match Link::begin(network, host, &options, now) {
                Ok(link) => (Some(link), HostFound::Silent),
                Err(error) => (None, HostFound::Away(error.to_string())),
            };
            Looked { link, found, is_fit: false, draw: "not there yet, the first start makes it", is_done: false }
        };
        let hosts = (0..options.hosts.len()).map(begin).collect();
        Inspection { options, hosts, until: now + limits::ENGINE_START_PATIENCE }
    }

    /// Goes on with what has come. Says whether every host has answered, or has had its time.
    pub fn go_on(&mut self, network: &mut impl Network, now: Moment) -> bool {
        network.poll();
        let options = &self.options;
        for (name, host) in options.hosts.iter().zip(&mut self.hosts) {
            let went = host.go_on(options, network, now);
            let Some(open) = &host.link else { continue };
            let late = now >= self.until;
            host.found = match went {
                Ok(()) if host.is_done => {
                    HostFound::Leader(format!("{}; draw {} is {}", open.described(), options.draw, host.draw))
                }
                Ok(()) if late => HostFound::Away("it does not answer".to_owned()),
                Ok(()) => continue,
                Err(LinkError::Standby) => HostFound::Standby,
                Err(LinkError::Mend(error)) => HostFound::Refused(error),
                Err(LinkError::Refused(reason)) => {
                    HostFound::Refused(LedgerError::Encryption { host: name.clone(), reason })
                }
                Err(LinkError::Lost(why)) => HostFound::Away(why),
            };
            if let Some(link) = host.link.take() {
                link.close(network);
            }
        }
        self.hosts.iter().all(|host| host.link.is_none())
    }

    /// Each host with what it is, in the order of the options.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostFound)> {
        self.options.hosts.iter().map(String::as_str).zip(self.hosts.iter().map(|host| &host.found))
    }
}

impl Looked {
    /// Goes on up to the checks of a start, and then asks for what a hub needs and for the draw.
    fn go_on(&mut self, options: &LedgerOptions, network: &mut impl Network, now: Moment) -> Result<(), LinkError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.flush(network)?;
        let read = link.read(network, now);
        while let Some(message) = link.message()? {
            if link.stage == Stage::Checked {
                #[expect(clippy::wildcard_enum_match_arm, reason = "PostgreSQL may send any message")]
                match message {
                    Message::DataRow(row) if !self.is_fit => {
                        checks::needs(Columns::of(&row), &options.hosts[link.host], options)?;
                        self.is_fit = true;
                    }
                    Message::DataRow(row) => {
                        compare(Columns::of(&row), options)?;
                        self.draw = "as configured";
                    }
                    Message::ErrorResponse(body) => {
                        return Err(LinkError::Lost(ServerError::read(body.fields())?.to_string()));
                    }
                    Message::ReadyForQuery(_) => self.is_done = true,
                    _ => {}
                }
                continue;
            }
            link.start(&message, options)?;
            if link.stage == Stage::Checked {
                frontend::query(&format!("{}; {}", checks::NEEDS, draw_of(options.draw)), &mut link.out)?;
            }
        }
        if !self.is_done {
            read?;
        }
        link.flush(network)
    }
}

/// The draw's number and agencies: no row where there is no such draw.
fn draw_of(draw: i32) -> String {
    format!(
        "SELECT winning_number::text, (SELECT string_agg(agency::text, ',' ORDER BY agency) FROM loteria.agencies a \
         WHERE a.draw = d.draw) FROM loteria.draws d WHERE draw = {draw}"
    )
}

/// Compares the draw as a start does.
fn compare(mut columns: Columns<'_>, options: &LedgerOptions) -> Result<(), LinkError> {
    let misshapen = |_| io::Error::new(io::ErrorKind::InvalidData, "the draw in PostgreSQL cannot be read");
    let stored: i64 = columns.text()?.parse().map_err(misshapen)?;
    let agencies = columns.optional_text()?.unwrap_or_default();
    let ids = agencies.split(',').filter(|id| !id.is_empty()).map(str::parse);
    let ids: Vec<AgencyId> = ids.map(|id| id.map(AgencyId)).collect::<Result<_, _>>().map_err(misshapen)?;
    options.check_draw(stored, &ids).map_err(LinkError::Mend)
}
