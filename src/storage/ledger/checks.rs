//! Whether an engine may be used: what is asked of it before the fence, and what its refusals mean.

use super::answers::{Columns, ServerError};
use super::options::{LedgerError, LedgerOptions, Replicas};
use super::stage::{LinkError, Stage};

/// What every engine can be asked. The answer is one row of texts.
pub(super) const SETTINGS: &str = "SELECT pg_is_in_recovery()::text, current_setting('server_version_num'), \
    current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding'), \
    current_setting('synchronous_commit'), current_setting('default_transaction_isolation'), \
    current_setting('synchronous_standby_names')";

/// Asked once the engine is known to be the leader.
pub(super) const FORMAT: &str = "SELECT version::text FROM loteria.format";

/// Asked before a hub makes the draw: what it needs of the schema and does not find there (columns with their types, keys, rights
/// of its role), `NULL` where nothing is missing; and whether it may not write.
pub(super) const NEEDS: &str = include_str!("needs.sql");

/// The oldest version that has all the session's settings.
const VERSION_MIN: u32 = 140_000;

/// Says what the engine is, for a person.
///
/// # Errors
/// The engine is no leader, or must not be used.
pub(super) fn settings(mut row: Columns<'_>, host: &str, options: &LedgerOptions) -> Result<String, LinkError> {
    let host = || host.to_owned();
    if row.text()? == "true" {
        return Err(LinkError::Standby);
    }
    let version = row.text()?.parse().unwrap_or(0_u32);
    if version < VERSION_MIN {
        return Err(LinkError::Mend(LedgerError::Version { host: host() }));
    }
    for (setting, wanted) in [("fsync", "on"), ("full_page_writes", "on"), ("server_encoding", "UTF8")] {
        let value = row.text()?;
        if value != wanted {
            let value = value.to_owned();
            return Err(LinkError::Mend(LedgerError::Setting { host: host(), setting, value, wanted }));
        }
    }
    // The start-up message sets them, and what is between hub and engine may drop that.
    for (setting, wanted) in [("synchronous_commit", "on"), ("default_transaction_isolation", "read committed")] {
        let value = row.text()?;
        if value != wanted {
            let value = value.to_owned();
            return Err(LinkError::Mend(LedgerError::Session { host: host(), setting, value, wanted }));
        }
    }
    let standbys = row.text()?;
    if standbys.is_empty() && options.replicas == Replicas::Required {
        return Err(LinkError::Mend(LedgerError::Replicas { host: host() }));
    }
    let (major, minor) = (version / 10_000, version % 10_000);
    let standbys = if standbys.is_empty() { "no standby that it shows" } else { standbys };
    Ok(format!("PostgreSQL {major}.{minor}, fsync and full_page_writes on, commits wait for {standbys}"))
}

/// # Errors
/// The schema has another format.
pub(super) fn format(mut row: Columns<'_>, host: &str, options: &LedgerOptions) -> Result<(), LinkError> {
    let format = row.text()?;
    if format == "1" {
        return Ok(());
    }
    let (host, database, format) = (host.to_owned(), options.database.clone(), format.to_owned());
    Err(LinkError::Mend(LedgerError::Format { host, database, format }))
}

/// # Errors
/// The schema is not whole, the role lacks a right, or the database takes no writes.
pub(super) fn needs(mut row: Columns<'_>, host: &str, options: &LedgerOptions) -> Result<(), LinkError> {
    let host = host.to_owned();
    if let Some(missing) = row.optional_text()? {
        let (database, missing) = (options.database.clone(), missing.to_owned());
        return Err(LinkError::Mend(LedgerError::Incomplete { host, database, missing }));
    }
    let value = row.text()?.to_owned();
    if value == "off" {
        return Ok(());
    }
    Err(LinkError::Mend(LedgerError::Setting { host, setting: "default_transaction_read_only", value, wanted: "off" }))
}

/// What an error at the start means.
pub(super) fn refusal(stage: Stage, error: ServerError, host: &str, options: &LedgerOptions) -> LinkError {
    let (host, reason) = (host.to_owned(), error.to_string());
    match (stage, error.code.as_str()) {
        (Stage::Authentication, code) if code.starts_with("28") => {
            LinkError::Mend(LedgerError::Credentials { host, user: options.user.clone(), reason })
        }
        (Stage::Authentication, "3D000") => LinkError::Mend(LedgerError::Database { host, reason }),
        // A setting of the session that it does not know.
        (Stage::Authentication, "42704") => LinkError::Mend(LedgerError::Version { host }),
        // A name that is not there, or a right that was not granted.
        (_, code) if code.starts_with("42") || code.starts_with("3F") => {
            LinkError::Mend(LedgerError::Schema { host, database: options.database.clone(), reason })
        }
        (_, _) => LinkError::Lost(reason),
    }
}
