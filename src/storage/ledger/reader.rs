//! A connection of the operator's commands: plain statements, one after another, and rows that come as fast as they are taken.
//!
//! It begins as a hub's does, up to the checks of the engine. It makes no draw and begins no epoch.

#![allow(clippy::wildcard_enum_match_arm, reason = "of the codec's many messages few matter")]

use std::fmt;
use std::time::Duration;

use bytes::Buf;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};

use super::answers::{Columns, ServerError};
use super::link::Link;
use super::network::Waiting;
use super::options::{LedgerError, LedgerOptions};
use super::stage::{LinkError, Stage};
use super::tool_error::EngineError;
use crate::limits;
use crate::timers::Moment;

/// A command has no clock: it counts the waits in which nothing came.
fn no_time() -> Moment {
    Moment::default()
}

/// How long one wait is.
const STEP: Duration = Duration::from_secs(1);

/// Bytes that wait to be sent before a copy stops for the network.
const OUT_BYTES_MAX: usize = 1024 * 1024;

/// Differs from a hub's session: the reader of the rows may pause, for minutes.
const SESSION: &str = "SET tcp_user_timeout = 0; SET idle_in_transaction_session_timeout = '5min'";

/// Assigns the transaction a number and writes to the log, so that its commit waits for the standbys: when it is answered,
/// all that was read before is as durable as the engine makes it. Everyone may call the function.
const CONFIRM: &str = "SELECT pg_logical_emit_message(true, 'loteria', 'read')::text";

/// A connection to the leader that has passed the checks of a hub's start.
pub struct Reader<N: Waiting> {
    network: N,
    options: LedgerOptions,
    link: Link,
    /// Why the last statement's commit may be on one node alone.
    doubt: Option<String>,
}

impl<N: Waiting> fmt::Debug for Reader<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("link", &self.link).finish_non_exhaustive()
    }
}

impl<N: Waiting> Reader<N> {
    /// Connects to the first host that is a leader. Each host is tried once.
    ///
    /// # Errors
    /// No host is a leader that can be used. A person has to mend what the last one that refused says; else the reason of the last
    /// one.
    pub fn connect(options: LedgerOptions, mut network: N) -> Result<Reader<N>, EngineError> {
        options.check().map_err(EngineError::Mend)?;
        let (mut last, mut refused) = (EngineError::Away("[POSTGRES] HOSTS names none".to_owned()), None);
        for host in 0..options.hosts.len() {
            match start(&mut network, host, &options) {
                Ok(link) => {
                    let mut reader = Reader { network, options, link, doubt: None };
                    reader.run(SESSION)?;
                    return Ok(reader);
                }
                // It may be a standby that does not have yet what the leader has.
                Err(LinkError::Mend(error)) => refused = Some(EngineError::Mend(error)),
                Err(LinkError::Refused(reason)) => {
                    let host = options.hosts[host].clone();
                    refused = Some(EngineError::Mend(LedgerError::Encryption { host, reason }));
                }
                Err(error) => last = EngineError::Away(format!("{}: {error}", options.hosts[host])),
            }
        }
        Err(refused.unwrap_or(last))
    }

    /// Which draw, on which number, of which agencies.
    pub fn options(&self) -> &LedgerOptions {
        &self.options
    }

    /// Runs statements without parameters and gives the rows that they have to `take`. Columns are texts.
    pub(super) fn query<E: From<EngineError>>(
        &mut self,
        sql: &str,
        mut take: impl FnMut(Columns<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.send(sql)?;
        let mut failed = None;
        loop {
            match self.next()? {
                Message::DataRow(row) => take(Columns::of(&row))?,
                Message::ErrorResponse(body) => {
                    let error = ServerError::read(body.fields()).map_err(EngineError::from)?;
                    if error.ends_the_connection() {
                        return Err(EngineError::from(error).into());
                    }
                    failed = Some(error);
                }
                Message::NoticeResponse(body) => {
                    let notice = ServerError::read(body.fields()).map_err(EngineError::from)?;
                    if notice.is_doubt() {
                        self.doubt = Some(notice.to_string());
                    }
                }
                Message::ReadyForQuery(_) => break,
                _ => {}
            }
        }
        failed.map_or(Ok(()), |error| Err(EngineError::from(error).into()))
    }

    /// Runs statements whose rows do not matter.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), EngineError> {
        self.query(sql, |_| Ok(()))
    }

