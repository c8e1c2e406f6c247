//! The client's log lines.

use std::path::Path;
use std::time::Duration;

use log::{debug, error, info, warn};

use super::check::Check;
use super::job::Job;
use super::loss::{Kind, Loss};
use super::tally::Tally;
use super::upload::{Event, Failure, Stage};
use crate::config::client::ClientConfig;
use crate::config::format_duration;
use crate::logging::{CRITICAL, Value};
use crate::lottery::Bet;
use crate::wire::Dialect;

/// The lines of one agency.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    id: u32,
}

impl Report {
    /// The lines of agency `id`.
    pub fn new(id: u32) -> Report {
        Report { id }
    }

    pub fn started(self, config: &ClientConfig, job: &Job) {
        info!(
            "action: config | result: success | client_id: {} | server_address: {} | loop_amount: {} | \
             loop_period: {} | log_level: {}",
            self.id,
            Value(&config.server_address),
            config.loop_amount,
            format_duration(config.loop_period),
            config.log_level
        );
        for warning in &config.warnings {
            warn!("action: config | result: success | client_id: {} | warning: {}", self.id, Value(warning));
        }
        let (mode, from) = (job.mode().name(), Value(&config.address_from));
        match job {
            Job::Echo => {
                info!("action: mode | result: success | client_id: {} | address_from: {from} | mode: {mode}", self.id)
            }
            Job::Bet { dialect, .. } => info!(
                "action: mode | result: success | client_id: {} | address_from: {from} | mode: {mode} | protocol: {}",
                self.id,
                dialect.name()
            ),
            Job::Agency { dialect, data } => info!(
                "action: mode | result: success | client_id: {} | address_from: {from} | mode: {mode} | protocol: {} | \
                 data: {} | batch_max: {}",
                self.id,
                dialect.name(),
                Value(data.display()),
                config.batch_max_amount
            ),
        }
    }

    pub fn connected(self, address: &str) {
        debug!("action: connect | result: success | client_id: {} | server_address: {}", self.id, Value(address));
    }

    /// Logs a connection after attempts that were logged; `before` says whether there was one before them.
    pub fn connected_at_last(self, address: &str, before: bool) {
        let reason = if before { "connected again" } else { "connected at last" };
        let address = Value(address);
        info!(
            "action: connect | result: success | client_id: {} | server_address: {address} | reason: {reason}",
            self.id
        );
    }

    /// Logs what it may mean that the hub closes each connection without a reply.
    pub fn closed_unanswered(self, dialect: Dialect, has_tls: bool) {
        let tls = if has_tls { "have no TLS (leave out tls.ca)" } else { "require TLS (set tls.ca)" };
        let key = if dialect == Dialect::Echo { "ECHO" } else { "DIALECTS" };
        warn!(
            "action: connect | result: in_progress | client_id: {} | warning: the hub closes each connection without a \
             reply: it may {tls}, be full, or not serve {} ({key}); its log has the reason",
            self.id,
            dialect.name()
        );
    }

    /// Logs why no further connection makes sense.
    pub fn refused(self, address: &str, reason: &str) {
        error!(
            target: CRITICAL,
            "action: connect | result: fail | client_id: {} | server_address: {} | error: {}",
            self.id,
            Value(address),
            Value(reason)
        );
    }

    pub fn connecting_again(self, address: &str, reason: &str, pause: Duration) {
        info!(
            "action: connect | result: in_progress | client_id: {} | server_address: {} | reason: {} | retry_in: {}",
            self.id,
            Value(address),
            Value(reason),
            format_duration(pause)
        );
    }

    /// As [`connecting_again`](Self::connecting_again), for the first time in a row: also where the address comes from, and
    /// how long the client tries; `sooner` is how long at most where a name was never known.
    pub fn connecting_first(self, config: &ClientConfig, loss: &Loss, pause: Duration, sooner: Option<Duration>) {
        let nothing = if loss.kind == Kind::Refused { "nothing listens there, is the hub running? " } else { "" };
        info!(
            "action: connect | result: in_progress | client_id: {} | server_address: {} | reason: {} | retry_in: {} | \
             hint: {nothing}the address is from {}; the client tries for {}",
            self.id,
            Value(&config.server_address),
            Value(&loss.reason),
            format_duration(pause),
            Value(&config.address_from),
            match sooner {
                Some(limit) => format!("{} at most, as this name was never known", format_duration(limit)),
                None => format!("{} (patience)", format_duration(config.patience)),
            }
        );
    }

    /// As [`connecting_again`](Self::connecting_again), of a hub that cannot be reached for long; `left` is the time until
    /// the client gives up.
    pub fn connecting_still(self, address: &str, loss: &Loss, pause: Duration, left: Duration) {
        let hint = if loss.kind == Kind::Refused { "is the hub running? " } else { "" };
        warn!(
            "action: connect | result: in_progress | client_id: {} | server_address: {} | reason: {} | retry_in: {} | \
             warning: {hint}the client gives up in {}",
            self.id,
            Value(address),
            Value(&loss.reason),
            format_duration(pause),
            format_duration(left)
        );
    }

