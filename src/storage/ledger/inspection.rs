//! A look at all hosts that changes nothing: who leads, and whether the leader may be used.

use super::link::Link;
use super::network::Network;
use super::options::{LedgerError, LedgerOptions};
use super::stage::{LinkError, Stage};
use crate::limits;
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
    hosts: Vec<(Option<Link>, HostFound)>,
    until: Moment,
}

impl Inspection {
    /// Begins a connection to each host.
    pub fn begin(options: LedgerOptions, network: &mut impl Network, now: Moment) -> Inspection {
        let begin = |host| match Link::begin(network, host, &options, now) {
            Ok(link) => (Some(link), HostFound::Silent),
            Err(error) => (None, HostFound::Away(error.to_string())),
        };
        let hosts = (0..options.hosts.len()).map(begin).collect();
        Inspection { options, hosts, until: now + limits::ENGINE_START_PATIENCE }
    }

    /// Goes on with what has come. Says whether every host has answered, or has had its time.
    pub fn go_on(&mut self, network: &mut impl Network, now: Moment) -> bool {
        network.poll();
        let options = &self.options;
        for (name, (link, found)) in options.hosts.iter().zip(&mut self.hosts) {
            let Some(open) = link else { continue };
            let went = go_on(open, options, network, now);
            let late = now >= self.until;
            *found = match went {
                Ok(()) if open.stage == Stage::Checked => HostFound::Leader(open.described().to_owned()),
                Ok(()) if late => HostFound::Away("it does not answer".to_owned()),
                Ok(()) => continue,
                Err(LinkError::Standby) => HostFound::Standby,
                Err(LinkError::Mend(error)) => HostFound::Refused(error),
                Err(LinkError::Refused(reason)) => {
                    HostFound::Refused(LedgerError::Encryption { host: name.clone(), reason })
                }
                Err(LinkError::Lost(why)) => HostFound::Away(why),
            };
            if let Some(link) = link.take() {
                link.close(network);
            }
        }
        self.hosts.iter().all(|(link, _)| link.is_none())
    }

    /// Each host with what it is, in the order of the options.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostFound)> {
        self.options.hosts.iter().map(String::as_str).zip(self.hosts.iter().map(|(_, found)| found))
    }
}

fn go_on(link: &mut Link, options: &LedgerOptions, network: &mut impl Network, now: Moment) -> Result<(), LinkError> {
    link.flush(network)?;
    let read = link.read(network, now);
    while let Some(message) = link.message()? {
        link.start(&message, options)?;
    }
    read?;
    link.flush(network)
}