    /// Runs a statement whose effect must be committed when this returns.
    pub(super) fn commit(&mut self, sql: &str) -> Result<(), EngineError> {
        let committed = self.run(sql);
        match (committed, self.doubt.take()) {
            // The wait for the standbys was cut short.
            (Ok(()), Some(doubt)) => Err(EngineError::InDoubt(doubt)),
            (Err(EngineError::Away(reason)), _) => Err(EngineError::InDoubt(reason)),
            (committed, _) => committed,
        }
    }

    /// All that was read before is as durable as the engine makes it.
    pub(super) fn confirm(&mut self) -> Result<(), EngineError> {
        let confirmed = self.commit(CONFIRM);
        let Err(EngineError::InDoubt(reason)) = confirmed else { return confirmed };
        Err(EngineError::Away(format!("what was read may be on one node alone: {reason}")))
    }

    /// Begins a copy from here to the engine.
    pub(super) fn begin_copy(&mut self, sql: &str) -> Result<(), EngineError> {
        self.send(sql)?;
        loop {
            match self.next()? {
                Message::CopyInResponse(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(ServerError::read(body.fields())?.into()),
                _ => {}
            }
        }
    }

    /// Sends bytes of a copy. It waits while the engine is behind.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        CopyData::new(bytes)?.write(&mut self.link.out);
        let mut silent = Duration::ZERO;
        while self.link.out.remaining() > OUT_BYTES_MAX {
            let before = self.link.out.remaining();
            self.take_refusal()?;
            self.link.flush(&mut self.network)?;
            if self.link.out.remaining() == before {
                self.wait(&mut silent)?;
            }
        }
        Ok(())
    }

    /// An error that came while a copy is sent.
    fn take_refusal(&mut self) -> Result<(), EngineError> {
        while self.link.read_part(&mut self.network, no_time())? {}
        while let Some(message) = self.link.message()? {
            if let Message::ErrorResponse(body) = message {
                return Err(ServerError::read(body.fields())?.into());
            }
        }
        Ok(())
    }

    /// Ends a copy.
    pub(super) fn end_copy(&mut self) -> Result<(), EngineError> {
        frontend::copy_done(&mut self.link.out);
        loop {
            match self.next()? {
                Message::ErrorResponse(body) => return Err(ServerError::read(body.fields())?.into()),
                Message::ReadyForQuery(_) => return Ok(()),
                _ => {}
            }
        }
    }

    fn send(&mut self, sql: &str) -> Result<(), EngineError> {
        self.doubt = None;
        frontend::query(sql, &mut self.link.out)?;
        Ok(())
    }

    /// The next message. No more is read before it is taken, so that little memory is used.
    fn next(&mut self) -> Result<Message, EngineError> {
        let mut silent = Duration::ZERO;
        loop {
            if let Some(message) = self.link.message()? {
                return Ok(message);
            }
            if !self.link.read_part(&mut self.network, no_time())? {
                self.link.flush(&mut self.network)?;
                self.wait(&mut silent)?;
            }
        }
    }

    fn wait(&mut self, silent: &mut Duration) -> Result<(), EngineError> {
        if self.network.wait_ready(STEP)? {
            *silent = Duration::ZERO;
        } else {
            *silent += STEP;
        }
        if *silent >= limits::ENGINE_TOOL_PATIENCE {
            let host = &self.options.hosts[self.link.host];
            return Err(EngineError::Away(format!("{host}: it does not answer")));
        }
        Ok(())
    }
}

impl<N: Waiting> Drop for Reader<N> {
    fn drop(&mut self) {
        if self.link.out.is_empty() {
            frontend::terminate(&mut self.link.out);
            let _the_end_is_noticed_anyhow = self.link.flush(&mut self.network);
        }
    }
}

/// Connects to a host, up to the checks.
fn start<N: Waiting>(network: &mut N, host: usize, options: &LedgerOptions) -> Result<Link, LinkError> {
    let mut link = Link::begin(network, host, options, no_time())?;
    match until_checked(&mut link, network, options) {
        Ok(()) => Ok(link),
        Err(error) => {
            link.close(network);
            Err(error)
        }
    }
}

fn until_checked<N: Waiting>(link: &mut Link, network: &mut N, options: &LedgerOptions) -> Result<(), LinkError> {
    let mut silent = Duration::ZERO;
    loop {
        let came = link.read_part(network, no_time())?;
        while let Some(message) = link.message()? {
            link.start(&message, options)?;
        }
        link.flush(network)?;
        if link.stage == Stage::Checked {
            return Ok(());
        }
        if !came && !network.wait_ready(STEP)? {
            silent += STEP;
        }
        if silent >= limits::ENGINE_START_PATIENCE {
            return Err(LinkError::Lost("it does not answer".to_owned()));
        }
    }
}