    pub fn unreachable(self, address: &str, reason: &str, given_up_after: Duration) {
        error!(
            target: CRITICAL,
            "action: connect | result: fail | client_id: {} | server_address: {} | error: {} | given_up_after: {}",
            self.id,
            Value(address),
            Value(reason),
            format_duration(given_up_after)
        );
    }

    pub fn echoed(self, message: &str) {
        info!("action: receive_message | result: success | client_id: {} | msg: {}", self.id, Value(message));
    }

    pub fn echoed_wrong(self, echo: &str) {
        error!(
            target: CRITICAL,
            "action: receive_message | result: fail | client_id: {} | msg: {} | error: the answer is not what was sent",
            self.id,
            Value(echo)
        );
    }

    pub fn loop_finished(self) {
        info!("action: loop_finished | result: success | client_id: {}", self.id);
    }

    pub fn bet_confirmed(self, bet: &Bet) {
        info!("action: apuesta_enviada | result: success | dni: {} | numero: {}", bet.document(), bet.number());
    }

    /// Logs, as the last line of mode `bet`, that the draw still waits for the agency.
    pub fn not_finished(self) {
        info!(
            "action: finish | result: in_progress | client_id: {} | reason: the agency has not finished: its draw needs \
             an upload in agency mode (with --protocol text, also after a bet in native)",
            self.id
        );
    }

    pub fn bet_refused(self, bet: &Bet, reason: &str) {
        error!(
            target: CRITICAL,
            "action: apuesta_enviada | result: fail | dni: {} | numero: {} | error: {}",
            bet.document(),
            bet.number(),
            Value(reason)
        );
    }

