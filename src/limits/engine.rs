//! Bounds of a hub that shares a PostgreSQL with others.

use std::time::Duration;

/// How long a start waits for PostgreSQL. A service manager starts the hub again; a person sees soon what is wrong.
pub const ENGINE_START_MAX: Duration = Duration::from_secs(30);

/// How often a hub that shares a PostgreSQL reads what the others have done.
pub const ENGINE_SURVEY_PERIOD: Duration = Duration::from_secs(1);

/// How often it reads which other hubs there are.
pub const ENGINE_INSTANCES_PERIOD: Duration = Duration::from_secs(3);

/// How long PostgreSQL has not seen a hub that is not counted any more.
pub const ENGINE_HUB_GONE: Duration = Duration::from_secs(60);

/// Hubs that are reported at most, the last seen first.
pub const ENGINE_INSTANCES_MAX: i32 = 32;

/// How old the lease of an agency is that its hub renews, with the next survey.
pub const ENGINE_LEASE_RENEWAL: Duration = Duration::from_secs(5);

/// The longest time between two surveys of a hub that excludes: through a longer one others may not have renewed either.
pub const ENGINE_LEASE_GAP: Duration = Duration::from_secs(10);

/// How much longer than `ASIDE_AFTER` an agency must be gone to be excluded from a shared draw. A hub without PostgreSQL keeps
/// its connections for [`ASIDE_PARTS_AFTER`] behind that; then its clients find another hub, whose next survey has the lease.
pub const SHARED_LOSS_MARGIN: Duration = Duration::from_secs(50);

/// How long a turn waits that PostgreSQL has refused for a reason that only a person can mend.
pub const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// The pause between two hosts of PostgreSQL: a leader is found among three nodes within a second.
pub const ENGINE_HOST_PAUSE: Duration = Duration::from_millis(250);

/// How long a host of PostgreSQL has to answer a new connection, up to the point where commits may have to wait.
pub const ENGINE_START_PATIENCE: Duration = Duration::from_secs(3);

/// How long a command of the operator waits for PostgreSQL while nothing comes. A commit may wait for a standby.
pub const ENGINE_TOOL_PATIENCE: Duration = Duration::from_secs(60);

/// The silence of PostgreSQL, with turns in flight, after which the other hosts are asked whether they lead.
pub const ENGINE_SILENCE: Duration = Duration::from_secs(2);

/// The silence of PostgreSQL after which a second connection to the same host is tried: the network may have died without a
/// word. Not sooner: the fences of impatient connections wait for one another.
pub const ENGINE_SILENCE_LONG: Duration = Duration::from_secs(10);

/// How long PostgreSQL cannot be used before the connections are closed whose clients can go on at another hub: a failover
/// takes about as long, and is not worth a reconnection.
pub const ASIDE_PARTS_AFTER: Duration = Duration::from_secs(30);

/// The pause between tries to take the address again that was given up while PostgreSQL could not be used; and between looks for
/// connections whose clients can go on at another hub.
pub const ASIDE_RETRY: Duration = Duration::from_secs(1);

/// The longest message of PostgreSQL's that is believed, in bytes: the rows of one batch, or its winners. No dialect has a bet
/// whose row is longer than four times its bytes in the frame, whatever has to be quoted.
pub const ENGINE_MESSAGE_BYTES_MAX: usize = 4 * super::FRAME_BYTES_MAX;

/// Reasons to hold the draw that wait to be stored in it. The log has all, and with these the draw is held.
pub const ENGINE_HOLDS_MAX: usize = 64;

/// How often the log says that PostgreSQL cannot be used.
pub const ENGINE_LOG_PERIOD: Duration = Duration::from_secs(60);

// The agencies of a hub that PostgreSQL has lost are connected to another one, and their leases renewed, before they are excluded.
const _: () = assert!(
    ASIDE_PARTS_AFTER.as_secs() + ENGINE_LEASE_RENEWAL.as_secs() + ENGINE_LEASE_GAP.as_secs()
        < SHARED_LOSS_MARGIN.as_secs()
);
const _: () = assert!(ENGINE_SURVEY_PERIOD.as_secs() < ENGINE_LEASE_GAP.as_secs());
