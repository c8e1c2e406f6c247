//! The connection to PostgreSQL, for the commands that read or write a draw there.

use loteria::config::{ConfigError, LookedUp, Standbys};
use loteria::operator::{Failure, Shared, Source, Stored};
use loteria::reactor::{EngineHost, EngineNetwork, EngineTls};
use loteria::storage::{EngineError, LedgerOptions, Password, Reader, Replicas};
use loteria::system::run_id;

/// A connection to the draw's leader.
pub type EngineReader = Reader<EngineNetwork>;

/// Connects to the leader. `writes`: what is committed must have the standbys that the configuration requires.
pub fn connect(shared: &Shared, writes: bool) -> Result<EngineReader, Failure> {
    let Shared { postgres, winning_number, roster } = shared;
    let LookedUp { found, missing } = postgres.look_up().map_err(|why| Failure::from(EngineError::Away(why)))?;
    let hosts = found.iter().map(|(host, _)| host.to_string()).collect();
    let addresses = found.into_iter().map(|(host, address)| EngineHost { address, name: host.name }).collect();
    let tls = postgres.tls.as_ref().map(|tls| EngineTls::load(&tls.ca, tls.own.as_ref())).transpose();
    let tls = tls.map_err(|error| ConfigError(format!("[POSTGRES] {error}")))?;
    let network = EngineNetwork::new(addresses, tls).map_err(EngineError::from)?;
    let options = LedgerOptions {
        hosts,
        database: postgres.database.clone(),
        user: postgres.user.clone(),
        password: postgres.password()?.map(Password),
        draw: postgres.draw,
        winning_number: *winning_number,
        roster: roster.clone(),
        instance: run_id().map_err(|error| ConfigError(error.to_string()))?,
        name: "loteria".to_owned(),
        replicas: match postgres.standbys {
            Standbys::Required if writes => Replicas::Required,
            Standbys::Required | Standbys::Trusted => Replicas::Trusted,
            Standbys::None => Replicas::None,
        },
        in_flight: 1,
        exclude_after: None,
    };
    Reader::connect(options, network).map_err(|error| match (error, missing.first()) {
        // It may be the one that leads.
        (EngineError::Away(why), Some((host, unknown))) => {
            EngineError::Away(format!("{why}; {host}: {unknown}")).into()
        }
        (error, _) => error.into(),
    })
}

/// Stored bets, ready to be read.
pub fn source(stored: Stored) -> Result<Source<EngineNetwork>, Failure> {
    match stored {
        Stored::Files(store) => Ok(Source::Files(store)),
        Stored::Engine(shared) => Ok(Source::Engine(Box::new(connect(&shared, false)?), shared.postgres.place())),
    }
}