    /// Logs an event of an upload; `elapsed` is the time since it began.
    pub fn event(self, event: &Event, dialect: Dialect, elapsed: Duration) {
        let (id, dialect) = (self.id, dialect.name());
        match event {
            Event::Progress { batches, bets, .. } => {
                debug!("action: send_batch | result: success | client_id: {id} | batches: {batches} | bets: {bets}");
            }
            Event::Resumed { batches, bets, .. } => {
                info!("action: resume | result: success | client_id: {id} | batches: {batches} | bets: {bets}");
            }
            Event::Forgotten { next } => warn!(
                "action: resume | result: in_progress | client_id: {id} | \
                 warning: the hub no longer has what it acknowledged, and gets it again from batch {next} on"
            ),
            Event::MayRepeat { bets } => warn!(
                "action: send_batch | result: in_progress | client_id: {id} | bets: {bets} | warning: sent again, \
                 since its answer was lost; {dialect} cannot tell whether it is stored already, and may store it twice"
            ),
            Event::Full { reason, pause } => warn!(
                "action: send_batch | result: in_progress | client_id: {id} | reason: {} | retry_in: {}",
                Value(reason),
                format_duration(*pause)
            ),
            Event::AllSent { bets: 0, .. } => warn!(
                "action: bets_sent | result: success | client_id: {id} | batches: 0 | bets: 0 | \
                 warning: the file has no bets; the agency finishes without any"
            ),
            Event::AllSent { batches, bets } => info!(
                "action: bets_sent | result: success | client_id: {id} | batches: {batches} | bets: {bets} | elapsed: {}",
                format_duration(Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
            ),
            Event::Finished => debug!("action: finish | result: success | client_id: {id}"),
            // `awaits_draw` and `awaits_draw_still` log the first of these.
            Event::NotDrawn | Event::DrawWaits { .. } => {}
        }
    }

    /// Logs a file that was checked and has bad rows: the first of them, then what is wrong with the whole.
    pub fn checked_wrong(self, file: &Path, check: &Check) {
        let (id, file) = (self.id, Value(file.display()));
        for row in check.described() {
            error!("action: check | result: fail | client_id: {id} | file: {file} | error: {}", Value(row));
        }
        for guess in check.guesses() {
            warn!("action: check | result: fail | client_id: {id} | file: {file} | warning: {}", Value(guess));
        }
        let (bets, bad, more) = (check.bets(), check.bad(), check.not_described());
        error!(
            target: CRITICAL,
            "action: check | result: fail | client_id: {id} | file: {file} | bets: {bets} | bad_rows: {bad} | \
             not_shown: {more} | error: nothing is sent; client --check shows more rows, --no-check sends up to the first"
        );
    }

    pub fn checked(self, file: &Path, bets: u64) {
        let file = Value(file.display());
        debug!("action: check | result: success | client_id: {} | file: {file} | bets: {bets}", self.id);
    }

    pub fn checking(self, file: &Path, bets: u64) {
        let file = Value(file.display());
        info!("action: check | result: in_progress | client_id: {} | file: {file} | bets: {bets}", self.id);
    }

    pub fn no_bets(self, file: &Path) {
        error!(
            target: CRITICAL,
            "action: read_bets | result: fail | client_id: {} | file: {} | \
             error: there are no bets in it; with --empty (CLI_EMPTY=true) the agency finishes without any",
            self.id,
            Value(file.display())
        );
    }

    /// Logs how far a long upload has come.
    pub fn uploading(self, bets: u64, done: &str, rate: u64) {
        info!(
            "action: upload | result: in_progress | client_id: {} | bets: {bets} | done: {done} | rate: {rate}/s",
            self.id
        );
    }

    /// Logs what remains of an upload that ends early; `failed` says whether there is something to correct first.
    pub fn remains(self, tally: &Tally, dialect: Dialect, failed: bool) {
        let (id, bets, done, remains) = (self.id, tally.bets, tally.percent(), tally.remains(dialect, failed));
        warn!(
            "action: upload | result: in_progress | client_id: {id} | bets: {bets} | done: {done} | warning: {remains}"
        );
    }

    pub fn nothing_sent(self, batches: u64, bets: u64) {
        info!(
            "action: bets_sent | result: success | client_id: {} | batches: {batches} | bets: {bets} | \
             reason: the hub had every bet already, none was sent",
            self.id
        );
    }

    /// Logs how long the client has waited for the draw, and whom that waits for, where the hub says so.
    pub fn awaits_draw_still(self, waited: Duration, waits_for: Option<&str>) {
        info!(
            "action: consulta_ganadores | result: in_progress | client_id: {} | waited: {} | reason: {}",
            self.id,
            format_duration(waited),
            waits_for.unwrap_or("no winners yet, the draw may wait for other agencies")
        );
    }

    pub fn winners_written(self, file: &Path, count: usize) {
        let file = Value(file.display());
        info!(
            "action: write_winners | result: success | client_id: {} | file: {file} | cant_ganadores: {count}",
            self.id
        );
    }

    pub fn winners_unwritten(self, file: &Path, error: &std::io::Error) {
        error!(
            target: CRITICAL,
            "action: write_winners | result: fail | client_id: {} | file: {} | error: {}",
            self.id,
            Value(file.display()),
            Value(error)
        );
    }

    pub fn awaits_draw(self) {
        info!(
            "action: consulta_ganadores | result: in_progress | client_id: {} | reason: no winners yet, the draw may wait for other agencies",
            self.id
        );
    }

    pub fn winners(self, count: usize) {
        info!("action: consulta_ganadores | result: success | cant_ganadores: {count}");
    }

    pub fn winners_are(self, documents: &[String]) {
        for document in documents {
            info!("action: ganador | result: success | client_id: {} | dni: {}", self.id, Value(document));
        }
    }

    pub fn doubt(self, reason: &str) {
        error!(target: CRITICAL, "action: finish | result: fail | client_id: {} | error: {}", self.id, Value(reason));
    }

    pub fn failed(self, failure: &Failure) {
        let id = self.id;
        match failure {
            Failure::Bets(error) => {
                let line = error.line.map(|line| format!(" | line: {line}")).unwrap_or_default();
                error!(
                    target: CRITICAL,
                    "action: read_bets | result: fail | client_id: {id} | file: {}{line} | error: {}",
                    Value(&error.source_name),
                    Value(&error.reason)
                );
            }
            // `no_bets` logs it, which knows the file.
            Failure::Empty => {}
            Failure::Rejected { first_line, last_line, reason } => error!(
                target: CRITICAL,
                "action: send_batch | result: fail | client_id: {id} | lines: {first_line}-{last_line} | error: {}",
                Value(reason)
            ),
            Failure::Refused { stage, reason } => {
                let action = match stage {
                    Stage::Disconnected | Stage::Hello => "connect",
                    Stage::Skipping { .. } | Stage::Comparing => "resume",
                    Stage::Betting => "send_batch",
                    Stage::Finishing => "finish",
                    Stage::Querying => "consulta_ganadores",
                };
                error!(
                    target: CRITICAL,
                    "action: {action} | result: fail | client_id: {id} | error: {}",
                    Value(reason)
                );
            }
        }
    }

    pub fn cannot_start(self, error: &std::io::Error) {
        error!(target: CRITICAL, "action: start | result: fail | client_id: {} | error: {}", self.id, Value(error));
    }

    /// Logs that a resource is closed, at INFO after a signal, else at DEBUG.
    pub fn closed(self, what: &str, stopping: bool) {
        let level = if stopping { log::Level::Info } else { log::Level::Debug };
        log::log!(level, "action: close_{what} | result: success | client_id: {}", self.id);
    }

    pub fn stopped(self) {
        info!("action: shutdown | result: success | client_id: {}", self.id);
    }
}
