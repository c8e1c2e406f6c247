//! What a ledger is told at its start, and why it may not start.

use std::fmt;
use std::time::Duration;

use crate::lottery::{AgencyId, Roster};

/// What is known of the engine's standbys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// The engine must say that commits wait for a standby.
    Required,
    /// It has them and does not show it, as managed services do.
    Trusted,
    /// There is one node, and its loss is the loss of the bets.
    None,
}

/// A password; it is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a [`Ledger`](super::Ledger) is told at its start.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The hosts as a person wrote them, for messages; the network knows the addresses by the same index. At least one.
    pub hosts: Vec<String>,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password; `None`: the engine must not ask for one.
    pub password: Option<Password>,
    /// Which draw of the engine's.
    pub draw: i32,
    /// Bets on this number are winners. It cannot change after the draw's first start.
    pub winning_number: u32,
    /// The agencies of the draw; they cannot change after its first start.
    pub roster: Roster,
    /// Tells this run from every other one: random.
    pub instance: [u8; 16],
    /// The instance's name, for people who look at the table of instances.
    pub name: String,
    /// What is required of standbys.
    pub replicas: Replicas,
    /// Turns under way at once; at least one.
    pub in_flight: usize,
    /// How long an agency with bets is at no instance before it is excluded from the draw; `None`: the draw waits for it.
    pub exclude_after: Option<Duration>,
}

impl LedgerOptions {
    /// Checks what needs no connection.
    ///
    /// # Errors
    /// An agency's number has no place in the engine's tables.
    pub fn check(&self) -> Result<(), LedgerError> {
        let too_high = self.roster.ids().iter().find(|agency| i32::try_from(agency.0).is_err());
        too_high.map_or(Ok(()), |agency| Err(LedgerError::AgencyTooHigh(agency.0)))
    }

    /// Compares the draw that the engine has with this hub's: all hubs of a draw have the same number and agencies. `agencies` are
    /// ascending.
    ///
    /// # Errors
    /// It has another winning number, or other agencies.
    pub(super) fn check_draw(&self, winning_number: i64, agencies: &[AgencyId]) -> Result<(), LedgerError> {
        let (draw, roster) = (self.draw, &self.roster);
        if winning_number != i64::from(self.winning_number) {
            return Err(LedgerError::WinningNumber { draw, stored: winning_number, ours: self.winning_number });
        }
        if agencies != roster.ids() {
            let stored = roster_of(agencies.iter().copied());
            return Err(LedgerError::Roster { draw, stored, ours: roster.to_string() });
        }
        Ok(())
    }
}

/// Agencies as `AGENCIES` has them.
pub(super) fn roster_of(ids: impl Iterator<Item = AgencyId>) -> String {
    let text: Vec<String> = ids.map(|id| format!("{id}-{id}")).collect();
    Roster::parse(&text.join(",")).map_or_else(|_| "none".to_owned(), |roster| roster.to_string())
}

/// Why a ledger cannot be used; a person has to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The engine refuses the user.
    #[error("{host}: PostgreSQL refuses user '{user}': {reason}: look at USER and PASSWORD_FILE of [POSTGRES]")]
    Credentials {
        /// Which host.
        host: String,
        /// The role.
        user: String,
        /// What it says.
        reason: String,
    },
    /// The engine asks for the password in a way that gives it away.
    #[error("{host}: PostgreSQL asks for the password as {method}: set scram-sha-256 in its pg_hba.conf")]
    Authentication {
        /// Which host.
        host: String,
        /// How it asks.
        method: &'static str,
    },
    /// No encrypted connection can be made: a certificate is refused, or the engine has none.
    #[error("{host}: no TLS to PostgreSQL: {reason}: look at TLS, CA, CERT and KEY of [POSTGRES]")]
    Encryption {
        /// Which host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such database.
    #[error("{host}: {reason}: look at DATABASE of [POSTGRES]")]
    Database {
        /// Which host.
        host: String,
        /// What it says.
        reason: String,
    },
    /// The schema is missing, or may not be used.
    #[error(
        "{host}: database '{database}' is not ready: {reason}: pipe the output of server --schema into psql there; its end has the grants of the hubs' role"
    )]
    Schema {
        /// Which host.
        host: String,
        /// Which database.
        database: String,
        /// What it says.
        reason: String,
    },
    /// The schema, or a right of the role, is not whole.
    #[error(
        "{host}: the schema in database '{database}' lacks {missing}: add it as server --schema prints it; its end has the grants of the hubs' role"
    )]
    Incomplete {
        /// Which host.
        host: String,
        /// Which database.
        database: String,
        /// What a hub needs and did not find.
        missing: String,
    },
    /// The schema is another version's.
    #[error("{host}: the schema in database '{database}' has format {format}, and this hub knows format 1")]
    Format {
        /// Which host.
        host: String,
        /// Which database.
        database: String,
        /// What it has.
        format: String,
    },
    /// The engine is too old.
    #[error("{host}: PostgreSQL is too old: at least version 14 is needed")]
    Version {
        /// Which host.
        host: String,
    },
    /// A setting without which what is acknowledged may be lost.
    #[error("{host}: PostgreSQL has {setting} = {value}: it must be {wanted}")]
    Setting {
        /// Which host.
        host: String,
        /// Which setting.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A setting that the hub's sessions need, and that this one does not have.
    #[error(
        "{host}: {setting} is {value} although the hub asks for {wanted}: what is between them drops that, as a connection pooler does; let the hub connect to PostgreSQL itself"
    )]
    Session {
        /// Which host.
        host: String,
        /// Which setting.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Commits wait for no standby.
    #[error(
        "{host}: PostgreSQL waits for no standby (synchronous_standby_names is empty): set it, or say in [POSTGRES] REPLICAS = trusted where a service has standbys without showing it, or none for one node"
    )]
    Replicas {
        /// Which host.
        host: String,
    },
    /// The draw was made on another winning number.
    #[error(
        "draw {draw} has winning number {stored}, and this hub's WINNING_NUMBER is {ours}: all hubs need the same, or another DRAW"
    )]
    WinningNumber {
        /// Which draw.
        draw: i32,
        /// What the engine has.
        stored: i64,
        /// What this hub has.
        ours: u32,
    },
    /// The draw has other agencies.
    #[error(
        "draw {draw} has agencies {stored}, and this hub's AGENCIES are {ours}: all hubs need the same, or another DRAW"
    )]
    Roster {
        /// Which draw.
        draw: i32,
        /// What the engine has.
        stored: String,
        /// What this hub has.
        ours: String,
    },
    /// A person has deleted rows of the draw while hubs are at work.
    #[error("rows of draw {draw} were deleted: {what} is not there any more")]
    Deleted {
        /// Which draw.
        draw: i32,
        /// The draw itself, or one of its agencies.
        what: String,
    },
    /// An agency's number has no place in the engine's tables.
    #[error(
        "agency {0} has a number over 2147483647, which [POSTGRES] cannot store: give it another number in AGENCIES"
    )]
    AgencyTooHigh(u32),
}
