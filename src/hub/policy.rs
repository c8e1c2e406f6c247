//! What the operator chose, as the hub uses it.

use std::time::Duration;

use crate::lottery::AgencyId;
use crate::wire::Dialect;

/// What happens to a query that comes before the draw, in dialects that document both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyQuery {
    /// Its connection waits for the draw.
    Park,
    /// It is answered "not yet"; the client asks again.
    Reject,
}

/// What happens to an agency that was lost between its first bet and its finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAgencyLoss {
    /// The draw waits for it.
    Wait,
    /// After `LOSS_GRACE` it is excluded from the draw.
    Exclude,
}

/// The hub's configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `EARLY_QUERY`.
    pub early_query: EarlyQuery,
    /// `ON_AGENCY_LOSS`.
    pub on_agency_loss: OnAgencyLoss,
    /// `LOSS_GRACE`.
    pub loss_grace: Duration,
    /// `UNNUMBERED_AGENCIES`: ids for connections of the `csv` dialect; empty means all of the draw's.
    pub unnumbered_agencies: Vec<AgencyId>,
    /// `MAX_CONNECTIONS`.
    pub connections_max: usize,
    /// `MAX_FRAME`, in bytes.
    pub frame_bytes_max: usize,
    /// `HANDSHAKE_TIMEOUT`.
    pub handshake_timeout: Duration,
    /// `FRAME_TIMEOUT`.
    pub frame_timeout: Duration,
    /// `IDLE_TIMEOUT`.
    pub idle_timeout: Duration,
    /// `WRITE_TIMEOUT`.
    pub write_timeout: Duration,
    /// `ECHO`.
    pub echo: bool,
    /// `DIALECTS`: those in which agencies are served.
    pub dialects: Vec<Dialect>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            early_query: EarlyQuery::Park,
            on_agency_loss: OnAgencyLoss::Wait,
            loss_grace: Duration::from_secs(10),
            unnumbered_agencies: Vec::new(),
            connections_max: 10_000,
            frame_bytes_max: 1 << 20,
            handshake_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
            echo: true,
            dialects: Dialect::ALL.to_vec(),
        }
    }
}
