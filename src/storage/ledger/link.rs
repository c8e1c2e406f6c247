//! One connection to the engine: its bytes, and its start up to the fence.
//!
//! The steps of the start wait for one another; there is no hurry. After the fence the connection only carries bytes, and
//! the lane says what they are.

use std::io;

use bytes::{Buf, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, Header, Message};
use postgres_protocol::message::frontend;

use super::answers::{Columns, ServerError};
use super::network::{LinkId, Network};
use super::options::{LedgerError, LedgerOptions};
use super::stage::{LinkError, Stage};
use super::{checks, start, statements};
use crate::limits;
use crate::timers::Moment;

/// Bytes that one read takes. Answers are short, but for the winners of a draw.
const READ_BYTES: usize = 64 * 1024;

/// What a fence has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fenced {
    pub epoch: i64,
    /// The last turn of this instance that is committed.
    pub turn: i64,
}

/// One connection.
pub(super) struct Link {
    id: LinkId,
    pub host: usize,
    pub stage: Stage,
    pub began: Moment,
    /// When bytes came last.
    pub heard: Moment,
    pub out: BytesMut,
    incoming: BytesMut,
    scratch: Box<[u8]>,
    scram: Option<ScramSha256>,
    /// The engine has asked for a proof, and has not given its own yet.
    unproven: bool,
    fenced: Option<Fenced>,
    answered: bool,
    /// What the engine is, for a person.
    described: String,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("host", &self.host).field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Link {
    /// Begins a connection.
    ///
    /// # Errors
    /// The system refuses.
    pub fn begin(network: &mut impl Network, host: usize, options: &LedgerOptions, now: Moment) -> io::Result<Link> {
        let id = network.connect(host)?;
        let mut out = BytesMut::new();
        start::start_up(options, &mut out);
        Ok(Link {
            id,
            host,
            stage: Stage::Authentication,
            began: now,
            heard: now,
            out,
            incoming: BytesMut::new(),
            scratch: vec![0; READ_BYTES].into(),
            scram: None,
            unproven: false,
            fenced: None,
            answered: false,
            described: String::new(),
        })
    }

    /// Writes what is not sent yet, as far as the network takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self, network: &mut impl Network) -> Result<(), LinkError> {
        while !self.out.is_empty() {
            match network.write(self.id, &self.out)? {
                Some(written) => self.out.advance(written),
                None => break,
            }
        }
        Ok(())
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// The connection is lost. Messages that came before are still there.
    pub fn read(&mut self, network: &mut impl Network, now: Moment) -> Result<(), LinkError> {
        while self.read_part(network, now)? {}
        Ok(())
    }

    /// Reads a piece of what has come, so that the rest waits in the network; says whether there was one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_part(&mut self, network: &mut impl Network, now: Moment) -> Result<bool, LinkError> {
        match network.read(self.id, &mut self.scratch)? {
            Some(0) => Err(LinkError::Lost("PostgreSQL has ended the connection".to_owned())),
            Some(bytes) => {
                self.heard = now;
                self.incoming.extend_from_slice(&self.scratch[..bytes]);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The next message that has come whole.
    ///
    /// # Errors
    /// It is none of PostgreSQL's.
    pub fn message(&mut self) -> Result<Option<Message>, LinkError> {
        if let Some(header) = Header::parse(&self.incoming)?
            && usize::try_from(header.len()).is_ok_and(|length| length > limits::ENGINE_MESSAGE_BYTES_MAX)
        {
            return Err(LinkError::Lost("what answers there is no PostgreSQL".to_owned()));
        }
        Ok(Message::parse(&mut self.incoming)?)
    }

    /// Goes on with the start; called once for each message until the stage is [`Stage::Open`].
    ///
    /// # Errors
    /// The connection cannot be used.
    #[expect(clippy::wildcard_enum_match_arm, reason = "PostgreSQL may send any message, and the codec may learn more")]
    pub fn start(&mut self, message: &Message, options: &LedgerOptions) -> Result<(), LinkError> {
        match message {
            Message::ErrorResponse(body) => {
                let error = ServerError::read(body.fields())?;
                Err(checks::refusal(self.stage, error, &options.hosts[self.host], options))
            }
            // The fence's commit may have been cut short.
            Message::NoticeResponse(body) if self.stage == Stage::Fence => {
                let notice = ServerError::read(body.fields())?;
                if notice.is_doubt() { Err(LinkError::Lost(notice.to_string())) } else { Ok(()) }
            }
            Message::DataRow(row) => {
                self.answered = true;
                self.row(row, options)
            }
            Message::ReadyForQuery(_) => self.step(options),
            Message::NoticeResponse(_) | Message::ParameterStatus(_) => Ok(()),
            message if self.stage == Stage::Authentication => self.authenticate(message, options),
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "PostgreSQL may send any message, and the codec may learn more")]
    fn authenticate(&mut self, message: &Message, options: &LedgerOptions) -> Result<(), LinkError> {
        let host = || options.hosts[self.host].clone();
        let refused = |method| Err(LinkError::Mend(LedgerError::Authentication { host: host(), method }));
        match message {
            Message::AuthenticationOk if self.unproven => {
                Err(LinkError::Lost("what answers there does not know the password's proof".to_owned()))
            }
            Message::AuthenticationSasl(_) => {
                let Some(password) = &options.password else {
                    let reason = "it asks for a password, and none is configured".to_owned();
                    let user = options.user.clone();
                    return Err(LinkError::Mend(LedgerError::Credentials { host: host(), user, reason }));
                };
                let scram = ScramSha256::new(&password.0, ChannelBinding::unsupported());
                frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut self.out)?;
                (self.scram, self.unproven) = (Some(scram), true);
                Ok(())
            }
            Message::AuthenticationSaslContinue(body) => {
                let Some(scram) = &mut self.scram else { return refused("an unknown method") };
                scram.update(body.data())?;
                Ok(frontend::sasl_response(scram.message(), &mut self.out)?)
            }
            Message::AuthenticationSaslFinal(body) => {
                let Some(mut scram) = self.scram.take() else { return refused("an unknown method") };
                scram.finish(body.data())?;
                self.unproven = false;
                Ok(())
            }
            Message::AuthenticationCleartextPassword => refused("clear text"),
            Message::AuthenticationMd5Password(_) => refused("MD5"),
            Message::AuthenticationGss
            | Message::AuthenticationSspi
            | Message::AuthenticationKerberosV5
            | Message::AuthenticationScmCredential
            | Message::AuthenticationGssContinue(_) => refused("a method that the hub does not have"),
            _ => Ok(()),
        }
    }

    fn row(&mut self, row: &DataRowBody, options: &LedgerOptions) -> Result<(), LinkError> {
        let mut columns = Columns::of(row);
        match self.stage {
            Stage::Checks => {
                self.described = checks::settings(columns, &options.hosts[self.host], options)?;
                Ok(())
            }
            Stage::Format => checks::format(columns, &options.hosts[self.host], options),
            Stage::Needs => checks::needs(columns, &options.hosts[self.host], options),
            Stage::Fence => {
                self.fenced = Some(Fenced { epoch: columns.long()?, turn: columns.long()? });
                Ok(())
            }
            Stage::Authentication | Stage::Checked | Stage::Draw | Stage::Prepare | Stage::Listen | Stage::Open => {
                Ok(())
            }
        }
    }

    /// A step of the start is done: the next one is sent.
    fn step(&mut self, options: &LedgerOptions) -> Result<(), LinkError> {
        let answered = std::mem::take(&mut self.answered);
        self.stage = match self.stage {
            Stage::Authentication => {
                frontend::query(checks::SETTINGS, &mut self.out)?;
                Stage::Checks
            }
            Stage::Checks => {
                frontend::query(checks::FORMAT, &mut self.out)?;
                Stage::Format
            }
            Stage::Format if !answered => {
                let (host, database) = (options.hosts[self.host].clone(), options.database.clone());
                return Err(LinkError::Mend(LedgerError::Format { host, database, format: "none".to_owned() }));
            }
            Stage::Format => Stage::Checked,
            Stage::Needs => {
                frontend::query(&start::make_draw(options), &mut self.out)?;
                Stage::Draw
            }
            Stage::Draw => {
                statements::prepare_all(&mut self.out);
                Stage::Prepare
            }
            Stage::Prepare => {
                frontend::query("LISTEN loteria", &mut self.out)?;
                Stage::Listen
            }
            Stage::Listen => {
                statements::fence(&options.instance, &options.name, &mut self.out);
                Stage::Fence
            }
            Stage::Fence if self.fenced.is_some() => Stage::Open,
            Stage::Checked | Stage::Fence | Stage::Open => {
                return Err(LinkError::Lost("PostgreSQL has answered what was not asked".to_owned()));
            }
        };
        Ok(())
    }

    /// Has a connection that is [`Stage::Checked`] go on to its fence.
    ///
    /// # Errors
    /// None that can happen: names are checked before.
    pub fn go_ahead(&mut self) -> Result<(), LinkError> {
        if self.stage == Stage::Checked {
            frontend::query(checks::NEEDS, &mut self.out)?;
            self.stage = Stage::Needs;
        }
        Ok(())
    }

    /// What the engine is, once the stage is [`Stage::Checked`].
    pub fn described(&self) -> &str {
        &self.described
    }

    /// What the fence has found, once the stage is [`Stage::Open`].
    pub fn fenced(&self) -> Option<Fenced> {
        self.fenced.filter(|_| self.stage == Stage::Open)
    }

    /// Ends it, with a word to the engine where that can be said.
    pub fn close(mut self, network: &mut impl Network) {
        if self.stage == Stage::Open && self.out.is_empty() {
            frontend::terminate(&mut self.out);
            let _the_end_is_noticed_anyhow = self.flush(network);
        }
        network.close(self.id);
    }
}
