//! What a connection says at its start.

use std::fmt::Write;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::options::LedgerOptions;

/// What holds for the whole session. The last three make the engine notice a hub that is dead, whose locks then go.
const SESSION: [(&str, &str); 15] = [
    ("client_encoding", "UTF8"),
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("statement_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("standard_conforming_strings", "on"),
    // Rows that a policy hides are an error, and not a draw without winners.
    ("row_security", "off"),
    ("client_min_messages", "warning"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_user_timeout", "10000"),
    ("client_connection_check_interval", "1000"),
];

/// The first message: who connects, to what, and the session's settings.
pub(super) fn start_up(options: &LedgerOptions, out: &mut BytesMut) {
    let who = [
        ("user", options.user.as_str()),
        ("database", options.database.as_str()),
        ("application_name", options.name.as_str()),
    ];
    frontend::startup_message(who.into_iter().chain(SESSION), out)
        .expect("names without zero bytes, which Ledger checks");
}

/// Makes the draw and its agencies where there is no such draw, in one transaction. The numbers are the only parameters.
pub(super) fn make_draw(options: &LedgerOptions) -> String {
    let LedgerOptions { draw, winning_number, roster, .. } = options;
    let mut agencies = String::new();
    for agency in roster.ids() {
        let separator = if agencies.is_empty() { "" } else { "," };
        write!(agencies, "{separator}{agency}").expect("a String takes everything");
    }
    format!(
        "WITH d AS (INSERT INTO loteria.draws (draw, winning_number) VALUES ({draw}, {winning_number})
ON CONFLICT DO NOTHING RETURNING draw)
INSERT INTO loteria.agencies (draw, agency) SELECT d.draw, a FROM d, unnest('{{{agencies}}}'::int[]) AS a"
    )
}

/// Has the draw wait for a person. `why` is the hub's own words; they are added to those that are there.
pub(super) fn hold_draw(draw: i32, why: &str) -> String {
    let why = quoted(why);
    format!(
        "UPDATE loteria.draws SET held = concat_ws('; ', held, {why}) WHERE draw = {draw} AND (held IS NULL OR strpos(held, {why}) = 0)"
    )
}

/// A text as a literal of SQL; the engine's standard strings have no escapes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\0', ""))
}
