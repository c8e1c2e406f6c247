//! What was sent on a connection and is not answered yet: the answers come in the same order, each up to a `ReadyForQuery`.

use std::collections::VecDeque;
use std::time::Duration;

use postgres_protocol::message::backend::{DataRowBody, Message};

use super::answers::{Columns, ServerError, Stored, rows_changed};
use super::stage::LinkError;
use crate::lottery::{AgencyId, Bet};
use crate::mutants::{self, Mutant};
use crate::storage::keep::Known;

/// A statement of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Agencies are locked and read, or only read.
    Agencies,
    /// Batches are read.
    Compare,
    /// The draw's row is read.
    Draw,
    /// Leases are renewed.
    Lease,
    /// The instances are read.
    Instances,
    /// Winners are read.
    Winners,
    /// The turn is written.
    Write,
    /// The draw is made, if it is due.
    Try,
    /// Something whose rows do not matter.
    Other,
}

/// What was sent, up to its `Sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A turn of the hub's.
    Turn,
    /// A turn that finds out what is stored.
    Look,
    /// A turn that reads all agencies, to learn what other instances have done.
    Survey,
    /// A try of the draw. It is no turn.
    Try,
    /// The draw is held. It is no turn.
    Hold,
}

/// Something sent, and what of its answer has come.
#[derive(Debug)]
pub(super) struct Sent {
    pub what: What,
    /// The number of its turn, if it is one.
    pub engine: i64,
    steps: &'static [Step],
    at: usize,
    pub answer: Answer,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Agencies, before the turn.
    pub known: Vec<Known>,
    pub stored: Vec<Stored>,
    /// The draw's row.
    pub draw: Option<DrawRow>,
    /// When the turn was begun that has renewed leases, in milliseconds of the engine's clock; and how many agencies it has excluded.
    pub leases: Option<(i64, i64)>,
    /// The instances; `None`: they were not asked for.
    pub instances: Option<Vec<InstanceRow>>,
    pub winners: Vec<(AgencyId, Vec<Bet>)>,
    /// Whether winners were asked for.
    pub has_winners: bool,
    /// How many instances' rows the turn has written: one, or none.
    pub written: Option<u64>,
    /// The draw was made by this.
    pub drew: bool,
    pub error: Option<ServerError>,
    /// The commit may be on this node alone, whatever the engine says behind it.
    pub doubt: Option<ServerError>,
}

/// The draw's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DrawRow {
    pub winning_number: i64,
    /// Why it is held, or how that begins.
    pub held: Option<String>,
    pub drawn: bool,
}

/// An instance's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstanceRow {
    pub here: bool,
    pub name: String,
    pub turn: i64,
    /// Since it was seen, by the engine's clock.
    pub seen_ago: Duration,
}

impl Sent {
    pub fn new(what: What, engine: i64, steps: &'static [Step]) -> Sent {
        let has_winners = steps.contains(&Step::Winners);
        let instances = steps.contains(&Step::Instances).then(Vec::new);
        Sent { what, engine, steps, at: 0, answer: Answer { has_winners, instances, ..Answer::default() } }
    }

    fn row(&mut self, row: &DataRowBody) -> Result<(), LinkError> {
        let mut columns = Columns::of(row);
        match self.steps.get(self.at) {
            Some(Step::Agencies) => self.answer.known.push(columns.known()?),
            Some(Step::Compare) => self.answer.stored.push(columns.stored()?),
            Some(Step::Draw) => {
                let (winning_number, held, drawn) = (columns.long()?, columns.optional_text()?, columns.flag()?);
                self.answer.draw = Some(DrawRow { winning_number, held: held.map(str::to_owned), drawn });
            }
            Some(Step::Lease) => self.answer.leases = Some((columns.long()?, columns.long()?)),
            Some(Step::Instances) => {
                let (here, name, turn) = (columns.flag()?, columns.text()?.to_owned(), columns.long()?);
                // Clocks of engines go back now and then.
                let seen_ago = Duration::from_millis(columns.long()?.try_into().unwrap_or(0));
                self.answer.instances.get_or_insert_default().push(InstanceRow { here, name, turn, seen_ago });
            }
            Some(Step::Winners) => {
                let (agency, bets) = columns.winners()?;
                match self.answer.winners.last_mut().filter(|(last, _)| *last == agency) {
                    Some((_, winners)) => winners.extend(bets),
                    None => self.answer.winners.push((agency, bets)),
                }
            }
            Some(Step::Try) => self.answer.drew = true,
            Some(Step::Write | Step::Other) => {}
            None => return Err(unasked()),
        }
        Ok(())
    }

    fn complete(&mut self, tag: &str) -> Result<(), LinkError> {
        match self.steps.get(self.at) {
            Some(Step::Write) => self.answer.written = rows_changed(tag),
            Some(_) => {}
            None => return Err(unasked()),
        }
        self.at += 1;
        Ok(())
    }
}

/// What a message on an open connection leads to.
#[derive(Debug)]
pub(super) enum Came {
    /// Nothing yet.
    Nothing,
    /// The oldest of what was sent is answered.
    Answer(Box<Sent>),
    /// Another instance says that something has happened to the draw.
    Notification,
}

/// Takes a message for the oldest of what was sent.
///
/// # Errors
/// It is none that may come now: the connection is to be dropped.
#[expect(clippy::wildcard_enum_match_arm, reason = "PostgreSQL may send any message, and the codec may learn more")]
pub(super) fn take(wire: &mut VecDeque<Sent>, message: &Message) -> Result<Came, LinkError> {
    match message {
        Message::NotificationResponse(_) => return Ok(Came::Notification),
        Message::ParameterStatus(_) => return Ok(Came::Nothing),
        Message::ReadyForQuery(_)
            if mutants::is(Mutant::AnswerBeforeReady)
                && wire.front().is_none_or(|sent| sent.answer.error.is_none()) =>
        {
            return Ok(Came::Nothing);
        }
        _ => {}
    }
    let Some(sent) = wire.front_mut() else {
        return Err(match message {
            // The engine says why it ends the connection.
            Message::ErrorResponse(body) => LinkError::Lost(ServerError::read(body.fields())?.to_string()),
            _ => unasked(),
        });
    };
    match message {
        Message::BindComplete => {}
        Message::DataRow(row) => sent.row(row)?,
        Message::CommandComplete(body) => {
            sent.complete(body.tag()?)?;
            if mutants::is(Mutant::AnswerBeforeReady) && sent.at == sent.steps.len() {
                return Ok(answered(wire));
            }
        }
        Message::ErrorResponse(body) => {
            let error = ServerError::read(body.fields())?;
            if error.ends_the_connection() {
                return Err(LinkError::Lost(error.to_string()));
            }
            sent.answer.error = Some(error);
        }
        Message::NoticeResponse(body) => {
            let notice = ServerError::read(body.fields())?;
            if notice.is_doubt() {
                sent.answer.doubt = Some(notice);
            }
        }
        Message::ReadyForQuery(body) if body.status() == b'I' => {
            if sent.answer.error.is_none() && sent.at != sent.steps.len() {
                return Err(unasked());
            }
            return Ok(answered(wire));
        }
        _ => return Err(unasked()),
    }
    Ok(Came::Nothing)
}

/// The oldest is answered.
fn answered(wire: &mut VecDeque<Sent>) -> Came {
    wire.pop_front().map_or(Came::Nothing, |sent| Came::Answer(Box::new(sent)))
}

fn unasked() -> LinkError {
    LinkError::Lost("PostgreSQL has answered what was not asked".to_owned())
}
